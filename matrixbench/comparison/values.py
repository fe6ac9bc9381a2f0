"""What a comparison takes in, and what it finds of a cell, a test and a candidate."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

from matrixbench.stats.paired import ALPHA

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from matrixbench.spec.axes import Coordinates
    from matrixbench.stats.paired import Pairs
    from matrixbench.stats.power import Sides
    from matrixbench.stats.proportions import Difference, Interval

MAX_DROP = 0.1
"""The drop of the mean success ratio that the gate allows where nobody says."""


class Basis(StrEnum):
    """On what the comparison of a cell rests."""

    PAIRED = "paired"
    """Trials with the same seeds."""
    UNPAIRED = "unpaired"
    """Trials whose seeds differ."""
    GREEDY = "greedy"
    """Greedy sampling: repeats say nothing new, so equality is all there is."""
    BY_REQUEST = "by request"
    """The request alone decides on at least one side."""
    ONE_DRAW = "one draw"
    """A side's launch ignores seeds: all its trials are one draw of chance."""
    SHARED = "shared"
    """Both sides are one cell of one build: they share their trials."""
    NOT_COMPARABLE = "not comparable"
    """Nothing was measured on a side, or only one side is greedy."""


class Missing(StrEnum):
    """What is made of trials that were due and have no verdict."""

    WORST = "worst"
    """No worse is only what stays so with each of them at its worst for the candidate, a regression
    only what stays one with each of them at its best."""
    IGNORE = "ignore"
    """They are left out, as if they were missing at random."""


class GateVerdict(StrEnum):
    """What the gate says."""

    NO_WORSE = "no worse"
    REGRESSION = "regression"
    UNDECIDED = "undecided"


class Look(StrEnum):
    """How often one may look at what a gate rests on."""

    ONCE = "once"
    """Once, when all trials that were planned are there: the sharper test."""
    ANY = "any"
    """After every round, as often as one likes: bets on the rounds that are complete."""
    SEQUENTIAL = "sequential"
    """At any time, at cells of which each stopped for itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trials:
    """The trials of a cell that count, under one build.

    Args:
        cell: The cell's id.
        build: The build's id; None where nothing has run.
        passed: Seed → whether it passed.
        replies: Seed → digest of the reply; None for a refusal.
        by_request: Whether the request alone decides: one trial stands for the cell.
        missing: Seeds of the trials that were due and have no verdict.
        rejected: How many of those that count the server refused.
        errored: How many trials were asked and have no verdict.
        raised: How many of them have a reply, at which a check raised.
        never_asked: How many trials were due and not asked.
        adaptive: Whether their number depends on what came out.
        first_seed: The seed of trial 0; a seed less this is the trial's index.
        common_seeds: Whether the cell's seeds are those of the other tests too, so that tests share
            their luck.
        rounds: How many rounds its launch has come to: the index of the last trial that it was
            asked, and 1; all that were planned where it was given up. `passed` may go beyond.
        unverified: Why the build may not be what the backend has now; empty where it is.
        seeds_ignored: What shows that the launch ignores seeds, so that all these trials are one
            draw; empty where nothing does.
        unjudged: Why replies are not judged by the present checks; empty where all are.
    """

    cell: str
    build: str | None
    passed: Mapping[int, bool] = field(default_factory=dict)
    replies: Mapping[int, str | None] = field(default_factory=dict)
    by_request: bool = False
    missing: frozenset[int] = frozenset()
    rejected: int = 0
    errored: int = 0
    raised: int = 0
    never_asked: int = 0
    adaptive: bool = False
    first_seed: int = 0
    common_seeds: bool = False
    rounds: int = 0
    unverified: str = ""
    seeds_ignored: str = ""
    unjudged: str = ""

    @property
    def draws(self) -> int:
        """How many draws of chance the trials are."""
        return min(1, len(self.passed)) if self.seeds_ignored else len(self.passed)

    @property
    def reached(self) -> int:
        """How many rounds were reached, with or without a verdict of this cell."""
        last = max(self.passed, default=self.first_seed - 1)
        return max(self.rounds, last - self.first_seed + 1)

    @property
    def ratio(self) -> float | None:
        """The success ratio; None where no trial counts."""
        return sum(self.passed.values()) / len(self.passed) if self.passed else None

    @property
    def one_reply(self) -> bool:
        """Whether several trials gave one and the same reply."""
        found = set(self.replies.values())
        return len(found) == 1 < len(self.replies) and None not in found


@dataclass(frozen=True, slots=True, kw_only=True)
class CellPair:
    """Two cells that differ only in what is compared.

    Args:
        coordinates: The candidate's axes.
        test: The test, by its name.
        candidate: Its trials.
        baseline: Its trials.
        greedy: Whether the sampling of the candidate, and of the baseline, is greedy.
        planned: How many trials a side should have.
    """

    coordinates: Coordinates
    test: str
    candidate: Trials
    baseline: Trials
    greedy: tuple[bool, bool] = (False, False)
    planned: int = 0

    @property
    def sides(self) -> tuple[Trials, Trials]:
        """The trials of the candidate, then of the baseline."""
        return self.candidate, self.baseline

    @property
    def counts(self) -> tuple[tuple[int, int], tuple[int, int]]:
        """Passes and trials of the candidate, then of the baseline, whatever their seeds."""
        up, down = self.candidate.passed, self.baseline.passed
        return (sum(up.values()), len(up)), (sum(down.values()), len(down))

    @property
    def sampled(self) -> bool:
        """Whether both sides are sampled, each with trials of its own: neither is greedy."""
        return not self.shared and not any(self.greedy)

    @property
    def adaptive(self) -> bool:
        """Whether the number of trials of a side depends on what came out."""
        return self.candidate.adaptive or self.baseline.adaptive

    @property
    def shared(self) -> bool:
        """Whether both sides are one cell of one build, so that they have the same trials."""
        up, down = self.candidate, self.baseline
        return up.cell == down.cell and up.build == down.build

    @property
    def unverified(self) -> tuple[str, ...]:
        """Why a side's build may not be what its backend has now: each reason once."""
        reasons = (self.candidate.unverified, self.baseline.unverified)
        return tuple(dict.fromkeys(filter(None, reasons)))


@dataclass(frozen=True, slots=True, kw_only=True)
class CellResult:
    """What is known of one pair of cells.

    Args:
        pair: The two.
        basis: What the comparison rests on.
        trials: Trials of the candidate and of the baseline that were compared.
        difference: Candidate less baseline, with its interval where there is chance in it (else
            the interval is the estimate itself); None where nothing can be compared.
        pairs: The paired table, where seeds are shared.
        phi: Correlation of the pairs; None where it cannot be told.
        test: `mcnemar` or `boschloo`; `sequential pairs` or `sequential` where trials are
            adaptive; empty where there is no p-value.
        evidence: What such a sequential test found against «no difference».
        p: Two-sided p-value.
        p_holm: The same after Holm's correction over all cells with a p-value, of all candidates.
        detectable_drop: The smallest drop that this cell's test, alone and uncorrected, shows in
            80 % of runs with so many trials, from the baseline's mean ratio (`comparison.power`);
            None where it shows none, or without a p-value. Of a fixed number of trials.
        same: Whether outcomes are equal, where equality is all there is.
        same_replies: Whether the replies are, too.
    """

    pair: CellPair
    basis: Basis
    trials: tuple[int, int] = (0, 0)
    difference: Difference | None = None
    pairs: Pairs | None = None
    phi: float | None = None
    test: str = ""
    evidence: float | None = None
    p: float | None = None
    p_holm: float | None = None
    detectable_drop: float | None = None
    same: bool | None = None
    same_replies: bool | None = None

    @property
    def has_interval(self) -> bool:
        """Whether there is chance in its difference, so that it has an interval."""
        return self.difference is not None and (self.p is not None or self.basis is Basis.ONE_DRAW)

    @property
    def stands_out(self) -> bool:
        """Whether this cell alone is shown to differ, among all cells of all candidates."""
        return self.p_holm is not None and self.p_holm <= ALPHA


@dataclass(frozen=True, slots=True, kw_only=True)
class Deterministic:
    """Cells without chance in them, compared by equality.

    Args:
        cells: How many there are.
        same: In how many the outcomes are equal.
        same_replies: In how many the replies are equal, too.
        worse: In how many the candidate passes less often.
        better: In how many it passes more often.
        mean: The mean difference, tests weighing the same; 0 where there is no cell.
    """

    cells: int
    same: int
    same_replies: int
    worse: int
    better: int
    mean: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Overall:
    """All sampled cells together.

    Args:
        ratios: Mean success ratio over tests of the candidate, then of the baseline.
        difference: Mean over tests, with the interval for these very tests.
        across_tests: The interval if the tests are a sample of such tests; None for one test.
        p: The exact stratified test's two-sided p-value.
        p_holm: The same after Holm's correction: over candidates, or in a row by test over the
            tests of all candidates.
        cells: How many cells there are.
        tests: How many tests.
        trials: Trials of the candidate and of the baseline.
        pairs: All pairs in one table; its discordant counts are what an exact test sees.
        phi: Correlation within cells, pooled; None where it cannot be told.
        detectable_drop: The smallest mean drop that the test shows in 80 % of runs with so many
            trials, uncorrected (`comparison.power`); None where it shows none. Of a fixed number
            of trials.
        adaptive: Whether trials are, so that test and interval are those that hold all the same.
    """

    ratios: tuple[float, float]
    difference: Difference
    across_tests: Interval | None
    p: float
    p_holm: float
    cells: int
    tests: int
    trials: tuple[int, int]
    pairs: Pairs
    phi: float | None
    detectable_drop: float | None = None
    adaptive: bool = False

    @property
    def stands_out(self) -> bool:
        """Whether it is shown to differ."""
        return self.p_holm <= ALPHA


@dataclass(frozen=True, slots=True, kw_only=True)
class TestResult:
    """All cells of one test. `overall` is None where none of them has chance in it."""

    __test__ = False  # Not a test of ours, though its name begins like one.

    test: str
    overall: Overall | None
    certain: Deterministic


@dataclass(frozen=True, slots=True, kw_only=True)
class Anytime:
    """What bets on the rounds so far say of the mean difference, however often one looks.

    Args:
        verdict: What is shown. It stays what it was after the first round that showed it, as long
            as the mean over all rounds is on the same side of the limit.
        rounds: How many rounds count.
        tests: How many tests each has.
        difference: The mean over tests and rounds, with the interval that holds after all rounds
            at once.
        decided_after: The round that showed it first.
        together: Whether the tests of a round were one bet, since they share their seeds.
        rounds_to_decide: The rounds, in all, that would decide if shares stay as they are; None
            where it is decided, or no number would.
    """

    verdict: GateVerdict
    rounds: int
    tests: int
    difference: Difference
    decided_after: int | None = None
    together: bool = False
    rounds_to_decide: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Looked:
    """A verdict that was given before by the test that allows for one look.

    Args:
        trials: Trials of each cell that it rested on.
        max_drop: The drop that was allowed.
        verdict: What it was.
        at: When, in seconds since 1970.
    """

    trials: int
    max_drop: float
    verdict: GateVerdict
    at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Extreme:
    """What all trials that were due would say if the missing ones all went one way.

    Args:
        verdict: The gate's.
        overall: All sampled cells; None where there is none.
        certain: All cells that equality decides.
    """

    verdict: GateVerdict
    overall: Overall | None
    certain: Deterministic


@dataclass(frozen=True, slots=True, kw_only=True)
class Gate:
    """Whether a candidate is no worse than the baseline by more than a limit.

    Args:
        verdict: What is shown.
        max_drop: The limit, on the mean success ratio.
        reasons: Why, a line each.
        trials_per_cell: Trials of each cell with which 80 % of runs would decide if the ratios
            stayed as they are; None where it is decided, or no number would.
        more_trials: How many more that are, over all cells of both sides.
        missing: What was made of trials without a verdict.
        unsettled: Why trials without a verdict leave it undecided; empty where they do not.
        worst: What all trials would say with each missing one at its worst for the candidate: its
            own as failures, the baseline's as passes. None where none is missing.
        best: The same with each at its best for the candidate.
        unverified: Why builds may not be what the backends have now; then nothing passes, whatever
            the trials say.
        look: What the verdict rests on.
        once: What the one look at the planned number says; None where it was not taken.
        anytime: What bets on the rounds so far say; None where trials are adaptive or no cell has
            chance in it.
        only_bets: Why nothing but bets counts; empty where the one look does, too.
        looked: The look that was taken before at fewer trials.
        one_draw: In how many pairs a side's launch ignores seeds, so that it is one draw.
    """

    verdict: GateVerdict
    max_drop: float
    reasons: tuple[str, ...]
    trials_per_cell: int | None = None
    more_trials: int | None = None
    missing: Missing = Missing.WORST
    unsettled: str = ""
    worst: Extreme | None = None
    best: Extreme | None = None
    unverified: tuple[str, ...] = ()
    look: Look = Look.ONCE
    once: GateVerdict | None = None
    anytime: Anytime | None = None
    only_bets: str = ""
    looked: Looked | None = None
    one_draw: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Count:
    """The trials of one side, over all cells that either side has.

    Args:
        due: Trials that should have a verdict: those that count, and the missing ones.
        counted: Trials with a verdict.
        rejected: How many of these the server refused: they count, as no success.
        errored: Trials that were asked and have no verdict.
        check_raised: How many of these have a reply, at which a check raised.
        never_asked: Trials that were due and not asked.
        without_partner: How many of `missing` are of cells that only the other side has.
        missing: Trials that were due and have no verdict, of cells that the two sides do not
            share: these could change what the comparison says.
    """

    due: int
    counted: int
    rejected: int
    errored: int
    check_raised: int
    never_asked: int
    without_partner: int
    missing: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CandidateResult:
    """One candidate against the baseline.

    Args:
        name: What it is called.
        cells: Its pairs of cells, in the file's order.
        tests: The same by test.
        overall: All sampled cells; None where there is none.
        certain: All cells that equality decides.
        gate: Whether it is no worse.
        sides: Baseline ratio and phi that detectable drops are about; None where nothing is
            sampled.
        counts: The trials of the candidate, and of the baseline.
        without_partner: Cells of the candidate, and of the baseline, that have no counterpart.
    """

    name: str
    cells: tuple[CellResult, ...]
    tests: tuple[TestResult, ...]
    overall: Overall | None
    certain: Deterministic
    gate: Gate
    counts: tuple[Count, Count]
    without_partner: tuple[int, int] = (0, 0)
    sides: Sides | None = None

    @property
    def not_comparable(self) -> int:
        """In how many pairs a side was not measured, or only one is greedy."""
        return sum(cell.basis is Basis.NOT_COMPARABLE for cell in self.cells)


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """What is known of a candidate and the baseline.

    Args:
        name: The candidate's name.
        pairs: Its cells with the baseline's.
        alone: Cells that one side only has, each with an empty other side of which every trial is
            missing.
        earlier: Whether the baseline is an earlier build, which cannot be asked any more.
        looks: The looks that were taken at these very cells and seeds, the newest last.
    """

    name: str
    pairs: Sequence[CellPair]
    alone: Sequence[CellPair] = ()
    earlier: bool = False
    looks: Sequence[Looked] = ()
