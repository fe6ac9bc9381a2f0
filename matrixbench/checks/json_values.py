"""JSON values compared, without a limit to how deeply they are nested."""

from __future__ import annotations

from typing import Any, TypeAlias

Value: TypeAlias = Any
"""Any JSON value."""


def json_equal(left: Value, right: Value) -> bool:
    """Return whether two JSON values are equal: 1 is 1.0, but true is not 1."""
    pairs = [(left, right)]
    while pairs:
        one, other = pairs.pop()
        match one, other:
            case dict(), dict():
                if one.keys() != other.keys():
                    return False
                pairs += [(item, other[key]) for key, item in one.items()]
            case list() | tuple(), list() | tuple():
                if len(one) != len(other):
                    return False
                pairs += zip(one, other, strict=True)
            case _:
                if not _same_scalar(one, other):
                    return False
    return True


def _same_scalar(left: Value, right: Value) -> bool:
    if isinstance(left, bool) or isinstance(right, bool) or left is None or right is None:
        return left is right
    return bool(left == right)


def has_equal_items(items: list[Value]) -> bool:
    """Return whether two items of a list are equal, in a time that grows with their size only."""
    forms = _Forms()
    known = [forms.of(item) for item in items]
    return len(set(known)) < len(known)


class _Forms:
    """Numbers that stand for values: equal values have one, others another."""

    def __init__(self) -> None:
        self._numbers: dict[object, int] = {}

    def of(self, value: Value) -> int:
        """Return a value's number. Parts come before what they are part of, without recursion."""
        done: list[int] = []
        waiting: list[tuple[Value, bool]] = [(value, False)]
        while waiting:
            one, parts_done = waiting.pop()
            parts = _parts(one)
            if parts and not parts_done:
                waiting.append((one, True))
                waiting += [(part, False) for part in parts]
                continue
            numbers = [done.pop() for _ in parts]  # the last part was done first: in order again
            done.append(self._number(one, numbers))
        return done[0]

    def _number(self, value: Value, parts: list[int]) -> int:
        form: object
        match value:
            case dict():
                form = dict, frozenset(zip(value, parts, strict=True))
            case list():
                form = list, tuple(parts)
            case bool() | None | str():
                form = type(value), value
            case _:
                form = float, value
        return self._numbers.setdefault(form, len(self._numbers))


def _parts(value: Value) -> list[Value]:
    match value:
        case dict():
            return list(value.values())
        case list():
            return value
        case _:
            return []
