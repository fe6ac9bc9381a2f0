"""Grids as they stand in the file: their fields and values with their places, mistakes included."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from matrixbench.spec.nodes import Entry, Node


def grid_entries(node: Node | None) -> Iterator[tuple[str, Entry]]:
    """Yield field → entry for every grid that stands at a node: one mapping, or a list of them."""
    if node is None:
        return
    for grid in (node, *node.items):
        yield from grid.entries.items()


def value_nodes(node: Node) -> list[Node]:
    """Return the nodes of the values that a grid's entry stands for; see grid.axis_values."""
    if node.entries.keys() == {"value"}:
        return [node.entries["value"].node]
    if isinstance(node.value, list):
        return list(node.items)
    return [node]


def grid_size(node: Node | None) -> int:
    """Return how many points the grids at a node have at most, without making them."""
    if node is None:
        return 1
    total = 0
    for grid in node.items if isinstance(node.value, list) else (node,):
        size = 1
        for entry in grid.entries.values():
            size *= len(value_nodes(entry.node))
        total += size
    return total
