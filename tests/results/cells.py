"""Cells and trials made up for tables and charts."""

from __future__ import annotations

from dataclasses import replace
from itertools import count, product
from typing import TYPE_CHECKING, Any

from matrixbench.plan.cells import NotApplicable
from matrixbench.records import Kind, Outcome
from matrixbench.results.tables import tabulated, tabulated_trials
from matrixbench.results.tally import ResultCell, Tally
from matrixbench.store.rows import TrialRow

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from pandas import DataFrame

    from matrixbench.spec.axes import Coordinates
    from matrixbench.stats.sequential import Precision

BUILD = "b" * 24
_ATTEMPT = TrialRow(
    id=0,
    cell="",
    build=BUILD,
    seed=0,
    trial=0,
    generation=1,
    launch=1,
    order=0,
    request="r",
    started_at=0.0,
    outcome=Outcome.PASSED,
    kind=None,
    reason="",
    by_request=False,
    checks="c",
    score=None,
    latency_s=1.0,
    time_to_first_token_s=0.25,
    prompt_tokens_per_s=300.0,
    completion_tokens_per_s=50.0,
    prompt_tokens=20,
    completion_tokens=40,
    finish_reason="stop",
    fingerprint=None,
    reply_digest="same",
    imported=False,
)


def attempt(cell: str, **changes: Any) -> TrialRow:
    """Return an attempt at a cell that passed, or with other fields."""
    fields = {name: getattr(_ATTEMPT, name) for name in TrialRow.__slots__}
    return TrialRow(**{**fields, "cell": cell, **changes})


def attempts(cell: str, outcomes: str) -> list[TrialRow]:
    """Return one attempt for each letter: p(assed), f(ailed), r(ejected), e(rrored)."""
    made = {
        "p": {},
        "f": {"outcome": Outcome.FAILED, "kind": Kind.WRONG_TOOL, "reason": "called get_time"},
        "r": {"outcome": Outcome.REJECTED, "kind": Kind.UNPARSED_OUTPUT, "reason": "peg-native"},
        "e": {"outcome": Outcome.ERRORED, "kind": Kind.SERVER_CRASHED, "reason": "signal 11"},
    }
    return [
        attempt(cell, trial=index, seed=index + 1, reply_digest=f"reply {index}", **made[letter])
        for index, letter in enumerate(outcomes)
    ]


def cell_frame(
    cells: Iterable[ResultCell],
    aside: Iterable[NotApplicable] = (),
    trials: Iterable[TrialRow] = (),
    *,
    seeds_ignored: str = "",
) -> DataFrame:
    """Return the table of some cells; trials of one cell that have one index are numbered."""
    shown = list(cells)
    tallies = {(cell.id, cell.build): Tally() for cell in shown}
    for trial in trials:
        if (tally := tallies.get((trial.cell, trial.build))) is not None:
            taken = (tally.measured | tally.unmeasured) >> trial.trial & 1
            index = tally.outcomes.total() if taken else trial.trial
            tally.add(replace(trial, trial=index))
    return tabulated(
        {cell: tallies[cell.id, cell.build] for cell in shown},
        aside,
        seeds_ignored={cell.key: seeds_ignored for cell in shown},
    )


def trial_frame(cells: Sequence[ResultCell], trials: Iterable[TrialRow]) -> DataFrame:
    """Return the table of the trials of some cells."""
    return tabulated_trials(
        (cell, trial)
        for trial in trials
        for cell in cells
        if (cell.id, cell.build) == (trial.cell, trial.build)
    )


def points(axes: Mapping[str, Sequence[Any]]) -> Iterator[Coordinates]:
    """Return every combination of some axes' values."""
    for values in product(*axes.values()):
        yield dict(zip(axes, values, strict=True))


def table(
    axes: Mapping[str, Sequence[Any]],
    outcomes: str | Callable[[Coordinates], str] = "pppppfffff",
    *,
    planned: int = 10,
    until: Precision | None = None,
    seeds_ignored: str = "",
    lacking: Callable[[Coordinates], bool] = lambda _: False,
) -> DataFrame:
    """Return the frame of all combinations; greedy at temperature 0; `lacking` do not apply."""
    cells, aside, trials = [], [], []
    numbers = count()
    for point in points(axes):
        if lacking(point):
            aside.append(NotApplicable(coordinates=point, reason="no source", hint="add `gguf:`"))
            continue
        cell = f"cell-{next(numbers)}"
        told = outcomes if isinstance(outcomes, str) else outcomes(point)
        cells.append(
            ResultCell(
                id=cell,
                coordinates=point,
                build=BUILD,
                planned=planned,
                greedy=point.get("temperature") == 0,
                until=until,
            )
        )
        trials += attempts(cell, told)
    return cell_frame(cells, aside, trials, seeds_ignored=seeds_ignored)
