"""JSON that is nested too deep is found before anything goes down into it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from matrixbench.identity import DEEPEST, too_deep

PLAIN = st.none() | st.booleans() | st.integers() | st.text()
JSON = st.recursive(PLAIN, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner))


def nested(levels: int, inner: Any = "x") -> Any:
    """Return lists and objects in turn, so many of them within each other."""
    for level in range(levels):
        inner = [inner] if level % 2 else {"a": inner}
    return inner


@pytest.mark.parametrize(("levels", "deep"), [(DEEPEST, False), (DEEPEST + 1, True), (950, True)])
def test_the_bound_is_held(levels: int, deep: bool) -> None:
    """As many levels as the bound are let through, one more is not."""
    assert too_deep(json.dumps(nested(levels)).encode()) is deep


@given(st.lists(JSON, max_size=5))
def test_what_is_flat_is_never_too_deep(values: list[Any]) -> None:
    """However many brackets there are, beside each other or in texts."""
    texts = ["[" * 500, '"[{' * 200, "\\" * 3 + '"' + "{" * 500]
    assert not too_deep(json.dumps([*values, *texts, *([[]] * 500)]).encode())


@given(st.binary(), st.integers(0, 500))
def test_no_bytes_are_too_odd(body: bytes, brackets: int) -> None:
    """Anything is looked at to its end."""
    assert isinstance(too_deep(body + b"[" * brackets), bool)


def test_events_of_a_stream_do_not_add_up() -> None:
    """Each event closes what it opened."""
    event = b"data: " + json.dumps(nested(20)).encode() + b"\n\n"
    assert not too_deep(event * 50)
