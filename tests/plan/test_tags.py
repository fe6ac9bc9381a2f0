"""Tags: which tests they choose in a suite's entry, in `exclude`, `include` and `--where`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from matrixbench.errors import SpecError, UsageError
from matrixbench.plan.matrix import build_matrix, known_axes, known_handles
from matrixbench.plan.selector import parse_where

if TYPE_CHECKING:
    from pathlib import Path

    from matrixbench.spec.load import Experiment
    from tests.conftest import Load

SUITE = """\
name: mine
tests:
- &test
  name: json-{{ size }}
  tags: [json, "{{ size }}"]
  parameters: {size: [small, large]}
  messages: [{role: user, content: "{{ size }}"}]
  expect: []
- {<<: *test, name: list, tags: [format, small], parameters: {}}
- {<<: *test, name: free, tags: [], parameters: {}}
"""


@pytest.fixture
def suite(tmp_path: Path) -> Path:
    """Return a suite beside the experiment, one of its tests without tags."""
    path = tmp_path / "mine.yaml"
    path.write_text(SUITE, encoding="utf-8")
    return path


def text(entry: str = "", more: str = "") -> str:
    """Return an experiment that takes a suite's tests."""
    return (
        "name: x\nbackends: {s: {kind: scripted, replies: [a]}}\nsampling: {temperature: [0, 1]}\n"
        f"tests: [{{suite: mine.yaml{entry}}}]\n{more}"
    )


def chosen(experiment: Experiment, *where: str) -> list[str]:
    """Return the names of the tests that selected cells have, each once."""
    handles = known_handles(experiment)
    selector = parse_where(where, known_axes(experiment), handles=handles)
    groups = build_matrix(experiment, selector).launches
    return list(dict.fromkeys(cell.test.name for group in groups for cell in group.cells))


ALL = ["json-small", "json-large", "list", "free"]


@pytest.mark.parametrize(
    ("entry", "names"),
    [
        ("", ALL),
        (", tags: [json]", ["json-small", "json-large"]),
        (", tags: [large, format]", ["json-large", "list"]),
        (", tags: ['*o*']", ["json-small", "json-large", "list"]),
        (", tags: [small], only: [json-*]", ["json-small"]),
        (", tags: [small], skip: [list]", ["json-small"]),
        (", tags: null", ALL),
    ],
)
@pytest.mark.usefixtures("suite")
def test_a_suites_tags_take_tests_that_have_any(load: Load, entry: str, names: list[str]) -> None:
    """`only` and `tags` must both hold, `skip` leaves out; parameters are filled into tags."""
    assert [test.name for test in load(text(entry)).tests] == names


@pytest.mark.parametrize(
    ("where", "names"),
    [
        ("tag=json", ["json-small", "json-large"]),
        ("tag!=json", ["list", "free"]),
        ("tag in (large, format)", ["json-large", "list"]),
        ("tag=~'^l'", ["json-large"]),
        ("tag!~'^l'", ["json-small", "list", "free"]),
        ("tag=s*", ["json-small", "list"]),
        ("tag=small and not tag=json", ["list"]),
        ("tag=json and tag='small'", ["json-small"]),
        ("tag=null", ["free"]),
        ("tag!=null", ["json-small", "json-large", "list"]),
        ("suite=mine", ALL),
        ("suite=mine and not tag=small", ["json-large", "free"]),
        ("suite!=mine or suite=null", []),
    ],
)
@pytest.mark.usefixtures("suite")
def test_where_chooses_by_tags(load: Load, where: str, names: list[str]) -> None:
    """A test is chosen when one of its tags matches, and `!=` takes all the others."""
    assert chosen(load(text()), where) == names


@pytest.mark.parametrize(
    ("entry", "names"),
    [
        ("{tag: json}", ["list", "free"]),
        ("{tag: [large, format]}", ["json-small", "free"]),
        ("{tag: null}", ["json-small", "json-large", "list"]),
        ("{tag: json, test: '*-large'}", ["json-small", "list", "free"]),
        ("{suite: mine, tag: small}", ["json-large", "free"]),
        ("{suite: null}", ALL),
    ],
)
@pytest.mark.usefixtures("suite")
def test_exclude_names_tests_by_tags(load: Load, entry: str, names: list[str]) -> None:
    """An entry's other axes must match as well."""
    assert chosen(load(text(more=f"exclude: [{entry}]"))) == names


@pytest.mark.usefixtures("suite")
def test_include_names_tests_by_tags(load: Load) -> None:
    """What it adds is added for the tests that have the tag."""
    experiment = load(text(more="include: [{tag: large, temperature: 5}]"))
    assert chosen(experiment, "temperature=5") == ["json-large"]


@pytest.mark.usefixtures("suite")
def test_tags_are_no_part_of_a_cell(load: Load) -> None:
    """With other tags a cell keeps its id, and coordinates and axes know nothing of them."""
    matrix = build_matrix(load(text()))
    cells = [cell for group in matrix.launches for cell in group.cells]
    assert "tag" not in matrix.axes
    assert all("tag" not in cell.coordinates() for cell in cells)
    head = text().partition("tests:")[0]
    asks = "messages: [{role: user, content: a}], expect: []"
    ids = {
        cell.id
        for named in ("name: a", "name: b, tags: [x]")
        for group in build_matrix(load(f"{head}tests: [{{{named}, {asks}}}]\n")).launches
        for cell in group.cells
    }
    assert len(ids) == 2  # one for each temperature


@pytest.mark.parametrize(
    ("entry", "more", "said"),
    [
        (", tags: [jsn]", "", "no test of the suite has the tag «jsn»\n  perhaps you meant «json»"),
        (", tags: [x*]", "", "«x*»\n  its tags: format, json, large, small"),
        (", tags: json", "", "expected a list, found the text «json»\n  write [json]"),
        ("", "exclude: [{tag: jsno}]", "tag has no value «jsno» to exclude\n  perhaps you meant"),
        ("", "include: [{tag: x, temperature: 3}]", "tag has no value «x» to include"),
        ("", "charts: {c: {x: tag}}", "unknown axis «tag» in charts.c.x\n  "),
        ("", "charts: {c: {row: suite}}", "unknown axis «suite» in charts.c.row\n  "),
        ("", "exclude: [{suite: mien}]", "suite has no value «mien» to exclude\n  perhaps you"),
        (", request: {stream_options: 1}", "", "exp.yaml:4:38: the request field «stream_options»"),
        (", request: {stream: 1}", "", "stream: expected true or false, found the number 1"),
        (", request: {max_tokens: none}", "", "expected a whole number of at least 1"),
        (", request: 3", "", "tests[0].request: expected a mapping"),
    ],
)
@pytest.mark.usefixtures("suite")
def test_a_tag_that_no_test_has_is_a_problem(load: Load, entry: str, more: str, said: str) -> None:
    """It is told with the nearest tag; a chart cannot have tags as an axis."""
    with pytest.raises(SpecError) as wrong:
        load(text(entry, more))
    assert said in str(wrong.value)
    assert len(wrong.value.problems) == 1


@pytest.mark.usefixtures("suite")
def test_an_empty_tag_is_a_problem(load: Load, suite: Path) -> None:
    """A word that nobody could write is no tag."""
    suite.write_text(SUITE.replace("format", "' '"), encoding="utf-8")
    with pytest.raises(SpecError, match=r"mine.yaml:9:34: a tag is empty"):
        load(text())


@pytest.mark.usefixtures("suite")
def test_where_with_a_tag_that_no_test_has_is_a_usage_error(load: Load) -> None:
    """It would select nothing, and only by a slip."""
    with pytest.raises(UsageError) as wrong:
        chosen(load(text()), "tag=jsn")
    assert "no test has the tag «jsn»" in str(wrong.value)
    assert "perhaps you meant «json»; tags: format, json, large, small" in str(wrong.value)
    with pytest.raises(UsageError, match="no test has the suite «min»"):
        chosen(load(text()), "suite=min")
    with pytest.raises(UsageError, match="compares numbers"):
        chosen(load(text()), "tag<small")


@pytest.mark.usefixtures("suite")
def test_a_suites_request_wins_over_its_tests_own(load: Load, suite: Path) -> None:
    """A cap that a suite gives its tests can be raised for a model that thinks."""
    own = "request: {max_tokens: 8, stop: [x]}, name: free"
    suite.write_text(SUITE.replace("name: free", own), encoding="utf-8")
    free = load(text(", request: {max_tokens: 2048}")).tests[-1]
    assert free.request == {"max_tokens": 2048, "stop": ["x"]}
    assert load(text()).tests[-1].request == {"max_tokens": 8, "stop": ["x"]}
