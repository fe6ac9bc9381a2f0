"""Which cells `try` takes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from matrixbench.errors import NothingSelectedError, UsageError
from matrixbench.execution.try_ import choose_cells

if TYPE_CHECKING:
    from tests.conftest import Load

EXPERIMENT = """
name: demo
backends:
  small: {kind: llama-server, context: 512}
  large: {kind: llama-server, context: 8192}
models: {m: {gguf: m.gguf}}
sampling: {temperature: [0, 1]}
tests:
  - {name: short-a, messages: [{role: user, content: a}], expect: []}
  - {name: long, needs: {context: 4096}, messages: [{role: user, content: b}], expect: []}
  - {name: short-b, messages: [{role: user, content: c}], expect: []}
  - {name: huge, needs: {context: 9999}, messages: [{role: user, content: d}], expect: []}
"""


def test_each_test_gets_its_first_cell_and_launches_stay_together(load: Load) -> None:
    """A server is started once for all tests that begin with it."""
    choice = choose_cells(load(EXPERIMENT), ["short-*", "long"], ())
    assert [(cell.test.name, cell.launch.backend) for cell in choice.cells] == [
        ("short-a", "small"),
        ("short-b", "small"),
        ("long", "large"),
    ]
    assert {cell.point.fields["temperature"] for cell in choice.cells} == {0}
    assert choice.matching == 2 * 2 * 2 + 2
    assert choice.differing == {"backend": ("small", "large"), "temperature": (0, 1)}


def test_selectors_narrow_what_fits(load: Load) -> None:
    """By any axis, also by the test's own."""
    choice = choose_cells(load(EXPERIMENT), ["*"], ["temperature=1 and test=short-b"])
    (cell,) = choice.cells
    assert (cell.test.name, cell.launch.backend) == ("short-b", "small")
    assert (choice.matching, dict(choice.differing)) == (2, {"backend": ("small", "large")})


def test_what_does_not_apply_is_told_once_for_each_test(load: Load) -> None:
    """A test with a cell that does is not among them; where no test has one, it is an error."""
    experiment = load(EXPERIMENT)
    choice = choose_cells(experiment, ["*"], ())
    assert [point.coordinates["test"] for point in choice.aside] == ["huge"]
    with pytest.raises(NothingSelectedError, match="not applicable: huge: ") as caught:
        choose_cells(experiment, ["huge"], ())
    assert caught.value.hint


def test_a_test_is_named_unless_there_is_only_one(load: Load) -> None:
    """The names are told, and the nearest one to a slip."""
    experiment = load(EXPERIMENT)
    with pytest.raises(UsageError, match="which test") as caught:
        choose_cells(experiment, (), ())
    assert caught.value.hint.endswith("short-a, long, short-b, huge")
    with pytest.raises(UsageError, match="there is no test «short_a»") as caught:
        choose_cells(experiment, ["long", "short_a"], ())
    assert caught.value.hint.startswith("perhaps you meant «short-a»")
    with pytest.raises(UsageError, match=r"no test matches «x\*»"):
        choose_cells(experiment, ["x*"], ())
    head, _, _ = EXPERIMENT.partition("  - {name: long")
    assert choose_cells(load(head), (), ()).cells[0].test.name == "short-a"
