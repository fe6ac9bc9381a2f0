"""The gate over real stores: a grid of what may have become of a side's trials.

Every state of a side is a backend of one experiment, run for real; what the gate must say is worked
out here from the scripts alone, by the formulas.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import pytest

import matrixbench as mb
from matrixbench.cli.compare import EXIT_CODES
from matrixbench.comparison.pairs import compare
from matrixbench.comparison.rounds import judge_rounds
from matrixbench.comparison.totals import compare_cells
from matrixbench.comparison.values import Candidate, CellPair, GateVerdict, Trials
from matrixbench.errors import UsageError
from matrixbench.spec.load import load_experiment
from matrixbench.stats.paired import mcnemar_exact
from matrixbench.stats.proportions import score_paired_difference
from matrixbench.stats.sequential import Precision
from matrixbench.store.database import open_store
from tests.benchmarks.forecasts import no_forecasts

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from matrixbench.comparison.data import Comparison
    from matrixbench.comparison.values import CandidateResult
    from matrixbench.execution.settings import Settings
    from matrixbench.spec.load import Experiment

N = 40
REPLY = {"1": "Paris", "0": "x", "R": "{error: rejected}", "E": "{error: errored}", "C": "boom"}
REPLY |= {"-": "never asked for"}
"""Passed, failed, rejected, errored, a reply at which the check raises, and one that none hears."""

FIXED = {
    "complete": "1" * N,
    "weak": "1" * 26 + "0" * 14,
    "errored-2": "1E" + "1" * 37 + "E",
    "errored-16": "1EE11" * 8,
    "rejected-2": "1R" + "1" * 37 + "R",
    "rejected-16": "1RR11" * 8,
    "unasked-2": "1" * 38 + "-" * 2,
    "unasked-16": "1" * 24 + "-" * 16,
    "raised-2": "1C" + "1" * 37 + "C",
    "raised-20": "1C" * 20,
    "lost": "0E" * 20,
}
"""Backend → what becomes of its trials; `-` is never asked."""

MODULE = '''"""A check that raises."""


def judged(reply):
    """Raise at some replies."""
    if reply.content == "boom":
        raise ValueError("no such reply was thought of")
    return reply.content == "Paris"
'''


@dataclass(frozen=True, kw_only=True)
class Grid:
    """An experiment that was run."""

    experiment: Experiment
    settings: Settings

    def against(self, baseline: str, max_drop: float, missing: str = "worst") -> Comparison:
        """Return the comparison of all states with one."""
        with no_forecasts():
            return compare(
                self.experiment,
                self.settings,
                baseline=f"backend={baseline}",
                max_drop=max_drop,
                missing=missing,
            )


def ran(folder: Path, trials: str, states: Mapping[str, str]) -> Grid:
    """Run an experiment with a backend for each state."""
    (folder / "own.py").write_text(MODULE, encoding="utf-8")
    backends = "".join(
        f"  {name}: {{kind: scripted, concurrency: 1, replies: [{script(outcomes)}]}}\n"
        for name, outcomes in states.items()
    )
    path = folder / "exp.yaml"
    path.write_text(
        f"name: grid\ntrials: {trials}\nsampling: {{temperature: 1}}\nbackends:\n{backends}"
        "tests:\n  - name: t\n    messages: [{role: user, content: hi}]\n"
        "    expect: [{python: own:judged}]\n",
        encoding="utf-8",
    )
    experiment = load_experiment(path, environ={})
    settings = mb.settings_for(experiment, {})
    for name, outcomes in states.items():
        if asked := len(outcomes.rstrip("-")):
            only = None if asked == len(outcomes) else asked
            asyncio.run(
                mb.execute(
                    experiment,
                    settings,
                    mode=mb.Mode.RESUME,
                    where=[f"backend={name}"],
                    trials=only,
                )
            )
    return Grid(experiment=experiment, settings=settings)


def script(outcomes: str) -> str:
    """Return the replies that lead to outcomes."""
    return ", ".join(REPLY[outcome] for outcome in outcomes)


@pytest.fixture(scope="module")
def grid(tmp_path_factory: pytest.TempPathFactory) -> Grid:
    """Return a grid whose number of trials is fixed."""
    return ran(tmp_path_factory.mktemp("grid"), str(N), FIXED)


def values(outcomes: str, *, missing: bool) -> list[bool]:
    """Return whether each trial passed, those without a verdict as is said."""
    return [missing if outcome in "EC-" else outcome == "1" for outcome in outcomes]


def on_whole_data(candidate: Sequence[bool], baseline: Sequence[bool], max_drop: float) -> int:
    """Return the exit code of the gate by its formulas: Tango's interval, McNemar's test."""
    both = list(zip(candidate, baseline, strict=True))
    worse, better = both.count((False, True)), both.count((True, False))
    interval = score_paired_difference(worse=worse, better=better, n=len(both)).interval
    if interval.low >= -max_drop:
        return 0
    return 8 if interval.high < -max_drop and mcnemar_exact(worse, better) <= 0.05 else 9


def expected(candidate: str, baseline: str, max_drop: float) -> int:
    """Return the exit code that holds with the missing trials at either end.

    Where one look leaves it open, it is what the rounds show that both sides have come to.
    """
    ends = [
        (values(candidate, missing=favoured), values(baseline, missing=not favoured))
        for favoured in (False, True)
    ]
    codes = {on_whole_data(*end, max_drop) for end in ends}
    if len(codes) == 1 and codes != {9}:
        return codes.pop()
    reached = min(len(side.rstrip("-")) for side in (candidate, baseline))
    worst, best = (
        judge_rounds(
            [[float(x - y)] for x, y in zip(*end, strict=True)][:reached], max_drop=max_drop
        )
        for end in ends
    )
    if worst.verdict is GateVerdict.NO_WORSE:
        return 0
    return 8 if best.verdict is GateVerdict.REGRESSION else 9


def of(found: Comparison) -> Iterator[tuple[str, CandidateResult, int]]:
    """Yield name, result and exit code of each candidate, as if it were the only one."""
    for candidate in found.candidates:
        yield candidate.name, candidate, EXIT_CODES[replace(found, candidates=(candidate,)).verdict]


@pytest.mark.parametrize("max_drop", [0.1, 0.25])
@pytest.mark.parametrize("baseline", FIXED)
def test_the_exit_code_is_what_either_end_says(grid: Grid, baseline: str, max_drop: float) -> None:
    """Complete, errored, rejected, never asked or raised, on either side."""
    codes = {name: code for name, _, code in of(grid.against(baseline, max_drop))}
    assert codes == {
        name: expected(outcomes, FIXED[baseline], max_drop)
        for name, outcomes in FIXED.items()
        if name != baseline
    }


def test_the_grid_holds_every_verdict() -> None:
    """No worse, a regression and undecided all occur, also where trials are missing."""
    lacking = {name for name, outcomes in FIXED.items() if set(outcomes) & set("EC-")}
    assert {
        expected(FIXED[up], FIXED[down], 0.25)
        for up in FIXED
        for down in FIXED
        if up != down and {up, down} & lacking
    } == {0, 8, 9}


def test_each_side_is_counted(grid: Grid) -> None:
    """How many trials were errored, rejected, never asked, and at how many a check raised."""
    for name, result, _ in of(grid.against("complete", 0.1)):
        outcomes, (count, whole) = FIXED[name], result.counts
        assert (count.due, whole.due, whole.missing) == (N, N, 0)
        assert count.rejected == outcomes.count("R")
        assert count.errored == outcomes.count("E") + outcomes.count("C")
        assert count.check_raised == outcomes.count("C")
        assert count.never_asked == outcomes.count("-")
        assert count.missing == count.errored + count.never_asked == N - count.counted


def test_ignoring_leaves_out_what_is_missing(grid: Grid) -> None:
    """The reading of before: the candidate that erred at two of five passes, as does the other."""
    codes = {name: code for name, _, code in of(grid.against("complete", 0.25, "ignore"))}
    assert {name for name, code in codes.items() if code == 0} >= {
        "errored-16",
        "raised-20",
        "unasked-16",
    }
    assert codes["lost"] == 8


def test_what_can_be_made_of_them_is_said(grid: Grid) -> None:
    """Another word is refused with those that there are."""
    with pytest.raises(UsageError, match="worst or ignore"):
        grid.against("complete", 0.1, "drop")


UNTIL = Precision(half_width=0.12, least=5)
MOST = 60
ADAPTIVE = {
    "stopped": "1" * MOST,
    "coin": "10" * 30,
    "errored-3": "1EEE" + "1" * 56,
    "errored-12": "1E" * 12 + "1" * 36,
    "rejected-12": "1R" * 12 + "1" * 36,
    "raised-3": "CCC" + "1" * 57,
    "interrupted": "1" * 15 + "-" * 45,
    "lost": "0" * MOST,
}
"""What each trial comes to if it is asked; cells stop by themselves."""


@pytest.fixture(scope="module")
def adaptive(tmp_path_factory: pytest.TempPathFactory) -> Grid:
    """Return a grid whose cells stop once their interval is narrow enough."""
    trials = f"{{min: {UNTIL.least}, max: {MOST}, until: {{half_width: {UNTIL.half_width}}}}}"
    return ran(tmp_path_factory.mktemp("adaptive"), trials, ADAPTIVE)


def asked(outcomes: str) -> str:
    """Return the outcomes up to where the cell stops, or was interrupted."""
    passed = n = 0
    for place, outcome in enumerate(outcomes.rstrip("-"), 1):
        n += outcome not in "EC"
        passed += outcome == "1"
        if place < MOST and UNTIL.reached(passed, n):
            return outcomes[:place]
    return outcomes.rstrip("-")


def sequential(candidate: str, baseline: str, max_drop: float) -> GateVerdict:
    """Return the verdict that holds with the missing trials of stopped cells at either end."""
    ends = set()
    for favoured in (False, True):
        sides = [
            Trials(
                cell="c",
                build=build,
                passed=dict(enumerate(values(asked(outcomes), missing=missing))),
                adaptive=True,
            )
            for build, outcomes, missing in (
                ("new", candidate, favoured),
                ("old", baseline, not favoured),
            )
        ]
        pair = CellPair(coordinates={}, test="t", candidate=sides[0], baseline=sides[1])
        with no_forecasts():
            whole = compare_cells(
                [Candidate(name="c", pairs=[pair])],
                experiment="e",
                axis="a",
                baseline="b",
                max_drop=max_drop,
            )
        ends.add(whole.verdict)
    return ends.pop() if len(ends) == 1 else GateVerdict.UNDECIDED


@pytest.mark.parametrize("max_drop", [0.2, 0.35])
@pytest.mark.parametrize("baseline", ADAPTIVE)
def test_cells_that_stopped_are_bounded_too(adaptive: Grid, baseline: str, max_drop: float) -> None:
    """What a stopped cell did not need is not missing; what it was asked and did not answer is."""
    said = {
        name: result.gate.verdict for name, result, _ in of(adaptive.against(baseline, max_drop))
    }
    assert said == {
        name: sequential(outcomes, ADAPTIVE[baseline], max_drop)
        for name, outcomes in ADAPTIVE.items()
        if name != baseline
    }


def test_rounds_that_were_not_reached_are_not_missing(adaptive: Grid) -> None:
    """Nor is what a cell did not need: adaptive trials may be looked at early."""
    missing = {
        name: result.counts[0].missing for name, result, _ in of(adaptive.against("coin", 0.2))
    }
    assert missing == {
        name: sum(outcome in "EC" for outcome in asked(outcomes))
        for name, outcomes in ADAPTIVE.items()
        if name != "coin"
    }
    assert missing["interrupted"] == missing["stopped"] == 0
    assert missing["errored-3"] == 3


def test_a_launch_that_was_given_up_lacks_the_rest(adaptive: Grid) -> None:
    """A server that could not be used any more says nothing of what it would have answered."""
    with open_store(adaptive.settings.store, create=False) as store:
        newest = next(
            launch.record
            for launch in reversed(store.launches("grid"))
            if launch.record.name.startswith("interrupted")
        )
        with store.writer() as writer:
            number = writer.start_launch(newest)
            writer.end_launch(number, ended_at=1.0, error="it died too often")
    found = {name: result for name, result, _ in of(adaptive.against("stopped", 0.35))}
    assert found["interrupted"].counts[0].missing == MOST - 15
    assert found["interrupted"].gate.verdict is GateVerdict.UNDECIDED
