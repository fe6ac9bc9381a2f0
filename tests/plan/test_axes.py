"""The table of axes: a row is all that an axis needs, and every place that lists axes reads it."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from matrixbench.charts.sides import joined, resolve_sides, show
from matrixbench.errors import NothingSelectedError, SpecError, UsageError
from matrixbench.plan.matrix import axis_sizes, build_matrix, known_axes, written_values
from matrixbench.plan.selector import nothing_selected, parse_where
from matrixbench.results.totals import ranked_axes
from matrixbench.spec import axes
from matrixbench.spec.axes import (
    AXES,
    Axis,
    Level,
    Side,
    axis_of,
    cell_name,
    label,
    level_of,
    name_as_now,
    values_of_axis,
    varying_axes,
)
from matrixbench.spec.experiment import Chart
from matrixbench.spec.load import Experiment, load_experiment
from matrixbench.spec.schema import experiment_schema
from tests.results.cells import table

if TYPE_CHECKING:
    from collections.abc import Iterator

PACKAGE = Path(axes.__file__).parents[1]
DEVICE = Axis(
    name="device",
    level=Level.LAUNCH,
    bare=True,
    description="What it computes on.",
    side=Side.ROW,
    sets_build=True,
    of_file=lambda data: (("device", word) for word in str(data["description"]).split()),
)
"""An axis that the experiment's description gives, as no real one is."""

FILE = """\
name: x
description: cpu gpu
backends: {{s: {{kind: scripted, replies: [hello]}}}}
tests: [{{name: t, messages: [{{role: user, content: hi}}], expect: [{{content: hello}}]}}]
{more}
"""


@pytest.fixture
def device(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The table has one more row: that is all there is to a new axis."""
    monkeypatch.setattr(axes, "AXES", (*AXES, DEVICE))
    axis_of.cache_clear()
    yield
    axis_of.cache_clear()


def load(folder: Path, more: str = "") -> Experiment:
    """Return an experiment whose description names two devices."""
    path = folder / "exp.yaml"
    path.write_text(FILE.format(more=more), encoding="utf-8")
    return load_experiment(path, environ={})


@pytest.mark.usefixtures("device")
def test_a_new_row_may_be_named_in_the_file(tmp_path: Path) -> None:
    """`exclude`, `include`, charts and baselines know its values, and say which there are."""
    more = "exclude: [{device: gpu}]\ncharts: {c: {x: device}}"
    assert load(tmp_path, more).file.exclude == [{"device": "gpu"}]
    with pytest.raises(SpecError, match="device has no value «tpu» to exclude") as raised:
        load(tmp_path, "exclude: [{device: tpu}]")
    assert "cpu, gpu" in str(raised.value)
    assert "device" in experiment_schema()["$defs"]["Cells"]["properties"]
    with pytest.raises(SpecError, match=r"device has no value «tpu» to compare with in charts\.c"):
        load(tmp_path, "charts: {c: {metric: difference, baseline: {device: tpu}}}")


@pytest.mark.usefixtures("device")
def test_a_new_row_is_planned_and_selected(tmp_path: Path) -> None:
    """`plan` counts its values, `--where` takes it, and an error names what it has."""
    experiment = load(tmp_path)
    assert axis_sizes(experiment)["device"] == 2
    where = parse_where("device=gpu or device=tpu*", known_axes(experiment))
    assert where({"device": "gpu"})
    assert not where({"device": "cpu"})
    wrong = parse_where("device=tpu", known_axes(experiment))
    assert not build_matrix(experiment, wrong).cells
    error = nothing_selected(wrong, written_values(experiment), where="x")
    assert isinstance(error, NothingSelectedError)
    assert "the values of device, the nearest first: cpu, gpu" in error.hint
    with pytest.raises(UsageError, match="no axis «devise»") as raised:
        parse_where("devise=gpu", known_axes(experiment))
    assert "perhaps you meant «device»" in str(raised.value.hint)


@pytest.mark.usefixtures("device")
def test_a_new_row_is_drawn_ranked_and_named() -> None:
    """Its row says which side it has, that one chooses by it, and how it reads."""
    frame = table({"device": ["cpu", "gpu"], "temperature": [0, 1], "test": ["a", "b"]})
    assert resolve_sides(frame, Chart()).row == ("device",)
    assert ranked_axes(frame) == ["device"]
    assert show("device", None) == "–"
    assert joined(["device", "top_k"], ["gpu", 40]) == "gpu · top_k=40"
    assert level_of("device") is Level.LAUNCH


def test_without_the_row_nobody_knows_the_axis(tmp_path: Path) -> None:
    """What the tests above show comes of the row alone."""
    with pytest.raises(SpecError, match="unknown axis «device» in exclude"):
        load(tmp_path, "exclude: [{device: gpu}]")
    assert "device" not in axis_sizes(load(tmp_path))


def test_names_of_axes_stand_in_the_table_alone() -> None:
    """No other module imports the table, has a list of axes, or asks what a name begins with."""
    families = {axis.name for axis in AXES if axis.is_family}
    plain = {axis.name for axis in AXES if axis.level is Level.LAUNCH and not axis.is_family}
    lists = {"spec/axes.py", "spec/slips.py", "plan/launches.py", "importers/tool_bench.py"}
    for path in PACKAGE.rglob("*.py"):
        name = path.relative_to(PACKAGE).as_posix()
        if name in lists:
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Constant):
                assert node.value not in families, f"{name}:{node.lineno}"
            if isinstance(node, ast.alias):
                assert node.name != "AXES", name
            if isinstance(node, ast.Tuple | ast.Set | ast.List | ast.Dict):
                items = node.keys if isinstance(node, ast.Dict) else node.elts
                texts = {item.value for item in items if isinstance(item, ast.Constant)}
                assert len(plain & texts) < 3, f"{name}:{node.lineno}"


def test_a_name_says_the_axis_where_the_value_alone_would_not() -> None:
    """Switches and nulls read as in the file, whatever prints them."""
    coordinates = {
        "backend": "local",
        "model": "qwen",
        "options.cont-batching": True,
        "temperature": None,
        "request.stop": ["a"],
        "options.lora": {"file": "a.gguf"},
    }
    expected = 'local · qwen · cont-batching=true · temperature=null · stop=["a"] · lora=a.gguf'
    assert cell_name(coordinates) == expected
    assert cell_name(coordinates, ["model", "temperature", "top_p"]) == "qwen · temperature=null"


@pytest.mark.parametrize(
    ("stored", "now"),
    [
        ("a · cont-batching=True · b", "a · cont-batching=true · b"),
        ("mlock=False", "mlock=false"),
        ("top_k=None · x=1", "top_k=null · x=1"),
        ("True · a=b=True", "True · a=b=true"),
    ],
)
def test_names_of_older_stores_are_read_as_they_are_written_now(stored: str, now: str) -> None:
    """Else a launch with a switch would not be found under its own name."""
    assert name_as_now(stored) == now


def test_an_axis_varies_where_two_values_read_otherwise() -> None:
    """What a cell does not have is null there, as what pandas makes of null is."""
    points: list[dict[str, object]] = [
        {"a": 1, "b": None, "c": 0.5},
        {"a": 1.0, "d": 2, "c": float("nan")},
    ]
    assert varying_axes(points) == ["c", "d"]
    assert varying_axes(points[:1]) == []
    assert label(float("nan")) == "null"


def test_values_come_in_order_of_appearance() -> None:
    """Each once; true is not 1."""
    assert values_of_axis([{"a": 1}, {"a": True}, {"b": "x"}, {"a": 1}]) == {
        "a": (1, True),
        "b": ("x",),
    }


def test_an_unknown_name_is_taken_for_a_request_field() -> None:
    """Results of other tools may have axes that no experiment has."""
    assert axis_of("mirostat_lr").level is Level.REQUEST
    assert axis_of("options.a.b").level is Level.LAUNCH
