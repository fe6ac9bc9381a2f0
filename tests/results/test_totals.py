"""Totals over tests: tests weigh the same, and intervals are clustered by test."""

from __future__ import annotations

from math import isnan
from typing import TYPE_CHECKING, Any

import pytest

from matrixbench.errors import UsageError
from matrixbench.results.totals import TOTAL_COLUMNS, ranked_axes, total_frame
from matrixbench.stats.clustered import mean_over_tests, ratio_of
from matrixbench.stats.sequential import Precision
from tests.results.cells import table

if TYPE_CHECKING:
    from matrixbench.spec.axes import Coordinates

AXES: dict[str, list[Any]] = {
    "model": ["small", "large"],
    "temperature": [0.5, 1],
    "test": ["hard", "easy"],
}


def outcomes(point: Coordinates) -> str:
    """Return more trials of the easy test than of the hard one."""
    if point["test"] == "easy":
        return "p" * 40
    return "pfffffffff" if point["model"] == "small" else "ppppppffrr"


def test_tests_weigh_and_not_their_trials() -> None:
    """Forty easy trials a cell count no more than ten hard ones."""
    totals = total_frame(table(AXES, outcomes), ["model"])
    assert list(totals.columns) == ["model", *TOTAL_COLUMNS]
    assert totals["model"].tolist() == ["large", "small"]
    assert totals["success_ratio"].tolist() == pytest.approx([0.8, 0.55])
    assert totals["trials"].tolist() == [100, 100]
    assert totals["rejected"].tolist() == [4, 0]
    assert totals["tests"].tolist() == [2, 2]


def test_intervals_are_clustered_by_test() -> None:
    """They are those of the mean over tests, cells of one test being one cluster."""
    row = total_frame(table(AXES, outcomes), ["model"]).iloc[0]
    mean = mean_over_tests([[ratio_of(6, 10)] * 2, [ratio_of(40, 40)] * 2])
    assert mean is not None
    assert (row["low"], row["high"]) == pytest.approx((mean.interval.low, mean.interval.high))
    assert row["low"] <= row["these_low"] <= row["success_ratio"] <= row["these_high"]


def test_cells_that_gave_one_reply_are_counted() -> None:
    """A row says on how many of its cells the seeds made no difference."""
    frame = table(AXES, outcomes)
    totals = total_frame(frame.assign(one_reply=frame["test"] == "easy"), ["model"])
    assert totals["one_reply"].tolist() == [2, 2]


def test_greedy_cells_are_worth_one_trial() -> None:
    """Two equal greedy trials of each of ten tests do not make the mean certain."""
    axes: dict[str, list[Any]] = {"temperature": [0], "test": [f"t{n}" for n in range(10)]}
    row = total_frame(table(axes, "pp", planned=2)).iloc[0]
    assert row["success_ratio"] == 1
    assert 0.7 < row["these_low"] < 0.8


def test_one_draw_is_worth_one_trial() -> None:
    """Thirty equal trials of a launch that ignores seeds make the mean no surer than one."""
    axes: dict[str, list[Any]] = {"temperature": [1], "test": [f"t{n}" for n in range(10)]}
    many = total_frame(table(axes, "p" * 30, planned=30, seeds_ignored="shown"), ks=(1, 5)).iloc[0]
    one = total_frame(table(axes, "p", planned=1)).iloc[0]
    assert (many["seeds_ignored"], one["seeds_ignored"]) == (10, 0)
    assert many["these_low"] == pytest.approx(one["these_low"])
    assert many["pass_hat_1"] == 1
    assert isnan(many["pass_hat_5"])


def test_the_interval_of_the_mean_is_the_same_whichever_a_cell_has() -> None:
    """It is built of Wilson's; another one for a cell changes nothing of it."""
    frame = table(AXES, outcomes)
    exact = frame.assign(interval="exact", low=frame["low"] / 2)
    columns = ["these_low", "these_high", "low", "high"]
    assert total_frame(exact)[columns].equals(total_frame(frame)[columns])


def test_cells_without_chance_and_adaptive_ones_are_counted() -> None:
    """What a row rests on."""
    axes: dict[str, list[Any]] = {"temperature": [0, 1], "test": ["a", "b"]}
    until = Precision(half_width=0.1, least=5)
    row = total_frame(table(axes, "p" * 29, planned=50, until=until), ["test"]).iloc[0]
    assert (row["certain"], row["adaptive"]) == (1, 1)


def test_what_is_measured_elsewhere_and_not_here_is_counted() -> None:
    """A row that lacks the hard test looks better than it is; `common` holds rows to the same."""
    frame = table(
        {**AXES, "temperature": [1]},
        lambda p: "" if (p["model"], p["test"]) == ("small", "hard") else outcomes(p),
    )
    totals = total_frame(frame, ["model"])
    assert totals[["model", "tests", "missing"]].values.tolist() == [
        ["small", 1, 1],
        ["large", 2, 0],
    ]
    fair = total_frame(frame, ["model"], common=True)
    assert fair["success_ratio"].tolist() == [1, 1]
    assert fair["missing"].tolist() == [0, 0]
    with pytest.raises(UsageError, match="no point has been measured in every row"):
        total_frame(frame, ["test", "model"], common=True)


def test_nothing_measured_is_missing_and_last() -> None:
    """A row without a trial has no mean, and stands below one that never passed."""
    frame = table(AXES, lambda point: "" if point["model"] == "small" else "f")
    totals = total_frame(frame, ["model"])
    assert totals["model"].tolist() == ["large", "small"]
    assert isnan(totals["success_ratio"][1])
    assert (totals["low"][1], totals["high"][1]) == (0, 1)


def test_what_several_attempts_are_worth_is_averaged_over_tests() -> None:
    """pass@k is never of pooled trials: of 1 in 10 one of two passes in a fifth, of all always."""
    row = total_frame(table(AXES, outcomes), ["model"], ks=(2, 50)).iloc[1]
    assert row["pass_at_2"] == pytest.approx((0.2 + 1) / 2)
    assert row["pass_hat_2"] == pytest.approx((0 + 1) / 2)
    assert isnan(row["pass_at_50"])


def test_rows_are_what_one_chooses() -> None:
    """By default servers, models and templates that vary; else other axes, but never tests."""
    assert ranked_axes(table(AXES)) == ["model"]
    assert ranked_axes(table({**AXES, "model": ["small"]})) == ["temperature"]
    assert ranked_axes(table({"model": ["small"], "test": ["a", "b"]})) == []
    assert len(total_frame(table({"test": ["a", "b"]}))) == 1


def test_an_unknown_axis_is_an_error() -> None:
    """It says which there are."""
    with pytest.raises(UsageError, match="no selected cell has the axis «modl»"):
        total_frame(table(AXES), ["modl"])


def test_cells_that_do_not_apply_do_not_count() -> None:
    """They are no row and no missing point of their own."""
    frame = table(AXES, lacking=lambda point: point["model"] == "small")
    assert total_frame(frame, ["model"])["model"].tolist() == ["large"]
