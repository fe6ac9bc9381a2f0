"""What types cannot say of backends of kind `ollama`: names, and what an attached one lacks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from matrixbench.spec.grids import grid_entries, value_nodes
from matrixbench.spec.nodes import Entry, Finding, Node
from matrixbench.spec.ollama_names import (
    OPTION_NAMES,
    OPTIONS_MEANT,
    OWNED_VARIABLES,
    SAID_ELSEWHERE,
    SAMPLING,
    SERVER_OPTIONS,
    SWITCHES,
)
from matrixbench.spec.wording import choose, found, quoted

if TYPE_CHECKING:
    from collections.abc import Iterator

KIND = "ollama"

MANAGED_ONLY = ("binary", "models_dir", "env", "loaded_models")
"""Keys that mean something only for a server that is started here."""


def ollama_findings(root: Node) -> Iterator[Finding]:
    """Yield what is wrong with the backends of kind `ollama`."""
    for name, backend in root.child_entries("backends").items():
        kind = backend.node.child("kind")
        if kind is not None and kind.value == KIND:
            yield from _backend(name, backend.node)


def _backend(name: str, node: Node) -> Iterator[Finding]:
    attached = "url" in node.entries
    for key in MANAGED_ONLY if attached else ():
        if key in node.entries:
            message = f"the backend «{name}» has a url, so its server is not started here: {key}"
            hint = f"leave {key} out, or leave url out to have a server started"
            yield Finding(place=node.entries[key].place, message=message, hint=hint)
    for option, entry in grid_entries(node.child("options")):
        yield from _option(option, entry, attached=attached)
    for variable, entry in node.child_entries("env").items():
        if variable in OWNED_VARIABLES:
            message = f"the variable {quoted(variable)} is not given here"
            yield Finding(place=entry.place, message=message, hint=OWNED_VARIABLES[variable])


def _meant(option: str) -> str:
    """Return what to write for an option that Ollama does not have."""
    bare = option.lstrip("-")
    if bare in OPTIONS_MEANT:
        return f"write {OPTIONS_MEANT[bare]}"
    if bare in SAMPLING:
        return f"say it under `sampling:`, as {bare}"
    return SAID_ELSEWHERE.get(bare) or choose(option, sorted(OPTION_NAMES), what="known")


def _option(option: str, entry: Entry, *, attached: bool) -> Iterator[Finding]:
    if option not in OPTION_NAMES:
        message = f"ollama has no option {quoted(option)}"
        hint = _meant(option)
        yield Finding(place=entry.place, message=message, hint=hint)
    elif attached and option in SERVER_OPTIONS:
        message = f"the option {quoted(option)} belongs to the whole server, which runs already"
        hint = f"set {SERVER_OPTIONS[option]} where it is started, or leave url out"
        yield Finding(place=entry.place, message=message, hint=hint)
    elif option in SWITCHES:
        for value in value_nodes(entry.node):
            if value.value not in (True, False, None, "on", "off"):
                message = f"{option}: expected on or off, found {found(value)}"
                yield Finding(place=value.place, message=message)
