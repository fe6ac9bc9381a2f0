"""Which cell differs from another one only in what some axes name."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from matrixbench.plan.cells import Cell
from matrixbench.plan.matrix import build_matrix
from matrixbench.plan.selector import Partners
from matrixbench.spec.backends import Obstacle

if TYPE_CHECKING:
    from tests.conftest import Load

EXPERIMENT = """
name: partners
backends:
  plain: {kind: llama-server}
  drafted: {kind: llama-server, options: {draft-max: [4, 8]}}
  other: {kind: llama-server, options: {cache-type-k: [f16, q8_0]}}
models: {m: {gguf: m.gguf}}
sampling: {temperature: [0, 1]}
tests:
  - name: "{{ n }}"
    parameters: {n: [a, b]}
    messages: [{role: user, content: "{{ n }}"}]
    expect: []
"""


def cells(load: Load) -> list[Cell]:
    """Return all cells of the experiment."""
    return [cell for group in build_matrix(load(EXPERIMENT)).launches for cell in group.cells]


def test_a_partner_is_alike_in_all_axes_that_both_have(load: Load) -> None:
    """Options of a backend's own belong to what is compared."""
    every = cells(load)
    partners = Partners(every)
    drafted = [cell for cell in every if cell.launch.backend == "drafted"]
    assert len(drafted) == 8
    for cell in drafted:
        found = partners.of(cell, {"backend": "plain"})
        assert isinstance(found, Cell)
        assert found.launch.backend == "plain"
        assert (found.point.fields, found.test) == (cell.point.fields, cell.test)


def test_a_cell_may_be_its_own_partner(load: Load) -> None:
    """Where it has the named values itself."""
    every = cells(load)
    plain = next(cell for cell in every if cell.launch.backend == "plain")
    assert Partners(every).of(plain, {"backend": "plain"}) is plain


def test_several_axes_may_be_named(load: Load) -> None:
    """Numbers are compared by value."""
    every = cells(load)
    for cell in every:
        named: dict[str, Any] = {"backend": "other", "options.cache-type-k": "f16"}
        found = Partners(every).of(cell, {**named, "temperature": 0.0})
        assert isinstance(found, Cell)
        assert found.coordinates()["options.cache-type-k"] == "f16"
        assert found.coordinates()["temperature"] == 0


def test_several_cells_are_no_partner(load: Load) -> None:
    """The axis that tells them apart is named, so that it can be added."""
    every = cells(load)
    plain = next(cell for cell in every if cell.launch.backend == "plain")
    found = Partners(every).of(plain, {"backend": "drafted"})
    assert isinstance(found, Obstacle)
    assert found.reason == (
        "several cells have backend=drafted: they differ in options.draft-max (4, 8)"
    )
    assert "options.draft-max" in found.hint


def test_no_cell_is_no_partner(load: Load) -> None:
    """A value or an axis that no cell has, or one that is left out."""
    every = cells(load)
    plain = next(cell for cell in every if cell.launch.backend == "plain")
    found = Partners(every).of(plain, {"backend": "nobody"})
    assert isinstance(found, Obstacle)
    assert found.reason == "no cell is like this one but for backend=nobody"
    assert isinstance(Partners(every).of(plain, {"options.nothing": 1}), Obstacle)
    assert isinstance(Partners([]).of(plain, {"backend": "plain"}), Obstacle)
