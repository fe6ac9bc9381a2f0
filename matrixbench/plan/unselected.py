"""Why a selector selects nothing: a name that is no axis, a value that no cell has."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from matrixbench.errors import NothingSelectedError
from matrixbench.plan.values import Several, label
from matrixbench.spec.aliases import SAMPLING as SAMPLING_WORDS
from matrixbench.spec.rules import SAMPLING_FIELDS
from matrixbench.spec.wording import listed, nearest, nearest_first, quoted

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from matrixbench.plan.selector import Compared, Selector

NO_CELL = "no cell is selected"
PREFIXES = ("request.", "options.", "parameters.", "model.")
_FIXED = ("max_tokens", "seed", "trials", "context", "slots", "concurrency", "build")
"""What people choose cells by, and what is no axis unless the file makes it one."""


def unknown_axis(name: str, axes: Iterable[str]) -> tuple[str, str]:
    """Return what is said of a name that is no axis, and the way out.

    A sampling field that the file does not give is none: it does not vary here.
    """
    known = sorted(axes)
    every = f"its axes are {', '.join(known)}"
    owner = next((f"{p}{name}" for p in PREFIXES if f"{p}{name}" in known), None)
    if owner is None and name in (*SAMPLING_FIELDS, *_FIXED):
        return f"{name} does not vary here", f"{_left(name)}; {every}"
    near = owner or SAMPLING_WORDS.get(name) or nearest(name, (*known, *SAMPLING_FIELDS, *_FIXED))
    perhaps = ""
    if near in known:
        perhaps = f"perhaps you meant «{near}»; "
    elif within := [axis for axis in known if name in axis]:
        perhaps = f"perhaps you meant «{within[0]}»; "
    elif near is not None:
        perhaps = f"perhaps you meant «{near}»: {near} does not vary here; "
    return f"the experiment has no axis «{name}»", f"{perhaps}{every}"


def _left(name: str) -> str:
    if name in SAMPLING_FIELDS:
        return "no `sampling:` gives it, so that every request leaves it to the server"
    return "it is the same for all cells, or no axis of the matrix"


def nothing_selected(
    selector: Selector, values: Mapping[str, Iterable[Any]], *, where: str, hint: str = ""
) -> NothingSelectedError:
    """Return the error for a selection without a cell, with the comparison that is to blame.

    Args:
        selector: What selected nothing.
        values: Axis → the values that cells have.
        where: The experiment.
        hint: What to do where no comparison is to blame.
    """
    for compared in selector.comparisons:
        known = list(values.get(compared.axis, ()))
        if not any(compared.fits(value) for value in known):
            return NothingSelectedError(
                f"{NO_CELL}: {_blamed(compared)}", where=where, hint=_known(compared, known)
            )
    if len(selector.comparisons) > 1:
        texts = listed(compared.text for compared in selector.comparisons)
        return NothingSelectedError(
            f"{NO_CELL}: each of these holds somewhere, all together nowhere: {texts}",
            where=where,
            hint="plan --cells lists the cells; some may be excluded, or not apply",
        )
    return NothingSelectedError(NO_CELL, where=where, hint=hint)


def _blamed(compared: Compared) -> str:
    if compared.wanted:
        return f"{compared.axis} has no value {quoted(compared.wanted)}"
    return f"no value of {compared.axis} is so: {compared.text}"


def _known(compared: Compared, known: Iterable[Any]) -> str:
    """Return the values of an axis, those that are likest to what was asked for first."""
    texts = list(
        dict.fromkeys(
            label(item)
            for value in known
            for item in (value if isinstance(value, Several) else (value,))
        )
    )
    if not texts:
        return f"no cell has a {compared.axis}"
    if not compared.wanted:
        return f"the values of {compared.axis}: {listed(texts)}"
    near = nearest(compared.wanted, texts)
    perhaps = f"perhaps you meant «{near}»; " if near else ""
    ordered = nearest_first(compared.wanted, texts)
    return f"{perhaps}the values of {compared.axis}, the nearest first: {listed(ordered)}"
