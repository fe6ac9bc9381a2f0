"""The language of paths into JSON values."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from matrixbench.spec.value_paths import Nowhere, ValuePathError, look_up, parse_path, write_path

NAMES = st.text() | st.sampled_from(["a", "b.c", "0", "-1", "$", "[0]", "it's", " "])
QUOTABLE = NAMES.filter(lambda name: not {"'", '"'} <= set(name))
STEPS = st.lists(QUOTABLE | st.integers(-99, 99)).map(tuple)
VALUES = st.recursive(
    st.none() | st.integers(),
    lambda inner: st.lists(inner) | st.dictionaries(NAMES, inner),
    max_leaves=8,
)


@pytest.mark.parametrize(
    ("text", "steps"),
    [
        ("a", ("a",)),
        ("a.b[0].c", ("a", "b", 0, "c")),
        ("$", ()),
        ("$.a", ("a",)),
        ("$[0]", (0,)),
        ("[-1]", (-1,)),
        ("['a.b']", ("a.b",)),
        ('x["it\'s"][0]', ("x", "it's", 0)),
        ("user-id.größe", ("user-id", "größe")),
        ("0.1", ("0", "1")),
        ("['']", ("",)),
    ],
)
def test_a_path_is_names_and_places(text: str, steps: tuple[str | int, ...]) -> None:
    """Each step is a name in an object or a place in a list."""
    assert parse_path(text) == steps


@pytest.mark.parametrize(
    "text",
    [
        "",
        ".a",
        "a.",
        "a..b",
        "a b",
        "a[",
        "a[x]",
        "a[0",
        "a[]",
        "$a",
        "a['x",
        "a[*]",
        "a$",
        "a[0]b",
    ],
)
def test_what_is_no_path_is_a_problem(text: str) -> None:
    """Nothing is guessed."""
    with pytest.raises(ValuePathError):
        parse_path(text)


@given(STEPS)
def test_a_written_path_is_read_again(steps: tuple[str | int, ...]) -> None:
    """Messages show paths as they can be written."""
    assert parse_path(write_path(steps)) == steps


@given(st.text())
def test_a_text_is_a_path_or_a_problem(text: str) -> None:
    """No text makes the reader fail in another way."""
    try:
        steps = parse_path(text)
    except ValuePathError:
        return
    assert parse_path(write_path(steps)) == steps


def _ways(value: object) -> list[tuple[tuple[str | int, ...], object]]:
    found: list[tuple[tuple[str | int, ...], object]] = [((), value)]
    items: list[tuple[str | int, object]] = []
    if isinstance(value, dict):
        items = list(value.items())
    if isinstance(value, list):
        items = list(enumerate(value))
    for step, item in items:
        found += [((step, *way), inner) for way, inner in _ways(item)]
    return found


@given(VALUES, NAMES)
def test_every_value_is_found_at_its_path(value: object, name: str) -> None:
    """Every way through a value leads where it should, and a step beyond its end nowhere."""
    for way, inner in _ways(value):
        assert look_up(value, way) is inner
        if not isinstance(inner, dict | list):
            missing = look_up(value, (*way, name))
            assert isinstance(missing, Nowhere)
            assert (missing.at, missing.step, missing.found) == (way, name, inner)


def test_places_count_from_the_end_too() -> None:
    """-1 is the last item; beyond either end nothing stands."""
    assert look_up([1, 2], (-1,)) == 2
    assert isinstance(look_up([1, 2], (-3,)), Nowhere)
    assert isinstance(look_up([1, 2], (2,)), Nowhere)
    assert isinstance(look_up({"0": 1}, (0,)), Nowhere)
