"""What a file uses, as `plan --explain` and `execute` say it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from matrixbench.spec.trust import UseKind

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from matrixbench.spec.trust import Trust, Use

_WORDS = {
    UseKind.PROGRAM: "runs",
    UseKind.ARGUMENTS: "with the command line",
    UseKind.MODULE: "loads",
    UseKind.OPTION: "starts or loads by the option",
    UseKind.SETS: "sets",
    UseKind.VARIABLE: "passes on the variable",
    UseKind.URL: "asks",
    UseKind.FETCHES: "fetches",
}

BRIEF_CHARS = 400
"""As much as one line of a log says."""


def lines_of(uses: Sequence[Use]) -> Iterator[str]:
    """Yield a line for each use: what happens, with what, for whom."""
    for use in uses:
        yield f"{_WORDS[use.kind]} {use.told} ({use.by})"


def brief(uses: Sequence[Use]) -> str:
    """Return some uses on one line; of variables the names, since logs are handed on."""
    said = "; ".join(
        f"{use.kind.value} {use.name if use.kind is UseKind.SETS else use.told}" for use in uses
    )
    if len(said) <= BRIEF_CHARS:
        return said
    return f"{said[:BRIEF_CHARS]}… ({len(uses)} in all: plan --explain)"


def explained(uses: Sequence[Use], trust: Trust) -> Iterator[str]:
    """Yield what `plan --explain` says: each use, and whether it is trusted."""
    if not uses:
        yield "the file uses no program, module, url or variable"
    for use in uses:
        line = next(lines_of([use]))
        yield f"{line}: {use.free or ('trusted' if trust.allows([use]) else 'not trusted yet')}"


def uses_json(uses: Sequence[Use], trust: Trust) -> list[dict[str, Any]]:
    """Return the same as data; `trusted` is null where nobody has to trust it."""
    return [
        {
            "kind": use.kind.value,
            "name": use.told,
            "by": use.by,
            "trusted": None if use.free else trust.allows([use]),
            "needs_no_trust": use.free or None,
        }
        for use in uses
    ]
