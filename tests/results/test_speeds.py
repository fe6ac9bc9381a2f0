"""Which of a cell's trials its times are of, and what of them was cached and drafted."""

from __future__ import annotations

from dataclasses import replace
from math import isnan
from typing import TYPE_CHECKING, Any

import pytest

from matrixbench.charts import draw
from matrixbench.results.tally import ResultCell
from matrixbench.results.totals import total_frame
from matrixbench.spec.experiment import Chart, Metric
from tests.results.cells import BUILD, attempt, cell_frame, trial_frame

if TYPE_CHECKING:
    from matrixbench.store.rows import TrialRow

SQUARE = ResultCell(
    id="a",
    coordinates={"backend": "c8", "test": "t"},
    build=BUILD,
    planned=10,
    launch="c8 · m",
    load="c8s8",
)


def ran(
    load: str | None, at_a_time: int | None, *latencies: float, cell: str = "a"
) -> list[TrialRow]:
    """Return a trial for each latency, under a load."""
    return [
        attempt(cell, load=load, concurrency=at_a_time, latency_s=latency) for latency in latencies
    ]


def row(trials: list[TrialRow], square: ResultCell = SQUARE) -> dict[str, Any]:
    """Return a cell's row."""
    (found,) = cell_frame([square], [], trials).to_dict("records")
    return {str(name): value for name, value in found.items()}


def test_times_are_of_the_cells_own_load_and_ratios_of_all() -> None:
    """Trials under another load count, and are in no time and no rate."""
    found = row([*ran("c1s8", 1, 9, 9, 9), *ran("c8s8", 8, 1, 2, 3)])
    assert (found["trials"], found["speed_trials"]) == (6, 3)
    assert (found["latency_p50_s"], found["concurrency_in_force"]) == (2, 8)
    assert found["completion_tokens"] == 40
    assert found["speed_reason"] is None


def test_the_largest_batch_of_a_launch_gives_its_times() -> None:
    """Of a launch's squares all take the same; one that was in a small batch alone has none."""
    other = replace(SQUARE, id="b")
    trials = [*ran("c8s8", 2, 9, 9), *ran("c8s8", 8, 1, 2), *ran("c8s8", 2, 9, cell="b")]
    first, second = cell_frame([SQUARE, other], [], trials).to_dict("records")
    assert (first["latency_p50_s"], first["speed_trials"]) == (1.5, 2)
    assert isnan(second["latency_p50_s"])
    assert second["speed_reason"] == (
        "its trials were sent 2 at a time, others of its launch 8: --fresh measures it anew"
    )


def test_fewer_trials_than_the_load_says_are_its_own_all_the_same() -> None:
    """Six trials of a launch that may be sent eight are as many at a time as there can be."""
    found = row(ran("c8s8", 6, 1, 2, 3))
    assert (found["latency_p50_s"], found["concurrency_in_force"]) == (2, 6)


@pytest.mark.parametrize(
    ("cell", "trials", "expected"),
    [
        ("a", ran(None, None, 1, 3), 2),
        ("a", [*ran(None, None, 1), *ran("c8s8", 8, 5)], 5),
        ("a", [*ran(None, None, 1), *ran("c1s8", 1, 5)], 1),
        ("a@c8s8", ran(None, None, 1, cell="a@c8s8"), None),
    ],
)
def test_a_load_that_is_not_known_counts_where_none_is_compared(
    cell: str, trials: list[TrialRow], expected: float | None
) -> None:
    """Results of older versions keep their times, but not beside ones of the cell's own load."""
    found = row(trials, replace(SQUARE, id=cell))
    if expected is None:
        assert isnan(found["latency_p50_s"])
        assert found["speed_reason"].startswith("it is not known under which load its trials ran")
    else:
        assert found["latency_p50_s"] == expected


def test_shares_are_of_all_tokens_together() -> None:
    """A cell whose first trial was cold says how much of its prompts was cached in all."""
    trials = [
        attempt(
            "a", cached_tokens=0, computed_tokens=100, draft_tokens=10, draft_accepted_tokens=9
        ),
        attempt(
            "a", cached_tokens=90, computed_tokens=10, draft_tokens=30, draft_accepted_tokens=11
        ),
        attempt("a"),
    ]
    found = row(trials)
    assert (found["cached_share"], found["draft_accepted_share"]) == (0.45, 0.5)
    assert found["computed_tokens"] == 55
    assert isnan(row([attempt("a")])["cached_share"])
    (one, *_), shares = trials, trial_frame([SQUARE], trials)["cached_share"].tolist()
    assert (one.cached_share, shares[:2]) == (0.0, [0.0, 0.9])


@pytest.mark.parametrize(
    ("metric", "text"),
    [
        (Metric.CACHED_SHARE, "90%"),
        (Metric.COMPUTED_TOKENS, "10"),
        (Metric.DRAFT_ACCEPTED_SHARE, "67%"),
    ],
)
def test_what_was_cached_and_drafted_can_be_the_colour(metric: Metric, text: str) -> None:
    """A square writes it, and the tooltip of a latency has it beside the times."""
    trials = [
        attempt("a", cached_tokens=90, computed_tokens=10, draft_tokens=6, draft_accepted_tokens=4)
    ]
    frame = cell_frame([SQUARE], [], trials)
    assert shown(draw(frame, Chart(metric=metric), title="x"))["text"] == text
    tooltip = shown(draw(frame, Chart(metric=Metric.LATENCY_P50_S), title="x"))["tooltip"]
    assert tooltip["from the cache"] == "90% of the prompt tokens"
    assert tooltip["drafts taken"] == "67% of the drafted tokens"
    assert tooltip["prompt tokens computed"] == "10"


def test_a_square_without_times_says_why() -> None:
    """Its trials ran under another load: it has no colour, and the way to one."""
    frame = cell_frame([SQUARE], [], ran("c1s8", 1, 9, 9))
    square = shown(draw(frame, Chart(metric=Metric.LATENCY_P50_S), title="x"))
    assert (square["status"], square["count"]) == ("no value", "n=2/10")
    assert square["tooltip"]["times and rates"] == (
        "none: its trials ran 1 at a time (8 slots), this is 8 at a time (8 slots): "
        "--fresh measures it anew"
    )


def test_a_picture_of_times_says_what_they_should_be_read_with() -> None:
    """How much was cached, and that a dash may be another load; pictures of ratios do not."""
    other = replace(SQUARE, id="b", coordinates={"backend": "c8", "test": "u"})
    warm = attempt("a", load="c8s8", concurrency=8, cached_tokens=90, computed_tokens=10)
    frame = cell_frame([SQUARE, other], [], [warm, *ran("c1s8", 1, 9, cell="b")])

    def subtitle(metric: Metric) -> str:
        return " ".join(draw(frame, Chart(metric=metric), title="x").to_dict()["title"]["subtitle"])

    said = subtitle(Metric.LATENCY_P50_S)
    assert "90% of a square's prompt tokens from the cache" in said
    assert "1 square with a dash: measured under another load" in said
    assert "load" not in subtitle(Metric.SUCCESS_RATIO)


def test_totals_say_how_many_cells_have_no_times() -> None:
    """A median over fewer cells than there are says so."""
    other = replace(SQUARE, id="b")
    trials = [*ran("c8s8", 8, 1, 1), *ran("c1s8", 1, 9, 9, cell="b")]
    (total,) = total_frame(cell_frame([SQUARE, other], [], trials), ["backend"]).to_dict("records")
    assert (total["cells"], total["other_load"], total["latency_p50_s"]) == (2, 1, 1)


def shown(chart: Any) -> dict[str, Any]:
    """Return the one square of a picture."""
    spec = chart.to_dict()
    (rows,) = spec["datasets"].values()
    (square,) = rows
    return dict(square)
