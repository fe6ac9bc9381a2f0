"""One cell's trials, counted and summarized while they stream by."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from enum import StrEnum
from math import nan
from statistics import fmean
from typing import TYPE_CHECKING, Any

from matrixbench.frame.intervals import IntervalKind, ends_of
from matrixbench.frame.speeds import Speeds
from matrixbench.records import Kind, Outcome

if TYPE_CHECKING:
    from collections.abc import Mapping

    from matrixbench.plan.cells import Coordinates, NotApplicable
    from matrixbench.stats.sequential import Precision
    from matrixbench.store.rows import TrialRow


class CellStatus(StrEnum):
    """What is known of a cell."""

    MEASURED = "measured"
    PARTIAL = "partial"
    EMPTY = "empty"
    NOT_APPLICABLE = "not_applicable"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Square:
    """A cell of the plan, and the one build that it is shown for.

    Args:
        cell: The cell's id.
        coordinates: Axis → value.
        build: The build whose trials count; None where nothing has run. To show several builds
            beside each other give one square for each, with the same cell.
        unverified: Why the build may not be what the backend has now; empty where it is.
        planned: How many trials the cell should have; where they are adaptive, at most.
        greedy: Whether its sampling is greedy.
        until: When fewer are enough; None where their number is fixed.
        launch: The name of its launch.
        load: The key of the load that it is measured under (`plan.loads`); None where that is not
            known.
        seeds_ignored: What shows that its launch ignores seeds, so that its trials are one draw;
            empty where nothing does.
        luck: The seed of trial 0 where other tests have the same seeds; None where none has.
    """

    cell: str
    coordinates: Coordinates
    build: str | None
    planned: int
    unverified: str = ""
    greedy: bool = False
    until: Precision | None = None
    launch: str = ""
    load: str | None = None
    seeds_ignored: str = ""
    luck: int | None = None


@dataclass(slots=True, eq=False)
class Tally:
    """What is kept of the trials of one cell while they stream by.

    Bit i of `measured` and of `passes` stands for trial i.
    """

    outcomes: Counter[str] = field(default_factory=Counter)
    measured: int = 0
    passes: int = 0
    launches: set[int] = field(default_factory=set)
    by_request: int = 0
    replies: Counter[str] = field(default_factory=Counter)
    failures: Counter[tuple[str, str]] = field(default_factory=Counter)
    errors: Counter[tuple[str, str]] = field(default_factory=Counter)
    noted: Counter[str] = field(default_factory=Counter)
    scores: list[float] = field(default_factory=list)
    speeds: Speeds = field(default_factory=Speeds)

    def add(self, trial: TrialRow) -> None:
        """Count a trial."""
        self.outcomes[trial.outcome] += 1
        self.launches.add(trial.launch)
        if trial.outcome == Outcome.ERRORED:
            self.errors[trial.kind or "", trial.reason] += 1
            return
        self.measured |= 1 << trial.trial
        self.passes |= (trial.outcome == Outcome.PASSED) << trial.trial
        if trial.outcome != Outcome.PASSED:
            self.failures[trial.kind or "", trial.reason] += 1
        if trial.reply_digest is not None:
            self.replies[trial.reply_digest] += 1
        if trial.noted:
            self.noted.update(trial.noted.split())
        if trial.score is not None:
            self.scores.append(trial.score)
        if trial.by_request:
            self.by_request += 1
            return
        self.speeds.add(trial)

    def by_trial(self) -> str:
        """Return 1, 0 or - for each trial: passed, did not pass, does not count."""
        signs = {(True, True): "1", (True, False): "0", (False, False): "-"}
        return "".join(
            signs[bool(self.measured >> place & 1), bool(self.passes >> place & 1)]
            for place in range(self.measured.bit_length())
        )


def luck_of(row: Mapping[str, Any]) -> int | None:
    """Return the seed of trial 0 where other tests have a cell's seeds, from its row of a table."""
    told = row.get("shared_luck")
    return int(told.partition(":")[0]) if isinstance(told, str) else None


def one_draw(row: Mapping[str, Any]) -> bool:
    """Return whether all trials of a cell are one draw of chance, from its row of a table."""
    return isinstance(row.get("seeds_ignored"), str)


def plain(value: object) -> object:
    """Return a value as tables hold it: an enumeration's as its text."""
    return value.value if isinstance(value, StrEnum) else value


def summary(
    square: Square,
    tally: Tally,
    in_force: int | None = None,
    interval: IntervalKind = IntervalKind.WILSON,
) -> dict[str, object]:
    """Return what `columns.COLUMNS` names of a cell that applies.

    Args:
        square: The cell.
        tally: Its trials.
        in_force: How many requests at a time its launch was sent at most.
        interval: Which interval it has where its trials are a fixed number.
    """
    passed, rejected = tally.outcomes[Outcome.PASSED], tally.outcomes[Outcome.REJECTED]
    n = tally.outcomes.total() - tally.outcomes[Outcome.ERRORED]
    # One that is understood stands at once; of others a second one stands, for the first as well.
    by_request = 0 < n == rejected and tally.by_request > 0
    repeats = not (square.greedy or by_request)
    until = square.until if repeats else None
    stopped = until is not None and n < square.planned and until.reached(passed, n)
    one_draw = bool(square.seeds_ignored) and repeats and n > 0
    draws = 1 if one_draw else n
    # One draw is one draw, whatever made its repeats that many.
    which = interval if until is None or one_draw else IntervalKind.SEQUENTIAL
    low, high = nan, nan
    if repeats:
        low, high = ends_of(passed / n if one_draw else passed, draws, which)
    kind, count, reason = _most_frequent(tally.failures or tally.errors)
    return {
        "cell": square.cell,
        "build": square.build,
        "unverified": (square.unverified if tally.outcomes else "") or None,
        "launches": " ".join(map(str, sorted(tally.launches))) or None,
        "status": _status(n, 1 if by_request else n if stopped else square.planned),
        "reason": None,
        "hint": None,
        "greedy": square.greedy,
        "by_request": by_request,
        "planned": square.planned,
        "stopped": stopped,
        "adaptive": until is not None and n > 0 and not one_draw,
        "trials": n,
        "draws": draws,
        "passed": passed,
        "failed": tally.outcomes[Outcome.FAILED],
        "rejected": rejected,
        "errored": tally.outcomes[Outcome.ERRORED],
        "success_ratio": passed / n if n else nan,
        "low": low,
        "high": high,
        "interval": which.value if repeats else None,
        "shared_luck": None if square.luck is None else f"{square.luck}:{tally.by_trial()}",
        "success_ratio_without_rejected": passed / (n - rejected) if n > rejected else nan,
        "score": fmean(tally.scores) if tally.scores else nan,
        "distinct": len(tally.replies),
        "one_reply": not square.greedy and len(tally.replies) == 1 < tally.replies.total() == n,
        "seeds_ignored": square.seeds_ignored if one_draw else None,
        "reasoning_in_content": tally.noted[Kind.REASONING_IN_CONTENT],
        "call_in_content": tally.noted[Kind.CALL_IN_CONTENT],
        "top_kind": plain(kind),
        "top_count": count,
        "top_reason": reason,
        **tally.speeds.columns(square, in_force),
    }


def not_applicable(cell: NotApplicable) -> dict[str, object]:
    """Return what `columns.COLUMNS` names of a cell that does not apply."""
    empty = Square(cell="", coordinates=cell.coordinates, build=None, planned=0)
    return {
        **summary(empty, Tally()),
        "cell": None,
        "status": CellStatus.NOT_APPLICABLE.value,
        "reason": cell.reason,
        "hint": cell.hint,
        "low": nan,
        "high": nan,
        "interval": None,
    }


def _status(n: int, wanted: int) -> str:
    if n == 0:
        return CellStatus.EMPTY.value
    return (CellStatus.MEASURED if n >= wanted else CellStatus.PARTIAL).value


def _most_frequent(found: Counter[tuple[str, str]]) -> tuple[str | None, int, str | None]:
    """Return the most frequent kind, how often it occurs, and its most frequent reason."""
    if not found:
        return None, 0, None
    kinds: Counter[str] = Counter()
    for (kind, _), count in found.items():
        kinds[kind] += count
    top, total = kinds.most_common(1)[0]
    reason = max((key for key in found if key[0] == top), key=found.__getitem__)[1]
    return top, total, reason
