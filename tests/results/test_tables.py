"""The tables: one row a cell, one row a trial."""

from __future__ import annotations

from math import isnan

import pytest
from hypothesis import given
from hypothesis import strategies as st

from matrixbench.plan.cells import NotApplicable
from matrixbench.records import Kind, Outcome
from matrixbench.results.tables import (
    COLUMNS,
    TRIAL_COLUMNS,
    axes_of,
    with_pass_k,
)
from matrixbench.results.tally import ResultCell
from matrixbench.stats.proportions import wilson_interval
from matrixbench.stats.sequential import Precision, sequential_interval
from tests.results.cells import BUILD, attempt, attempts, cell_frame, table, trial_frame

HERE = {"backend": "candidate", "temperature": None, "options.cache-type-k": "q8_0", "test": "t"}


def square(
    cell: str = "a", *, planned: int = 10, greedy: bool = False, until: Precision | None = None
) -> ResultCell:
    """Return a square of one cell."""
    return ResultCell(
        id=cell, coordinates=HERE, build=BUILD, planned=planned, greedy=greedy, until=until
    )


def test_every_column_is_documented_and_axes_keep_their_names() -> None:
    """The axes come first under their own names, then exactly the documented columns."""
    frame = cell_frame([square()], [], attempts("a", "p"))
    assert list(frame.columns) == [*HERE, *COLUMNS]
    assert axes_of(frame) == list(HERE)


def test_outcomes_are_counted_and_errored_trials_lower_n() -> None:
    """Failed and rejected trials count, errored ones do not."""
    row = cell_frame([square()], [], attempts("a", "ppppffreee")).iloc[0]
    assert [row[name] for name in ("passed", "failed", "rejected", "errored", "trials")] == [
        4, 2, 1, 3, 7,
    ]  # fmt: skip
    assert row["success_ratio"] == pytest.approx(4 / 7)
    assert row["status"] == "partial"


def test_nothing_measured_is_missing_and_not_zero() -> None:
    """Without a trial that counts the ratio is missing and the interval is all of 0 to 1."""
    row = cell_frame([square()], [], attempts("a", "ee")).iloc[0]
    assert row["status"] == "empty"
    assert isnan(row["success_ratio"])
    assert (row["low"], row["high"]) == (0, 1)
    assert (row["top_kind"], row["top_count"]) == ("server_crashed", 2)


@given(st.integers(0, 30), st.integers(0, 30))
def test_the_interval_is_wilsons(passed: int, failed: int) -> None:
    """The ends are those of Wilson's interval, whatever the counts."""
    row = cell_frame([square()], [], attempts("a", "p" * passed + "f" * failed)).iloc[0]
    expected = wilson_interval(passed, passed + failed)
    assert (row["low"], row["high"]) == (expected.low, expected.high)


@given(st.integers(0, 60), st.integers(0, 60), st.floats(0.05, 0.4))
def test_adaptive_trials_are_shown_with_the_interval_that_holds(
    passed: int, failed: int, half_width: float
) -> None:
    """Every cell of adaptive trials has the confidence sequence, whether it stopped or not."""
    until = Precision(half_width=half_width, least=5)
    attempted = attempts("a", "p" * passed + "f" * failed + "e")
    row = cell_frame([square(planned=100, until=until)], [], attempted).iloc[0]
    n = passed + failed
    expected = sequential_interval(passed, n)
    assert (row["low"], row["high"], row["interval"]) == (expected.low, expected.high, "sequential")
    assert row["stopped"] == (5 <= n < 100 and expected.half_width <= half_width)
    if row["stopped"]:
        assert row["high"] - row["low"] <= 2 * half_width + 1e-12
        assert row["status"] == "measured"


def test_a_cell_that_has_all_its_trials_did_not_stop_early() -> None:
    """At the planned number nothing was saved, however narrow the interval; greedy ones neither."""
    until = Precision(half_width=0.3)
    frame = cell_frame(
        [square("a", planned=10, until=until), square("g", planned=20, greedy=True, until=until)],
        [],
        [*attempts("a", "p" * 10), *attempts("g", "p" * 10)],
    )
    assert list(frame["stopped"]) == [False, False]
    assert list(frame["status"]) == ["measured", "partial"]
    assert list(frame["interval"]) == ["sequential", None]


def test_greedy_cells_and_those_the_request_decides_get_no_interval() -> None:
    """Where a repeat says nothing new there is a ratio but no interval."""
    refused = attempt(
        "r", outcome=Outcome.REJECTED, kind=Kind.TEMPLATE_ERROR, by_request=True, latency_s=0.001
    )
    frame = cell_frame(
        [square("g", planned=2, greedy=True), square("r")], [], [*attempts("g", "pp"), refused]
    )
    greedy, decided = (frame.iloc[0], frame.iloc[1])
    assert isnan(greedy["low"])
    assert isnan(greedy["high"])
    assert isnan(decided["low"])
    assert (decided["status"], decided["success_ratio"]) == ("measured", 0)
    assert isnan(decided["latency_p50_s"])


def test_the_most_frequent_failure_is_of_failures_first() -> None:
    """Errors are named only where nothing else failed; the reason is that kind's commonest."""
    trials = [
        *attempts("a", "eee"),
        attempt("a", outcome=Outcome.FAILED, kind=Kind.NO_CONTENT, reason="x"),
        attempt("a", outcome=Outcome.FAILED, kind=Kind.WRONG_TOOL, reason="y"),
        attempt("a", outcome=Outcome.FAILED, kind=Kind.WRONG_TOOL, reason="z"),
        attempt("a", outcome=Outcome.FAILED, kind=Kind.WRONG_TOOL, reason="z"),
    ]
    row = cell_frame([square()], [], trials).iloc[0]
    assert (row["top_kind"], row["top_count"], row["top_reason"]) == ("wrong_tool", 3, "z")


def test_identical_replies_are_one_distinct_reply() -> None:
    """The number of different replies tells repeats that are no repeats."""
    trials = [attempt("a", reply_digest=text) for text in ("x", "x", "y", None)]
    assert cell_frame([square()], [], trials).iloc[0]["distinct"] == 2


def test_latencies_are_in_seconds_with_interpolated_percentiles() -> None:
    """The 90th percentile is interpolated linearly, as pandas and NumPy do by default."""
    trials = [attempt("a", latency_s=value) for value in (4.0, 1.0, 3.0, 2.0)]
    row = cell_frame([square()], [], trials).iloc[0]
    assert row["latency_p50_s"] == 2.5
    assert row["latency_p90_s"] == pytest.approx(3.7)
    assert row["time_to_first_token_p50_s"] == 0.25
    assert row["completion_tokens_per_s"] == 50


def test_every_measure_has_its_percentiles() -> None:
    """Time to the first token and both rates have a median and a 90th percentile."""
    values = (4.0, 1.0, 3.0, 2.0)
    names = ("time_to_first_token_s", "prompt_tokens_per_s", "completion_tokens_per_s")
    trials = [attempt("a", **dict.fromkeys(names, value)) for value in values]
    row = cell_frame([square()], [], trials).iloc[0]
    for middle, upper in (
        ("time_to_first_token_p50_s", "time_to_first_token_p90_s"),
        ("prompt_tokens_per_s", "prompt_tokens_per_s_p90"),
        ("completion_tokens_per_s", "completion_tokens_per_s_p90"),
    ):
        assert row[middle] == 2.5
        assert row[upper] == pytest.approx(3.7)


def test_rejected_trials_can_be_left_out() -> None:
    """The strict ratio counts them, the other one does not; it may be missing."""
    frame = cell_frame(
        [square("a"), square("r")], [], [*attempts("a", "pppfrr"), *attempts("r", "rr")]
    )
    assert frame["success_ratio"].tolist() == [0.5, 0.0]
    assert frame["success_ratio_without_rejected"][0] == 0.75
    assert isnan(frame["success_ratio_without_rejected"][1])


def test_scores_are_averaged() -> None:
    """Trials without a score do not count; without any it is missing."""
    trials = [attempt("a", score=value) for value in (0.5, None, 1.0)]
    frame = cell_frame([square("a"), square("b")], [], [*trials, attempt("b")])
    assert frame["score"][0] == 0.75
    assert isnan(frame["score"][1])


def test_one_reply_to_several_seeds_is_flagged_where_it_surprises() -> None:
    """Not for a greedy cell, not for a single trial, and not where a trial has no reply."""
    frame = cell_frame(
        [
            square("a"),
            square("g", greedy=True),
            square("one"),
            square("imported"),
            square("two"),
            square("refused"),
        ],
        [],
        [
            *(attempt(cell) for cell in "aagg"),
            attempt("one"),
            *(attempt("imported", reply_digest=None) for _ in range(3)),
            *(attempt("two", reply_digest=digest) for digest in "xyx"),
            *(attempt("refused", reply_digest=digest) for digest in ("x", "x", None)),
        ],
    )
    assert frame["one_reply"].tolist() == [True, False, False, False, False, False]


def test_what_several_attempts_are_worth() -> None:
    """Of 3 passes in 5, one of two passes in 9 of 10 choices, both in 3; missing where n < k."""
    frame = with_pass_k(cell_frame([square()], [], attempts("a", "pppff")), (2, 6))
    row = frame.iloc[0]
    assert (row["pass_at_2"], row["pass_hat_2"]) == pytest.approx((0.9, 0.3))
    assert isnan(row["pass_at_6"])
    assert isnan(row["pass_hat_6"])
    assert axes_of(frame) == list(HERE)


def test_only_the_build_that_counts_counts() -> None:
    """A square never mixes builds: another build's trials are passed over."""
    trials = [*attempts("a", "pp"), attempt("a", build="old", outcome=Outcome.FAILED)]
    assert cell_frame([square()], [], trials).iloc[0]["trials"] == 2


def test_cells_that_do_not_apply_say_why() -> None:
    """A row without counts holds the reason and the way out."""
    aside = NotApplicable(coordinates=HERE, reason="no source", hint="add one")
    row = cell_frame([], [aside], []).iloc[0]
    assert (row["status"], row["reason"], row["hint"]) == (
        "not_applicable", "no source", "add one",
    )  # fmt: skip
    assert isnan(row["success_ratio"])
    assert isnan(row["low"])


def test_axis_values_stay_what_the_file_says() -> None:
    """Null stays None and 0 stays 0, also beside numbers with a fraction."""
    frame = table({"temperature": [None, 0, 0.5]})
    assert frame["temperature"].tolist() == [None, 0, 0.5]
    assert type(frame["temperature"][1]) is int


def test_no_cells_make_an_empty_table_with_all_columns() -> None:
    """A table without rows still has its documented columns."""
    frame = cell_frame([], [], [])
    assert len(frame) == 0
    assert list(frame.columns) == list(COLUMNS)


def test_trials_have_a_row_each_with_their_axes() -> None:
    """One row a trial in their order, with texts as plain text."""
    frame = trial_frame([square()], [*attempts("a", "pf"), attempt("other")])
    assert list(frame.columns) == [*HERE, *TRIAL_COLUMNS]
    assert frame["outcome"].tolist() == ["passed", "failed"]
    assert frame["kind"].tolist() == [None, "wrong_tool"]
    assert type(frame["kind"][1]) is str
    assert frame["backend"].tolist() == ["candidate"] * 2


def test_trials_that_two_backends_share_are_there_for_both() -> None:
    """Two backends of one build share their trials, in both tables."""
    twin = ResultCell(id="a", coordinates={**HERE, "backend": "twin"}, build=BUILD, planned=10)
    trials = attempts("a", "pf")
    assert cell_frame([square(), twin], [], trials)["trials"].tolist() == [2, 2]
    assert trial_frame([square(), twin], trials)["backend"].tolist() == [
        "candidate", "twin", "candidate", "twin",
    ]  # fmt: skip
