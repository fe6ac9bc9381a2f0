"""What installed packages bring, found by their entry points: kinds of backends, named checks.

What matrixbench itself brings is read from `entry_points.txt` beside this file, which has the same
form: it lies with the code, so that it is never older than the code is. `pyproject.toml` repeats it
for tools that list entry points; from the metadata of installations only other packages are taken.
"""

from __future__ import annotations

from configparser import ConfigParser
from dataclasses import dataclass, replace
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

BACKENDS = "matrixbench.backends"
CHECKS = "matrixbench.checks"

_OWN = "matrixbench"
_BUILT_IN = Path(__file__).with_name("entry_points.txt")


class ExtensionError(Exception):
    """What a package says that it brings cannot be used; says why, on one line."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Extension:
    """Something that a package brings.

    Args:
        name: How the experiment file calls it.
        value: `module:object`.
        package: The package's name; empty for what is built in.
        version: The package's version.
        rivals: Other packages that bring something by this name.
    """

    name: str
    value: str
    package: str = ""
    version: str = ""
    rivals: tuple[str, ...] = ()

    def load(self) -> Any:
        """Return the object. This runs the package's code.

        Raises:
            ExtensionError: It cannot be imported, or which one is meant cannot be told.
        """
        if self.rivals:
            brought = " and ".join((self.package, *self.rivals))
            raise ExtensionError(f"«{self.name}» is brought by {brought}: uninstall all but one")
        try:
            return EntryPoint(self.name, self.value, "").load()
        except Exception as error:
            if not self.package:
                raise
            said = " ".join(f"{type(error).__name__}: {error}".split())
            raise ExtensionError(
                f"the package {self.package} brings «{self.name}», but {self.value} cannot be "
                f"imported ({said})"
            ) from error


@cache
def extensions(group: str) -> Mapping[str, Extension]:
    """Return name → what is brought under it: first what is built in, then others by name."""
    found = {name: Extension(name=name, value=value) for name, value in _built_in(group)}
    others: dict[str, Extension] = {}
    for entry in entry_points(group=group):
        package = "" if entry.dist is None else entry.dist.name
        if package == _OWN:
            continue
        version = "" if entry.dist is None else entry.dist.version
        other = Extension(name=entry.name, value=entry.value, package=package, version=version)
        known = found.get(entry.name) or others.get(entry.name)
        if known is None:
            others[entry.name] = other
        elif known.package and known.package != package:
            others[entry.name] = replace(known, rivals=(*known.rivals, package))
        # Else a word of ours, which no installation gives another meaning.
    return {**found, **dict(sorted(others.items()))}


def _built_in(group: str) -> list[tuple[str, str]]:
    parser = ConfigParser(delimiters=("=",))
    parser.optionxform = str  # type: ignore[assignment,method-assign]  # names keep their case
    parser.read(_BUILT_IN, encoding="utf-8")
    return parser.items(group) if parser.has_section(group) else []
