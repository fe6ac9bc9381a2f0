"""Which axis stands on which side, in which order."""

from __future__ import annotations

from typing import Any

import pytest

from matrixbench.charts.sides import Keys, joined, resolve_sides
from matrixbench.errors import UsageError
from matrixbench.results.tally import ResultCell
from matrixbench.spec.experiment import Chart
from tests.results.cells import cell_frame, table

FULL: dict[str, list[Any]] = {
    "backend": ["candidate", "baseline"],
    "options.cache-type-k": ["f16", "q8_0"],
    "model": ["qwen", "llama"],
    "chat_template": ["native", "chatml"],
    "temperature": [None, 0, 1],
    "top_p": [0.95],
    "test": ["weather", "hello"],
}


def test_the_default_is_test_by_temperature_in_facets_of_models_and_servers() -> None:
    """By default x test, y temperature, row model, column backend, template and options."""
    sides = resolve_sides(table(FULL), Chart())
    assert (sides.x, sides.y, sides.row) == (("test",), ("temperature",), ("model",))
    assert sides.column == ("backend", "chat_template", "options.cache-type-k")
    assert sides.fixed == (("top_p", "0.95"),)


def test_axes_that_do_not_vary_are_no_facets() -> None:
    """An axis with one value is told, not drawn, also where the chart names it as a facet."""
    sides = resolve_sides(table({**FULL, "model": ["qwen"]}), Chart(row="model"))
    assert sides.row == ()
    assert ("model", "qwen") in sides.fixed


def test_without_temperatures_the_axis_with_most_values_goes_down() -> None:
    """Down goes the axis that varies most of those that nothing else uses."""
    axes: dict[str, list[Any]] = {"model": ["a", "b"], "top_k": [1, 2, 3], "test": ["x", "y"]}
    sides = resolve_sides(table(axes), Chart())
    assert (sides.y, sides.row) == (("top_k",), ("model",))


def test_what_the_chart_does_not_name_is_added() -> None:
    """Every axis that varies is somewhere, so that no square mixes cells."""
    sides = resolve_sides(table(FULL), Chart(x="model", y="temperature", row=[], column="backend"))
    assert sides.x == ("model",)
    assert sides.column == ("backend", "chat_template", "options.cache-type-k", "test")
    sides = resolve_sides(table(FULL), Chart(x="test", y="temperature", column="backend"))
    assert sides.row == ("model", "chat_template", "options.cache-type-k")


def test_axes_that_others_decide_need_no_side() -> None:
    """A test's parameters follow from its name, and are not drawn twice."""
    frame = table(
        {
            "test": ["capital-of-France", "capital-of-Japan"],
            "parameters.country": ["France", "Japan"],
        },
        lacking=lambda point: not str(point["test"]).endswith(point["parameters.country"]),
    )
    frame = frame[frame["status"] != "not_applicable"]
    sides = resolve_sides(frame, Chart())
    assert sides.used == ("test",)


def test_a_cell_of_several_builds_is_split_by_build() -> None:
    """A square never mixes builds: the build becomes a facet."""
    squares = [
        ResultCell(id=test, coordinates={"test": test}, build=build, planned=1)
        for test in ("x", "y")
        for build in ("old", "new")
    ]
    assert resolve_sides(cell_frame(squares, [], []), Chart()).column == ("build",)


def test_an_unknown_axis_is_refused_with_the_nearest_name() -> None:
    """The error names the side, the axis and what was probably meant."""
    with pytest.raises(UsageError, match="perhaps you meant «temperature»") as error:
        resolve_sides(table(FULL), Chart(y="temprature"))
    assert "«temprature»" in error.value.message


def test_an_axis_on_two_sides_is_refused() -> None:
    """One axis cannot stand on two sides."""
    with pytest.raises(UsageError, match="twice"):
        resolve_sides(table(FULL), Chart(x="test", y=["temperature", "test"]))


def test_cells_that_read_alike_are_refused() -> None:
    """Two cells that no axis tells apart never share a square."""
    with pytest.raises(UsageError, match="would share the square at test x"):
        resolve_sides(table({"top_k": [1, "1"], "test": ["x", "y"]}), Chart())


def test_numbers_are_in_order_after_null_and_names_as_in_the_file() -> None:
    """Null first, then by size; names as they first appear, or in the order of the file."""
    frame = table({"temperature": [1.5, 0, None, 0.5], "test": ["z", "a"]})
    assert list(Keys(frame).ranks("temperature")) == ["null", "0", "0.5", "1.5"]
    assert list(Keys(frame).ranks("test")) == ["z", "a"]
    frame.attrs["axes"] = {"test": ["a", "z"]}
    assert list(Keys(frame).ranks("test")) == ["a", "z"]


def test_joined_labels_name_what_does_not_speak_for_itself() -> None:
    """Names stand bare, values of options and fields with their axis, absent ones not at all."""
    axes = ("backend", "chat_template", "options.cache-type-k", "temperature", "model.quant")
    text = joined(axes, ("candidate", "native", "q8_0", None, None))
    assert text == "candidate · native · cache-type-k=q8_0 · temperature=default"


def test_one_row_is_enough() -> None:
    """A single cell needs no side at all."""
    sides = resolve_sides(table({"test": ["x"], "temperature": [None]}), Chart())
    assert sides.used == ()
    assert sides.fixed == (("test", "x"), ("temperature", "default"))
