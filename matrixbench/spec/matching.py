"""Names and values as the file names them: a value, a list (any of), or a glob."""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

from matrixbench.identity import canonical_json

if TYPE_CHECKING:
    from collections.abc import Iterable


def fits(pattern: str, name: str) -> bool:
    """Return whether a name is the one that is named, or matches the glob."""
    return pattern == name or (is_glob(pattern) and fnmatchcase(name, pattern))


def any_fits(patterns: Iterable[str], name: str) -> bool:
    """Return whether a name fits any of some patterns."""
    return any(fits(pattern, name) for pattern in patterns)


def is_glob(pattern: object) -> bool:
    """Return whether a named value is a glob."""
    return isinstance(pattern, str) and any(sign in pattern for sign in "*?[")


def means(pattern: Any, value: Any) -> bool:  # noqa: ANN401  any JSON values
    """Return whether an axis value is what a single named value means: 1 is 1.0, true is not 1."""
    if isinstance(pattern, str):
        return fits(pattern, value if isinstance(value, str) else canonical_json(value))
    return same(pattern, value)


def same(left: object, right: object) -> bool:
    """Return whether two values are one: 1 is 1.0, but true is not 1."""
    return isinstance(left, bool) is isinstance(right, bool) and bool(left == right)
