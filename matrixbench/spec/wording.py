"""How problems are worded: names, choices, values and forms as messages say them."""

from __future__ import annotations

import re
from difflib import SequenceMatcher, get_close_matches
from heapq import nsmallest
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from matrixbench.spec.yaml_source import Loc, Node

CHOICES_SHOWN = 24
TEXT_SHOWN = 40
CHOICES_COMPARED = 200
SHORTEST_ABBREVIATION = 3
WRITTEN_OUT = 160
"""Characters of a form that is written out for the user to copy; more of it is left to them."""

_PLAIN = re.compile(r"([^\W\d]|~/|\.{0,2}/|--?(?=[A-Za-z]))([\w ./%+$~-]*[\w./%+-])?")
"""Texts that mean themselves without quotes, wherever in YAML they stand."""

_CREDENTIALS = re.compile(r"//[^/@\s]+@")
"""The user and the password of a url, which no message may show."""

_MEANT_OTHERWISE = frozenset({"null", "true", "false"})


class TemplateProblem(Exception):  # noqa: N818  not for users: the caller adds the place
    """A text that cannot be rendered, and why."""


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
    line = _CREDENTIALS.sub("//…@", " ".join(text.split()))
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


def counted(count: int, noun: str) -> str:
    """Return a number with its noun: `1 cell`, `2,000 cells`, `2 launches`, `2 replies`."""
    if count == 1:
        return f"1 {noun}"
    if noun.endswith("y"):
        return f"{count:,} {noun[:-1]}ies"
    return f"{count:,} {noun}{'es' if noun.endswith('ch') else 's'}"


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


def nearest_first(name: str, choices: Iterable[str]) -> list[str]:
    """Return the choices, those that are likest to a name first; equals keep their order.

    What begins with the name or holds it comes before what only resembles it: `latency` is nearer
    to `latency_p50_s` than its length says.
    """
    wanted = _folded(name)

    def distance(choice: str) -> tuple[int, float]:
        known = _folded(choice)
        within = wanted in known or known in wanted
        kinship = 0 if known.startswith(wanted) else 1 if within else 2
        return kinship, -SequenceMatcher(None, wanted[:200], known[:200]).ratio()

    return sorted(choices, key=distance)


def joined(names: Sequence[str]) -> str:
    """Return names as a sentence has them: `a`, `a and b`, `a, b and c`."""
    *rest, last = names
    return f"{', '.join(rest)} and {last}" if rest else last


def written(node: Node | None) -> str:
    """Return a value as it may be written on one line, inside of brackets or braces too."""
    text = _written(node)
    return text if len(text) <= WRITTEN_OUT else "…"


def _written(node: Node | None) -> str:
    if node is None or node.value is None:
        return "null"
    match node.value:
        case dict() as entries:
            inner = (f"{plain_or_quoted(k)}: {_written(e.node)}" for k, e in entries.items())
            return f"{{{', '.join(inner)}}}"
        case list() as items:
            return f"[{', '.join(map(_written, items))}]"
        case str(text):
            return plain_or_quoted(text)
        case _:
            return node.text


def plain_or_quoted(text: str) -> str:
    """Return a text as YAML: as it is where that means the same everywhere, else in quotes."""
    line = " ".join(text.split())
    if _PLAIN.fullmatch(line) and line.lower() not in _MEANT_OTHERWISE:
        return line
    line = _CREDENTIALS.sub("//…@", line)
    escaped = line.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
