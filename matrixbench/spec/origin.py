"""Where a test stands: for code beside its file, and for messages that come later than loading."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from matrixbench.spec.wording import dotted

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from matrixbench.spec.nodes import Document, Loc, Node, Place

PLACED = ("python", "same_as")
"""Checks whose places are kept: what they name is looked for only when they are compiled."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """Where a test stands.

    Args:
        folder: The folder of its file; None where it is no file of its own, such as a suite that
            ships.
        places: Way to a check's value from the test on, such as `expect[0].python` → its place;
            of a mapping's entries too.
    """

    folder: Path | None = None
    places: Mapping[str, Place] = field(default_factory=dict)


def origin_of(document: Document, at: Loc) -> Origin:
    """Return where the test at a place of a document stands."""
    file = Path(document.name)
    expect = document.node_at((*at, "expect"))
    return Origin(
        folder=file.absolute().parent if file.is_file() else None,
        places={} if expect is None else dict(_places(expect, ("expect",))),
    )


def _places(node: Node, at: Loc) -> Iterator[tuple[str, Place]]:
    for name, entry in node.entries.items():
        if name in PLACED:
            yield dotted((*at, name)), entry.node.place
            for key, inner in entry.node.entries.items():
                yield dotted((*at, name, key)), inner.place
        elif name in {"all", "any", "not"}:
            yield from _places(entry.node, (*at, name))
    for index, item in enumerate(node.items):
        yield from _places(item, (*at, index))
