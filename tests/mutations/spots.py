"""The faults that tests have to notice: small, and of the kind that a lax test lets pass.

A spot is told by the name of what it stands in and by its text, not by its file, so that it stays
when code is moved. `noticed_by` are the tests of which one must fail, those that do so soonest
first.
"""

from __future__ import annotations

from dataclasses import dataclass

SEEDS = ("tests/plan/test_seeds.py",)
IDENTITY = ("tests/plan/test_identity.py",)
FRAME = ("tests/results/test_tables.py",)
GATE = ("tests/comparison/test_comparison.py", "tests/comparison/test_missing.py")
PROPORTIONS = ("tests/stats/test_proportions.py",)
STRATIFIED = ("tests/stats/test_stratified.py",)


@dataclass(frozen=True, slots=True, kw_only=True)
class Spot:
    """A change of the package that a test must notice.

    Args:
        about: What it would falsify.
        fault: What would be wrong, in words.
        within: The function, method or constant that it stands in, by its qualified name.
        text: What stands there, once.
        becomes: What the fault makes of it.
        noticed_by: Files of tests, or tests.
    """

    about: str
    fault: str
    within: str
    text: str
    becomes: str
    noticed_by: tuple[str, ...]


SPOTS = (
    # Seeds: which random numbers a trial gets.
    Spot(
        about="seeds",
        fault="every trial asks for the seed of the one after it",
        within="Seeds.first",
        text="self.own[cell.test]\n",
        becomes="self.own[cell.test] + 1\n",
        noticed_by=SEEDS,
    ),
    Spot(
        about="seeds",
        fault="a test's offset leaves its tools out",
        within="sent_by",
        text='"tools": list(test.tools)',
        becomes='"tools": []',
        noticed_by=SEEDS,
    ),
    Spot(
        about="seeds",
        fault="a test's offset leaves the later turns of its conversation out",
        within="sent_by",
        text='("returns", "turns")',
        becomes='("returns",)',
        noticed_by=SEEDS,
    ),
    Spot(
        about="seeds",
        fault="a test's own seeds may begin among those of the file",
        within="offset_of",
        text="SPAN + number",
        becomes="number",
        noticed_by=SEEDS,
    ),
    Spot(
        about="seeds",
        fault="first seeds may lie above 2³¹",
        within="own_first_seed",
        text="(seed + offset_of(test)) % _ROOM",
        becomes="seed + offset_of(test)",
        noticed_by=SEEDS,
    ),
    Spot(
        about="seeds",
        fault="a test of which the store holds as many old trials as new ones starts anew",
        within="seeds_of",
        text="most >= 0",
        becomes="most > 0",
        noticed_by=SEEDS,
    ),
    Spot(
        about="seeds",
        fault="errored trials do not say by which rule a test goes on",
        within="_trials",
        text="known.kept | known.errored | known.short",
        becomes="known.kept | known.short",
        noticed_by=SEEDS,
    ),
    Spot(
        about="seeds",
        fault="a cell that differs from its test's others is counted by their rule",
        within="Seeds.is_old",
        text="self.apart.get(cell.id, by_test) if self.apart else by_test",
        becomes="by_test",
        noticed_by=SEEDS,
    ),
    # Identity: which trials are the same.
    Spot(
        about="identity",
        fault="the order of keys decides an id",
        within="canonical_json",
        text="sort_keys=True",
        becomes="sort_keys=False",
        noticed_by=IDENTITY,
    ),
    Spot(
        about="identity",
        fault="1.0 and 1 are two values",
        within="_plain",
        text="int(value) if value.is_integer() else value",
        becomes="value",
        noticed_by=IDENTITY,
    ),
    Spot(
        about="identity",
        fault="digests of other boundaries are one",
        within="combine",
        text='"/".join',
        becomes='"".join',
        noticed_by=IDENTITY,
    ),
    Spot(
        about="identity",
        fault="options of the server are not part of an id",
        within="launch_digest",
        text='"options": options or None',
        becomes='"options": None',
        noticed_by=IDENTITY,
    ),
    Spot(
        about="identity",
        fault="a replica shares the trials of the backend that it repeats",
        within="launch_digest",
        text="None if backend.replica == 1 else backend.replica",
        becomes="None",
        noticed_by=IDENTITY,
    ),
    Spot(
        about="identity",
        fault="faithful trials and others are one",
        within="launch_digest",
        text='"faithful": faithful or None',
        becomes='"faithful": None',
        noticed_by=IDENTITY,
    ),
    Spot(
        about="identity",
        fault="a value that is the default changes every id",
        within="launch_digest",
        text="if value is not None",
        becomes="if name",
        noticed_by=IDENTITY,
    ),
    Spot(
        about="identity",
        fault="the folder of a model's file is part of an id",
        within="Model.file_reference",
        text='self.gguf.replace("\\\\", "/").rsplit("/", 1)[-1]',
        becomes="self.gguf",
        noticed_by=IDENTITY,
    ),
    Spot(
        about="identity",
        fault="a test's tools are not part of an id",
        within="_asked",
        text='"tools": test.tools, ',
        becomes="",
        noticed_by=IDENTITY,
    ),
    Spot(
        about="identity",
        fault="`stream: false` is another request than none at all",
        within="Requests._fields",
        text="fields.get(STREAM) is False",
        becomes="fields.get(STREAM) is None",
        noticed_by=IDENTITY,
    ),
    # Outcomes: what became of a trial, and what counts.
    Spot(
        about="outcomes",
        fault="a success ratio is that of all that was asked, errored trials too",
        within="summary",
        text="passed / n if n else nan",
        becomes="passed / tally.outcomes.total() if n else nan",
        noticed_by=FRAME,
    ),
    Spot(
        about="outcomes",
        fault="what was rejected counts where it is to be left out",
        within="summary",
        text="passed / (n - rejected)",
        becomes="passed / n",
        noticed_by=FRAME,
    ),
    Spot(
        about="outcomes",
        fault="a check that raises says no",
        within="Checks.judge",
        text="Outcome.ERRORED if raised else Outcome.FAILED",
        becomes="Outcome.FAILED",
        noticed_by=("tests/checks/test_judge.py",),
    ),
    Spot(
        about="outcomes",
        fault="the first no names the kind, also where another check raised",
        within="Checks.judge",
        text="(raised or refused)[0]",
        becomes="refused[0]",
        noticed_by=("tests/checks/test_judge.py",),
    ),
    Spot(
        about="outcomes",
        fault="a reply of no use in a 200 is no answer of the server's",
        within="broken",
        text="answer, outcome=Outcome.REJECTED",
        becomes="answer, outcome=Outcome.ERRORED",
        noticed_by=("tests/backends/http/test_openai_reply.py",),
    ),
    Spot(
        about="outcomes",
        fault="a trial at which a check raised counts for cells that stop early",
        within="_Reading._set",
        text="if outcome != Outcome.ERRORED:",
        becomes="if outcome:",
        noticed_by=("tests/store/test_outcomes.py",),
    ),
    Spot(
        about="outcomes",
        fault="a timeout under a shorter limit is kept when the limit is raised",
        within="WORTH",
        text="request_timeout_s < :request_timeout_s",
        becomes="request_timeout_s > :request_timeout_s",
        noticed_by=("tests/store/test_progress.py",),
    ),
    Spot(
        about="outcomes",
        fault="an errored trial has a verdict, as one that failed",
        within="Tally.add",
        text="if outcome is Outcome.ERRORED:",
        becomes="if False:",
        noticed_by=("tests/results/test_tally.py",),
    ),
    # The gate: may the candidate be released?
    Spot(
        about="gate",
        fault="an interval that ends at the limit does not pass",
        within="no_worse",
        text="difference.interval.low >= -max_drop",
        becomes="difference.interval.low > -max_drop",
        noticed_by=(*STRATIFIED, *GATE),
    ),
    Spot(
        about="gate",
        fault="an interval that ends at the limit is a regression",
        within="worse",
        text="difference.interval.high < -max_drop",
        becomes="difference.interval.high <= -max_drop",
        noticed_by=(*STRATIFIED, *GATE),
    ),
    Spot(
        about="gate",
        fault="a regression needs no exact test",
        within="sampled_part",
        text=" and overall.p <= ALPHA",
        becomes="",
        noticed_by=GATE,
    ),
    Spot(
        about="gate",
        fault="certain cells may not even drop by as much as is allowed",
        within="_certain",
        text="certain.mean < -max_drop - _ROUNDING",
        becomes="certain.mean <= -max_drop + _ROUNDING",
        noticed_by=GATE,
    ),
    Spot(
        about="gate",
        fault="missing trials are taken at their best where the gate passes",
        within="bounded",
        text="compared and worst.verdict is GateVerdict.NO_WORSE",
        becomes="compared and best.verdict is GateVerdict.NO_WORSE",
        noticed_by=("tests/comparison/test_missing.py",),
    ),
    Spot(
        about="gate",
        fault="missing trials of the baseline are put in as the candidate's are",
        within="completed",
        text="passed=not passes",
        becomes="passed=passes",
        noticed_by=("tests/comparison/test_missing.py",),
    ),
    Spot(
        about="gate",
        fault="an undecided part hides a regression of another",
        within="judge",
        text="(GateVerdict.REGRESSION, GateVerdict.UNDECIDED)",
        becomes="(GateVerdict.UNDECIDED, GateVerdict.REGRESSION)",
        noticed_by=GATE,
    ),
    Spot(
        about="gate",
        fault="an unverified build passes",
        within="doubted",
        text="if gate.verdict is GateVerdict.REGRESSION and not unjudged:",
        becomes="if gate.verdict is not GateVerdict.UNDECIDED and not unjudged:",
        noticed_by=("tests/comparison/test_unverified.py",),
    ),
    Spot(
        about="gate",
        fault="after many looks a verdict stands against the mean of all rounds",
        within="judge_rounds",
        text=" and estimate > -max_drop:",
        becomes=":",
        noticed_by=("tests/comparison/test_rounds.py",),
    ),
    # Intervals: how sure is it?
    Spot(
        about="intervals",
        fault="95 % to one side, which is 90 % to both",
        within="normal_quantile",
        text="0.5 + confidence / 2",
        becomes="confidence",
        noticed_by=PROPORTIONS,
    ),
    Spot(
        about="intervals",
        fault="Student's quantile is one-sided",
        within="student_quantile",
        text="0.5 + confidence / 2",
        becomes="confidence",
        noticed_by=STRATIFIED,
    ),
    Spot(
        about="intervals",
        fault="few tests have the normal quantile, not Student's",
        within="mean_over_tests",
        text="student_quantile(len(ratios) - 1, confidence=confidence)",
        becomes="normal_quantile(confidence)",
        noticed_by=STRATIFIED,
    ),
    Spot(
        about="intervals",
        fault="Student's interval of a difference has a degree of freedom too many",
        within="across_tests",
        text="student_quantile(count - 1",
        becomes="student_quantile(count",
        noticed_by=STRATIFIED,
    ),
    Spot(
        about="intervals",
        fault="the spread over tests is that of a population, not of a sample",
        within="across_tests",
        text="/ (count - 1) / count",
        becomes="/ count / count",
        noticed_by=STRATIFIED,
    ),
    Spot(
        about="intervals",
        fault="Wilson's spread lacks its correction for few trials",
        within="score_interval",
        text="z * z / (4 * n * n)",
        becomes="z * z / (4 * n * n * n)",
        noticed_by=PROPORTIONS,
    ),
    Spot(
        about="intervals",
        fault="a difference takes the wrong ends of its two ratios",
        within="newcombe_difference",
        text="_together(p_up - up.low, down.high - p_down)",
        becomes="_together(up.high - p_up, p_down - down.low)",
        noticed_by=PROPORTIONS,
    ),
    Spot(
        about="intervals",
        fault="a confidence sequence is that of one side",
        within="sequential_interval",
        text="log(1 - confidence)",
        becomes="log(2 * (1 - confidence))",
        noticed_by=("tests/stats/test_sequential.py",),
    ),
    Spot(
        about="intervals",
        fault="Holm's correction counts one question less",
        within="holm",
        text="(len(p_values) - rank) *",
        becomes="max(1, len(p_values) - rank - 1) *",
        noticed_by=("tests/stats/test_exact_tests.py",),
    ),
    Spot(
        about="intervals",
        fault="the exact paired test is one-sided",
        within="mcnemar_exact",
        text="2 * tail / (1 << n)",
        becomes="tail / (1 << n)",
        noticed_by=("tests/stats/test_exact_tests.py",),
    ),
    Spot(
        about="intervals",
        fault="Jeffreys' interval and the exact one leave all of the error at one side",
        within="_ends",
        text="(1 - confidence) / 2",
        becomes="1 - confidence",
        noticed_by=("tests/stats/test_beta.py",),
    ),
)

SUBJECTS = tuple(dict.fromkeys(spot.about for spot in SPOTS))
