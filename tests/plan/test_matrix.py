"""The matrix: what is multiplied, what collapses, what is left out and what does not apply."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from matrixbench.errors import SpecError
from matrixbench.plan.matrix import Matrix, axis_sizes, build_matrix, known_axes
from matrixbench.plan.selector import parse_where
from matrixbench.spec.base import grid_points

if TYPE_CHECKING:
    from tests.conftest import Load

HEAD = """
name: demo
trials: 3
"""
TESTS = """
tests:
  - {name: hi, messages: [{role: user, content: hi}], expect: [{content: {contains: a}}]}
  - {name: ho, messages: [{role: user, content: ho}], expect: [{content: {contains: a}}]}
"""
SCRIPTED = "backends: {fake: {kind: scripted, replies: [a]}}\n"


def cells_of(matrix: Matrix) -> list[dict[str, Any]]:
    """Return the coordinates of all cells."""
    return [cell.coordinates() for group in matrix.launches for cell in group.cells]


def test_axes_of_all_levels_are_multiplied(load: Load) -> None:
    """Server options, models, templates, sampling and tests make the Cartesian product."""
    matrix = build_matrix(
        load(
            HEAD
            + """
backends:
  s: {kind: llama-server, options: {cache-type-k: [f16, q8_0], flash-attn: [on, off]}}
models: {a: {gguf: a.gguf}, b: {gguf: b.gguf}, c: {gguf: c.gguf}}
chat_templates: {native: {}, chatml: {name: chatml}}
sampling: {temperature: [null, 0, 1], top_p: [0.9]}
"""
            + TESTS
        )
    )
    assert len(matrix.launches) == 2 * 2 * 3 * 2
    assert matrix.cells == 2 * 2 * 3 * 2 * 3 * 2
    assert len({cell.id for group in matrix.launches for cell in group.cells}) == matrix.cells


def test_options_of_one_backend_collapse_for_another(load: Load) -> None:
    """An option that only one backend has makes no duplicate cells of the other."""
    matrix = build_matrix(
        load(
            HEAD
            + """
backends:
  s: {kind: llama-server, options: {cache-type-k: [f16, q8_0, q4_0]}}
  fake: {kind: scripted, replies: [a]}
models: {a: {gguf: a.gguf}}
"""
            + TESTS
        )
    )
    assert Counter(cell["backend"] for cell in cells_of(matrix)) == {"s": 3 * 2, "fake": 2}


def test_a_list_of_grids_is_their_union(load: Load) -> None:
    """Axes are linked by listing grids, and a point that two grids share counts once."""
    matrix = build_matrix(
        load(
            HEAD
            + SCRIPTED
            + """
sampling:
  - {temperature: [0, 1], top_k: [40]}
  - {temperature: [1], top_k: [40, 50]}
"""
            + TESTS
        )
    )
    assert {(cell["temperature"], cell["top_k"]) for cell in cells_of(matrix)} == {
        (0, 40),
        (1, 40),
        (1, 50),
    }
    assert matrix.cells == 3 * 2


def test_a_model_narrows_and_adds(load: Load) -> None:
    """A model's own options win over the backend's; its templates and backends narrow."""
    matrix = build_matrix(
        load(
            HEAD
            + """
backends:
  s: {kind: llama-server, options: {cache-type-k: [f16, q8_0]}}
  t: {kind: llama-server}
models:
  a: {gguf: a.gguf, options: {cache-type-k: q4_0}, chat_templates: [native], backends: [s]}
chat_templates: {native: {}, chatml: {name: chatml}}
"""
            + TESTS
        )
    )
    assert [group.launch.coordinates for group in matrix.launches] == [
        {"backend": "s", "model": "a", "chat_template": "native", "options.cache-type-k": "q4_0"}
    ]


def test_axes_of_a_model_fill_its_source(load: Load) -> None:
    """A model's axis is called model.NAME, and its value stands in the source."""
    matrix = build_matrix(
        load(
            HEAD
            + """
backends: {s: {kind: llama-server}}
models: {a: {hf: "org/repo:{quant}", axes: {quant: [Q4_K_M, Q8_0]}}}
"""
            + TESTS
        )
    )
    assert [
        (group.launch.coordinates["model.quant"], group.launch.source.hf)
        for group in matrix.launches
    ] == [("Q4_K_M", "org/repo:Q4_K_M"), ("Q8_0", "org/repo:Q8_0")]


def test_binaries_are_an_axis(load: Load) -> None:
    """A mapping of binaries makes one launch a binary; paths are no part of the cell's id."""
    matrix = build_matrix(
        load(
            HEAD
            + """
backends: {s: {kind: llama-server, binary: {old: ./a/llama-server, new: ./b/llama-server}}}
models: {a: {gguf: a.gguf}}
"""
            + TESTS
        )
    )
    assert [group.launch.coordinates["binary"] for group in matrix.launches] == ["old", "new"]
    assert matrix.launches[0].launch.digest == matrix.launches[1].launch.digest


def test_exclude_leaves_out_what_all_named_axes_match(load: Load) -> None:
    """An entry names values, lists or globs; axes that it does not name are all meant."""
    matrix = build_matrix(
        load(
            HEAD
            + SCRIPTED
            + "sampling: {temperature: [null, 0, 1]}\n"
            + "exclude: [{test: 'h?', temperature: [0, 1]}, {test: ho}]\n"
            + TESTS
        )
    )
    assert [(c["test"], c["temperature"]) for c in cells_of(matrix)] == [("hi", None)]


def test_include_adds_values_that_the_grid_lacks_and_ignores_exclude(load: Load) -> None:
    """Include comes after exclude, may name new values, and counts twice-added cells once."""
    matrix = build_matrix(
        load(
            HEAD
            + SCRIPTED
            + "sampling: {temperature: [0, 1], top_p: [0.9, 0.8]}\n"
            + "exclude: [{test: ho}]\n"
            + "include: [{test: ho, temperature: 5}, {test: ho, temperature: [5, 1], top_p: 0.9}]\n"
            + TESTS
        )
    )
    added = [(c["temperature"], c["top_p"]) for c in cells_of(matrix) if c["test"] == "ho"]
    assert sorted(added) == [(1, 0.9), (5, 0.8), (5, 0.9)]


def test_include_keeps_linked_axes_linked(load: Load) -> None:
    """A value that the grids have keeps the points that have it."""
    matrix = build_matrix(
        load(
            HEAD
            + """
backends:
  s:
    kind: llama-server
    options: [{cache-type-k: f16, cache-type-v: f16}, {cache-type-k: q8_0, cache-type-v: q8_0}]
models: {a: {gguf: a.gguf}}
exclude: [{backend: s}]
include: [{options.cache-type-k: q8_0, test: hi}]
"""
            + TESTS
        )
    )
    assert [group.launch.options for group in matrix.launches] == [
        {"cache-type-k": "q8_0", "cache-type-v": "q8_0"}
    ]


def test_what_a_backend_cannot_honour_does_not_apply(load: Load) -> None:
    """An endpoint has no chat template, no unknown sampling field, no model without an id."""
    matrix = build_matrix(
        load(
            HEAD
            + """
backends: {far: {kind: endpoint, url: "http://127.0.0.1:1/v1", honours: [top_k]}}
models: {a: {id: a}, b: {gguf: b.gguf}}
chat_templates: {native: {}, chatml: {name: chatml}}
sampling: {temperature: [0], top_k: [null, 1], min_p: [null, 0.1]}
"""
            + TESTS
        )
    )
    reasons = Counter(point.reason for point in matrix.not_applicable)
    assert matrix.cells == 2 * 2
    assert reasons == {
        "an endpoint cannot be given the chat template chatml": 8,
        "min_p is not known to be honoured by this endpoint": 4,
        "model b has no id for an endpoint": 16,
    }
    assert all(point.hint for point in matrix.not_applicable)


def test_a_test_that_needs_more_context_does_not_apply(load: Load) -> None:
    """A test with `needs: {context: N}` is not asked of a backend with less."""
    matrix = build_matrix(
        load(
            HEAD
            + """
backends: {s: {kind: llama-server, context: 512}}
models: {a: {gguf: a.gguf}}
tests:
  - name: long
    needs: {context: 1024}
    messages: [{role: user, content: hi}]
    expect: [{content: a}]
"""
        )
    )
    assert matrix.cells == 0
    assert "1024" in matrix.not_applicable[0].reason


def test_a_field_that_a_test_sets_collapses_the_axis(load: Load) -> None:
    """A test's own temperature wins over the grid: one cell, with the value that is sent."""
    matrix = build_matrix(
        load(
            HEAD
            + SCRIPTED
            + """
sampling: {temperature: [0, 0.5, 1]}
tests:
  - name: own
    messages: [{role: user, content: hi}]
    request: {temperature: 0.5}
    expect: [{content: a}]
"""
        )
    )
    assert [cell["temperature"] for cell in cells_of(matrix)] == [0.5]


def test_a_matrix_over_the_limit_is_refused_with_the_size_of_every_axis(load: Load) -> None:
    """The refusal names every axis with more than one value, and the way out."""
    experiment = load(
        HEAD
        + SCRIPTED
        + "limits: {cells: 100}\nsampling: {temperature: [0, 1, 2], top_k: ["
        + ", ".join(str(k) for k in range(1, 41))
        + "]}\n"
        + TESTS
    )
    with pytest.raises(SpecError) as refused:
        build_matrix(experiment)
    assert "more than 100 cells: temperature 3 × top_k 40 × test 2" in str(refused.value)
    assert "limits: {cells: N}" in str(refused.value)


def test_a_grid_that_explodes_is_refused_before_it_is_made(load: Load) -> None:
    """Ten axes of ten values are refused at once."""
    fields = [
        "temperature", "top_p", "min_p", "typical_p", "top_n_sigma", "xtc_probability",
        "xtc_threshold", "repeat_penalty", "presence_penalty", "frequency_penalty",
    ]  # fmt: skip
    values = [round(0.1 * i, 1) for i in range(10)]
    grid = "".join(f"  {name}: {values}\n" for name in fields)
    with pytest.raises(SpecError, match="10,000,000,000 choices"):
        build_matrix(load(HEAD + SCRIPTED + "sampling:\n" + grid + TESTS))


def test_where_keeps_the_axes_that_the_file_has(load: Load) -> None:
    """A selection has fewer cells, and still knows every axis value of the experiment."""
    experiment = load(HEAD + SCRIPTED + "sampling: {temperature: [0, 1]}\n" + TESTS)
    where = parse_where(["temperature=1"], known_axes(experiment))
    matrix = build_matrix(experiment, where)
    assert {cell["temperature"] for cell in cells_of(matrix)} == {1}
    assert matrix.axes["temperature"] == (0, 1)


def test_parameters_are_axes(load: Load) -> None:
    """A test's parameters are called parameters.NAME."""
    matrix = build_matrix(
        load(
            HEAD
            + SCRIPTED
            + """
tests:
  - name: capital-of-{{ country }}
    parameters: {country: [France, Japan]}
    messages: [{role: user, content: "The capital of {{ country }}?"}]
    expect: [{content: {contains: a}}]
"""
        )
    )
    assert [(c["test"], c["parameters.country"]) for c in cells_of(matrix)] == [
        ("capital-of-France", "France"),
        ("capital-of-Japan", "Japan"),
    ]


axis = st.lists(st.integers(0, 5), min_size=1, max_size=4, unique=True)


@given(st.dictionaries(st.sampled_from("abcd"), axis, max_size=4))
def test_a_grid_has_the_product_of_its_axes(grid: dict[str, list[int]]) -> None:
    """The number of points is the product of the axes' lengths, and no point comes twice."""
    points = grid_points(grid)
    expected = 1
    for values in grid.values():
        expected *= len(values)
    assert len(points) == expected
    assert len({tuple(sorted(point.items())) for point in points}) == expected


@given(st.lists(st.dictionaries(st.sampled_from("ab"), axis, min_size=2), min_size=1, max_size=3))
def test_a_union_holds_what_its_grids_hold(grids: list[dict[str, list[int]]]) -> None:
    """A union has exactly the points of its grids, each once."""
    apart = {tuple(sorted(p.items())) for grid in grids for p in grid_points(grid)}
    together = [tuple(sorted(p.items())) for p in grid_points(grids)]
    assert set(together) == apart
    assert len(together) == len(apart)


def test_axis_sizes_are_told_without_making_the_matrix(load: Load) -> None:
    """The sizes are those that the file writes."""
    experiment = load(HEAD + SCRIPTED + "sampling: {temperature: [0, 1, 2]}\n" + TESTS)
    assert axis_sizes(experiment) == {
        "backend": 1,
        "model": 1,
        "chat_template": 1,
        "temperature": 3,
        "test": 2,
    }
