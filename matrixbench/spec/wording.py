"""How problems are worded: paths, values, choices, and the name that was probably meant."""

from __future__ import annotations

from difflib import get_close_matches
from heapq import nsmallest
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from matrixbench.spec.nodes import Loc, Node

CHOICES_SHOWN = 24
TEXT_SHOWN = 40
CHOICES_COMPARED = 200
SHORTEST_ABBREVIATION = 3


def dotted(loc: Loc) -> str:
    """Return a way through keys and indices as people write it: `tests[0].expect`."""
    text = ""
    for step in loc:
        text += f"[{step}]" if isinstance(step, int) else f".{step}" if text else step
    return text


def inside(loc: Loc) -> str:
    """Return ` in PATH`, or what says that it is the top level."""
    return f" in {dotted(loc)}" if loc else " at the top level"


def quoted(text: str) -> str:
    """Return a text in guillemets, on one line, shortened where it is long."""
    line = " ".join(text.split())
    return f"«{line[: TEXT_SHOWN - 1]}…»" if len(line) > TEXT_SHOWN else f"«{line}»"


def found(node: Node | None) -> str:  # noqa: PLR0911  one for each type
    """Return what stands there, for «found …»."""
    if node is None:
        return "nothing"
    match node.value:
        case None:
            return "nothing (null)"
        case dict():
            return "a mapping"
        case list():
            return "a list"
        case str(text):
            return f"the text {quoted(text)}"
        case bool():
            return node.text
        case _:
            return f"the number {quoted(node.text)[1:-1]}"


def listed(names: Iterable[object]) -> str:
    """Return names with commas, shortened where there are many."""
    several = [" ".join(str(name).split())[:TEXT_SHOWN] for name in names]
    if len(several) <= CHOICES_SHOWN:
        return ", ".join(several)
    return f"{', '.join(several[:CHOICES_SHOWN])}, … ({len(several)} in all)"


def nearest(name: str, choices: Iterable[str]) -> str | None:
    """Return the choice that was probably meant, or None."""
    likely = nsmallest(CHOICES_COMPARED, choices, key=lambda choice: abs(len(choice) - len(name)))
    by_folded = {_folded(choice): choice for choice in likely}
    near = get_close_matches(_folded(name)[:200], by_folded, n=1)
    if near:
        return by_folded[near[0]]
    begins = [choice for folded, choice in by_folded.items() if folded.startswith(_folded(name))]
    return begins[0] if len(begins) == 1 and len(name) >= SHORTEST_ABBREVIATION else None


def _folded(name: str) -> str:
    return name.casefold().replace("_", "-")


def choose(name: str, choices: Sequence[str], *, what: str = "allowed") -> str:
    """Return the hint for a name that is none of the choices."""
    near = nearest(name, choices)
    meant = f"perhaps you meant «{near}»; " if near else ""
    return f"{meant}{what}: {listed(choices) or 'none'}"
