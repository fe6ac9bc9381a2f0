"""What a heatmap shows, stated on its Vega-Lite."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from matrixbench.charts import draw
from matrixbench.charts.layers import hatching
from matrixbench.charts.metrics import SUCCESS, percent, seconds
from matrixbench.errors import UsageError
from matrixbench.spec.experiment import Chart, ChosenInterval, Metric
from matrixbench.stats.sequential import Precision
from tests.results.cells import table

if TYPE_CHECKING:
    from pandas import DataFrame

    from matrixbench.spec.axes import Coordinates

SMALL: dict[str, list[Any]] = {
    "model": ["qwen"],
    "temperature": [None, 1],
    "test": ["weather", "hello", "calc"],
}
FACETED: dict[str, list[Any]] = {
    "backend": ["candidate", "ollama"],
    "model": ["qwen", "llama"],
    "temperature": [1, None, 0.5],
    "test": ["weather", "hello"],
}


def drawn(frame: DataFrame, chart: Chart | None = None) -> dict[str, Any]:
    """Return a chart's Vega-Lite."""
    spec: dict[str, Any] = draw(frame, chart or Chart(), title="tools").to_dict()
    return spec


def facet(spec: dict[str, Any]) -> dict[str, Any]:
    """Return the part that holds the layers."""
    inner: dict[str, Any] = spec.get("spec", spec)
    return inner


def rows(spec: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the squares."""
    (found,) = spec["datasets"].values()
    return list(found)


def encodings(spec: dict[str, Any], channel: str) -> list[dict[str, Any]]:
    """Return a channel's encoding in all layers that have it."""
    return [
        layer["encoding"][channel] for layer in facet(spec)["layer"] if channel in layer["encoding"]
    ]


def legend(spec: dict[str, Any]) -> list[str]:
    """Return the names of the marks that the legend explains."""
    shapes = encodings(spec, "shape")
    return list(shapes[0]["scale"]["domain"]) if shapes else []


def test_colour_runs_from_red_to_green_over_zero_to_one() -> None:
    """The scale covers 0 to 1 whatever was measured, with its unit as the legend's title."""
    (colour,) = encodings(drawn(table(SMALL)), "color")
    assert colour["scale"]["domain"] == [0, 1]
    assert colour["scale"]["range"] == list(SUCCESS)
    assert colour["legend"]["title"] == "success ratio"


def test_sides_carry_the_axes_in_order() -> None:
    """Names keep the file's order, numbers come by size, null first as «default»."""
    spec = drawn(table(FACETED))
    (x, *_), (y, *_) = encodings(spec, "x"), encodings(spec, "y")
    assert (x["axis"]["title"], x["scale"]["domain"]) == ("test", ["weather", "hello"])
    assert (y["axis"]["title"], y["scale"]["domain"]) == ("temperature", ["default", "0.5", "1"])


def test_facets_stand_by_row_and_column_in_the_files_order() -> None:
    """Models make rows and backends columns, sorted by their place in the file."""
    spec = drawn(table(FACETED))
    for side, axis, names in (
        ("row", "model", ["qwen", "llama"]),
        ("column", "backend", ["candidate", "ollama"]),
    ):
        header = spec["facet"][side]
        assert header["header"]["title"] == axis
        assert header["sort"] == {"field": f"{side} rank", "op": "min"}
        assert list(dict.fromkeys(row[side] for row in rows(spec))) == names


def test_a_chart_without_varying_facets_has_none() -> None:
    """One model needs no facets; the subtitle names it."""
    spec = drawn(table(SMALL))
    assert "facet" not in spec
    assert "model qwen" in " ".join(spec["title"]["subtitle"])


def test_squares_carry_ratio_interval_and_n() -> None:
    """A large square tells the ratio, the interval's ends and n."""
    spec = drawn(table(SMALL))
    assert {row["text"] for row in rows(spec)} == {"50%"}
    assert {row["ends"] for row in rows(spec)} == {"24–76"}
    assert {row["count"] for row in rows(spec)} == {"n=10"}
    assert [text["field"] for text in encodings(spec, "text")] == ["text", "ends", "count"]


def test_every_square_shows_how_sure_it_is() -> None:
    """The interval is drawn to scale in each square, and the subtitle says so."""
    spec = drawn(table(SMALL))
    widths = [layer["mark"].get("width") for layer in facet(spec)["layer"]]
    assert any(isinstance(w, dict) and "datum.high - datum.low" in w["expr"] for w in widths)
    assert "95 % interval (Wilson)" in " ".join(spec["title"]["subtitle"])


def test_the_tooltip_tells_interval_outcomes_and_the_most_frequent_failure() -> None:
    """It also names every axis, shown elsewhere or not."""
    tooltip = rows(drawn(table(SMALL, "ppfffrre")))[0]["tooltip"]
    assert tooltip == {
        "test": "weather",
        "temperature": "default",
        "model": "qwen",
        "success ratio": "0.286",
        "95 % interval": "0.082 to 0.641 (Wilson)",
        "trials that count": "7 of 10 planned",
        "outcomes": "2 passed, 3 failed, 2 rejected, 1 errored",
        "most frequent failure": "3 × wrong_tool: called get_time",
        "distinct replies": "7 in 7 trials",
        "latency": "median 1 s, 90th percentile 1 s",
        "time to first token": "median 250 ms, 90th percentile 250 ms",
        "prompt": "300 tokens/s",
        "completion": "50 tokens/s",
        "completion tokens": "40",
        "build": "b" * 24,
    }


def test_the_tooltip_lies_over_all_layers() -> None:
    """The topmost layer shows nothing, so that texts do not take the pointer from it."""
    last = facet(drawn(table(SMALL)))["layer"][-1]
    assert last["mark"] == {
        "type": "rect", "opacity": 0, "tooltip": {"expr": "datum.tooltip"},
    }  # fmt: skip


def test_cells_that_do_not_apply_are_hatched_and_say_why() -> None:
    """They have no colour; the tooltip holds the reason and the way out."""
    spec = drawn(table(SMALL, lacking=lambda point: point["test"] == "calc"))
    hatched = [row for row in rows(spec) if row["status"] == "not applicable"]
    assert len(hatched) == 2
    assert hatched[0]["tooltip"]["not applicable"] == "no source"
    assert hatched[0]["tooltip"]["way out"] == "add `gguf:`"
    assert "value" not in hatched[0]
    assert legend(spec) == ["not applicable"]


def test_cells_not_yet_measured_are_empty() -> None:
    """No colour, no text and no interval, only an outline that the legend explains."""
    spec = drawn(table(SMALL, ""))
    assert not encodings(spec, "color")
    assert not encodings(spec, "text")
    assert {row["status"] for row in rows(spec)} == {"not yet measured"}
    assert legend(spec) == ["not yet measured"]


def test_partial_cells_show_what_is_still_to_come() -> None:
    """They have n of the planned number, and the subtitle explains it only then."""
    partial, full = drawn(table(SMALL, "ppf")), drawn(table(SMALL))
    assert rows(partial)[0]["count"] == "n=3/10"
    assert "so far" in " ".join(partial["title"]["subtitle"])
    assert "so far" not in " ".join(full["title"]["subtitle"])


def test_errored_trials_are_marked_also_where_nothing_else_is() -> None:
    """The mark stands on measured squares and on empty ones."""

    def told(point: Coordinates) -> str:
        return {"weather": "ppe", "hello": "ee"}.get(point["test"], "pp")

    spec = drawn(table(SMALL, told))
    assert [row.get("errored") for row in rows(spec)][:3] == [1, 1, None]
    assert "errored trials, not counted" in legend(spec)


def test_cells_that_stopped_early_are_marked() -> None:
    """They are whole, with a mark, and the caption says that the interval holds all the same."""

    def told(point: Coordinates) -> str:
        return {"weather": "p" * 29, "hello": "pf" * 25}.get(point["test"], "p" * 28)

    until = Precision(half_width=0.1, least=5)
    spec = drawn(table({"test": ["weather", "hello", "x"]}, told, planned=50, until=until))
    assert [(row["count"], row.get("stopped")) for row in rows(spec)] == [
        ("n=29", 1),
        ("n=50", None),
        ("n=28/50", None),
    ]
    assert legend(spec) == ["stopped early, known well enough"]
    assert "95 % interval (confidence sequence" in " ".join(spec["title"]["subtitle"])
    tooltip = rows(spec)[0]["tooltip"]
    assert tooltip["trials that count"] == "29 of at most 50: stopped early, known well enough"
    assert tooltip["95 % interval"].startswith("0.802 to 1.000 (confidence sequence")
    assert rows(spec)[2]["tooltip"]["trials that count"] == "28 of at most 50 planned"


def test_greedy_cells_are_marked_and_have_no_interval() -> None:
    """The legend says why there is none."""
    spec = drawn(table({"temperature": [0, 1], "test": ["x", "y"]}, "pp", planned=2))
    greedy = rows(spec)[0]
    assert greedy["single"] == "greedy sampling"
    assert "low" not in greedy
    assert legend(spec) == ["greedy sampling: no interval"]


def test_other_metrics_have_their_own_scale_and_unit() -> None:
    """Latency runs over the values that occur, with units, without an interval of the ratio."""
    spec = drawn(table(SMALL), Chart(metric=Metric.LATENCY_P50_S))
    (colour,) = encodings(spec, "color")
    assert colour["legend"]["title"] == "median latency"
    assert "' ms'" in colour["legend"]["labelExpr"]
    assert rows(spec)[0]["text"] == "1 s"
    assert "low" not in rows(spec)[0]


def test_measured_cells_without_a_value_are_not_called_unmeasured() -> None:
    """A metric that nobody measured has a look of its own."""
    frame = table(SMALL).assign(completion_tokens_per_s=float("nan"))
    spec = drawn(frame, Chart(metric=Metric.COMPLETION_TOKENS_PER_S))
    assert {row["status"] for row in rows(spec)} == {"no value"}
    assert legend(spec) == ["no value"]


@pytest.mark.parametrize(
    ("metric", "title", "text", "ends"),
    [
        (Metric.SUCCESS_RATIO_LOW, "lower bound of the success ratio", "≥24%", "24–76"),
        (Metric.SUCCESS_RATIO_WITHOUT_REJECTED, "success ratio without rejected", "83%", "44–97"),
        (Metric.PASS_AT_K, "pass@5: one of 5 passes", ">99%", None),
        (Metric.PASS_HAT_K, "pass^5: all of 5 pass", "<1%", None),
        (Metric.SCORE, "mean score", "75%", None),
        (Metric.LATENCY_P90_S, "90th percentile of latency", "1 s", None),
        (Metric.TIME_TO_FIRST_TOKEN_P50_S, "median time to first token", "250 ms", None),
        (
            Metric.TIME_TO_FIRST_TOKEN_P90_S,
            "90th percentile of time to first token",
            "250 ms",
            None,
        ),
        (Metric.PROMPT_TOKENS_PER_S, "median prompt tokens/s", "300/s", None),
        (Metric.COMPLETION_TOKENS_PER_S, "median completion tokens/s", "50/s", None),
        (Metric.COMPLETION_TOKENS, "median completion tokens", "40", None),
        (Metric.DISTINCT, "distinct replies", "10", None),
    ],
)
def test_every_metric_is_named_with_its_unit(
    metric: Metric, title: str, text: str, ends: str | None
) -> None:
    """The legend's title says what it is, a square its value, and an interval where it has one."""
    spec = drawn(table(SMALL, "pppppfrrrr").assign(score=0.75), Chart(metric=metric))
    (colour,) = encodings(spec, "color")
    assert colour["legend"]["title"] == title
    assert rows(spec)[0]["text"] == text
    assert rows(spec)[0].get("ends") == ends
    assert ("low" in rows(spec)[0]) is (ends is not None)


def test_what_several_attempts_are_worth_is_missing_below_k() -> None:
    """With 3 trials nothing is known of 5 attempts; of 3 it is."""
    frame = table(SMALL, "ppf", planned=3)
    assert rows(drawn(frame, Chart(metric=Metric.PASS_AT_K)))[0]["status"] == "no value"
    assert rows(drawn(frame, Chart(metric=Metric.PASS_AT_K, k=3)))[0]["text"] == "100%"


def test_one_reply_to_several_seeds_is_marked() -> None:
    """A corner, the legend and the tooltip say that the seeds made no difference."""
    frame = table(SMALL).assign(one_reply=True, distinct=1)
    spec = drawn(frame)
    assert legend(spec) == ["one reply to several seeds"]
    assert rows(spec)[0]["tooltip"]["distinct replies"] == (
        "1 in 10 trials (one reply to several seeds)"
    )


def test_one_draw_is_marked_and_has_the_interval_of_one() -> None:
    """Ten trials of a launch that ignores seeds are one draw, in square, legend and tooltip."""
    spec = drawn(table(SMALL, "p" * 10, seeds_ignored="its canary says so"))
    assert legend(spec) == ["seeds ignored: one draw"]
    assert (rows(spec)[0]["low"], rows(spec)[0]["high"]) == (0.2065, 1)
    told = rows(spec)[0]["tooltip"]
    assert told["one draw"] == "the launch ignores seeds: its canary says so"
    assert told["trials that count"] == "10 of 10 planned"


@pytest.mark.parametrize(
    ("name", "low", "title"),
    [
        (None, 0.7225, "Wilson"),
        ("wilson", 0.7225, "Wilson"),
        ("jeffreys", 0.7828, "Jeffreys"),
        ("exact", 0.6915, "exact, Clopper and Pearson"),
    ],
)
def test_a_chart_chooses_its_interval(name: str | None, low: float, title: str) -> None:
    """Of 10 of 10; the subtitle and the tooltip say which it is, and the lower bound is its end."""
    chosen = None if name is None else ChosenInterval(name)
    frame = table(SMALL, "p" * 10)
    spec = drawn(frame, Chart(interval=chosen))
    assert rows(spec)[0]["low"] == pytest.approx(low, abs=1e-4)
    assert f"bar: 95 % interval ({title})" in " ".join(spec["title"]["subtitle"])
    assert rows(spec)[0]["tooltip"]["95 % interval"].endswith(f"({title})")
    bound = drawn(frame, Chart(interval=chosen, metric=Metric.SUCCESS_RATIO_LOW))
    assert rows(bound)[0]["value"] == pytest.approx(low, abs=1e-4)


def test_adaptive_trials_keep_their_interval_and_mark_what_leans() -> None:
    """No fixed-number interval holds for them; pass^k and pass@k have no interval, so a mark."""
    until = Precision(half_width=0.1, least=5)
    frame = table(SMALL, "p" * 29, planned=50, until=until)
    exact = drawn(frame, Chart(interval=ChosenInterval.EXACT))
    assert "confidence sequence" in " ".join(exact["title"]["subtitle"])
    spec = drawn(frame, Chart(metric=Metric.PASS_HAT_K))
    assert rows(spec)[0]["text"] == "~100%"
    assert "~: adaptive trials" in " ".join(spec["title"]["subtitle"])
    fixed = drawn(table(SMALL), Chart(metric=Metric.PASS_HAT_K))
    assert not rows(fixed)[0]["text"].startswith("~")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0004, "0.4 ms"),
        (0.0123, "12.3 ms"),
        (0.9994, "999 ms"),
        (0.9996, "1 s"),
        (12.34, "12.3 s"),
        (599, "599 s"),
        (5400, "90 min"),
    ],
)
def test_times_have_their_unit(value: float, text: str) -> None:
    """Milliseconds, seconds or minutes, with three digits."""
    assert seconds(value) == text


def test_values_that_hardly_differ_hardly_differ_in_colour() -> None:
    """A scale spans at least a fifth of its middle, so that noise is not painted as a contrast."""
    frame = table({"test": ["x", "y"]}).assign(completion_tokens_per_s=[49.5, 50.5])
    (colour,) = encodings(drawn(frame, Chart(metric=Metric.COMPLETION_TOKENS_PER_S)), "color")
    assert colour["scale"]["domain"] == pytest.approx([45, 55])


def test_numbers_of_replies_have_whole_ticks() -> None:
    """Nothing gives one and a half replies."""
    frame = table({"test": ["x", "y"]}).assign(distinct=[1, 3])
    (colour,) = encodings(drawn(frame, Chart(metric=Metric.DISTINCT)), "color")
    assert colour["legend"]["values"] == [1, 2, 3]


def test_text_is_dark_on_light_and_light_on_dark() -> None:
    """The ink is chosen by the colour below it."""
    dark = rows(drawn(table(SMALL, "ffff")))[0]["ink"]
    light = rows(drawn(table(SMALL, "pf")))[0]["ink"]
    assert (dark, light) == ("#ffffff", "#1a1a1a")


def test_ten_thousand_squares_are_drawn_without_text() -> None:
    """No limit on rows is hit, and no text is drawn that nobody could read."""
    frame = table({"temperature": range(100), "test": [f"t{n}" for n in range(100)]}, "pf")
    spec = drawn(frame)
    assert len(rows(spec)) == 10_000
    assert not encodings(spec, "text")


def test_long_names_are_cut_beside_the_squares_and_whole_in_the_tooltip() -> None:
    """The label keeps the name's both ends."""
    name = "unsloth/Qwen3-Coder-30B-A3B-Instruct-1M-GGUF:UD-Q4_K_XL-2507"
    spec = drawn(table({"model": [name, "ß→模型"], "test": ["x", "y"]}), Chart(y="model"))
    axis = encodings(spec, "y")[0]["axis"]
    shown = json.loads(axis["labelExpr"].removesuffix("[datum.value]"))[name]
    assert shown == "unsloth/Qwen3-Co…UD-Q4_K_XL-2507"
    assert rows(spec)[0]["tooltip"]["model"] == name


def test_a_single_cell_can_be_drawn() -> None:
    """One square without axes; the subtitle says all."""
    spec = drawn(table({"backend": ["candidate"], "test": ["weather"]}))
    assert len(rows(spec)) == 1
    assert spec["title"]["subtitle"][0] == "backend candidate · test weather"


def test_the_charts_own_title_wins() -> None:
    """A title in the file is used before the caller's."""
    assert drawn(table(SMALL))["title"]["text"] == ["tools"]
    assert drawn(table(SMALL), Chart(title="mine"))["title"]["text"] == ["mine"]


def test_drawing_leaves_the_frame_as_it_was() -> None:
    """A frame can be drawn twice, and is no different afterwards."""
    frame = table(FACETED)
    before = frame.copy()
    assert drawn(frame) == drawn(frame)
    assert frame.equals(before)


@pytest.mark.parametrize(
    ("low", "high", "ticks"),
    [
        (42.4, 70.7, [45, 50, 55, 60, 65, 70]),
        (0.142, 13.8, [0.2, 0.5, 1, 2, 5, 10]),
        (0.001, 2000, [0.001, 0.01, 0.1, 1, 10, 100, 1000]),
        (3, 3, [2.7, 2.8, 2.9, 3, 3.1, 3.2, 3.3]),
    ],
)
def test_legends_have_round_values(low: float, high: float, ticks: list[float]) -> None:
    """A handful of round values within the scale, by ratio where the scale is logarithmic."""
    frame = table({"test": ["x", "y"]}).assign(latency_p50_s=[low, high])
    (colour,) = encodings(drawn(frame, Chart(metric=Metric.LATENCY_P50_S)), "color")
    assert colour["legend"]["values"] == ticks
    assert colour["scale"]["type"] == ("log" if high > 20 * low else "linear")


@pytest.mark.parametrize(
    ("part", "whole", "text"),
    [(0, 9, "0%"), (9, 9, "100%"), (5, 6, "83%"), (999, 1000, ">99%"), (1, 1000, "<1%")],
)
def test_only_all_is_all_and_only_nothing_is_nothing(part: int, whole: int, text: str) -> None:
    """Rounding never makes 100 % or 0 % of something else."""
    assert percent(part, whole) == text


def test_hatching_stays_within_its_square() -> None:
    """No line leaves the box, which is as wide as 2 and as high as its sides' ratio says."""
    path = hatching(80, 40, gap=7)
    ends = [pair.split(",") for pair in path.replace("L", "M").split("M") if pair]
    assert len(ends) > 10
    assert all(abs(float(x)) <= 1 and abs(float(y)) <= 0.5 for x, y in ends)


def test_a_facet_without_cells_keeps_its_place() -> None:
    """Every row × column has a square, be it one that draws nothing: facets never slide."""
    axes: dict[str, list[Any]] = {**FACETED, "temperature": [1]}
    frame = table(axes)
    diagonal = frame[(frame["backend"] == "candidate") == (frame["model"] == "qwen")]
    found = rows(drawn(diagonal.reset_index(drop=True), Chart(row="model", column="backend")))
    assert {(row["row"], row["column"]) for row in found} == {
        (model, backend) for model in axes["model"] for backend in axes["backend"]
    }
    assert sum(row["status"] == "nothing" for row in found) == 2
    assert [(row["row rank"], row["column rank"]) for row in found] == sorted(
        (row["row rank"], row["column rank"]) for row in found
    )


def test_a_table_of_too_many_cells_is_no_picture() -> None:
    """A notebook is not made to show what would stop its browser."""
    frame = table(SMALL, "p")
    frame = frame.loc[frame.index.repeat(2_000)]
    with pytest.raises(UsageError, match="12,000 squares are too many"):
        draw(frame, title="big")
