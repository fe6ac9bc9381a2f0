"""Which numbers a text holds."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from matrixbench.checks.matchers import number_in, numbers_in


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        ("The answer is 42.", [42]),
        ("-1,234.5 apples and 1,000,000", [-1234.5, 1_000_000]),
        ("6.02e23, .5 and -.25", [6.02e23, 0.5, -0.25]),
        ("\u22127 degrees", [-7]),
        ("50% of $5 for 5km, 3.", [50, 5, 5, 3]),
        ("5-3=2, 2024-11-25", [5, 3, 2, 2024, 11, 25]),
        ("b9626, v1.2.3, a_1", []),
        ("1,2345 and 3,14", [1, 2345, 3, 14]),
        ("x=-3 (-4) ...5", [-3, -4, 5]),
        ("none", []),
        ("", []),
    ],
)
def test_numbers_are_read_as_english_writes_them(text: str, numbers: list[float]) -> None:
    """Signs, groups of three, fractions and exponents belong to a number; words have none."""
    assert numbers_in(text) == numbers


@pytest.mark.parametrize("text", ["1" * 5_000, "9" * 400 + ".5", "1e999999999"])
def test_a_number_may_be_longer_than_the_machine_takes(text: str) -> None:
    """It is then infinite, or exact, and never an error."""
    assert all(number > 1e308 for number in numbers_in(text))


@given(st.integers() | st.floats(allow_nan=False, allow_infinity=False))
def test_a_number_that_is_written_is_read_again(number: float) -> None:
    """Alone, between words, and with groups of three, it has the same value."""
    assert number_in(repr(number), "whole") == number
    assert number_in(f"It is {number!r} or so.", "only") == number
    if isinstance(number, int):
        assert number_in(f"{number:,}", "whole") == number


@given(st.text())
def test_whole_is_stricter_than_only_and_that_than_first_and_last(text: str) -> None:
    """What a stricter place finds, the others find too."""
    whole, only, first, last = (
        number_in(text, place) for place in ("whole", "only", "first", "last")
    )
    assert isinstance(whole, str) or whole == only
    assert isinstance(only, str) or only == first == last
