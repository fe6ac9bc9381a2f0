"""How large squares are, and how labels are cut."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from matrixbench.charts.squares import (
    MAX_SQUARES,
    Labels,
    Layout,
    broken,
    demand_room,
    lay_out,
    shorten,
)
from matrixbench.errors import UsageError


def labels(across: int, down: int, *, columns: int = 1, rows: int = 1, length: int = 8) -> Labels:
    """Return labels of some length."""

    def some(count: int) -> tuple[str, ...]:
        return tuple(str(number).rjust(length, "x") for number in range(count))

    return Labels(x=some(across), y=some(down), row=some(rows), column=some(columns))


def lines(layout: Layout) -> float:
    """Return the height that the smaller lines of text in a square take."""
    return layout.text * 1.15 + layout.small * 1.15 * (2 if layout.detail else 1)


def test_few_squares_are_large_and_tell_the_interval_in_figures() -> None:
    """2 × 3 squares have room for ratio, interval and n."""
    layout = lay_out(labels(3, 2), 4, 4)
    assert layout.detail
    assert layout.angle == 0
    assert lines(layout) <= layout.height


def test_forty_by_sixty_squares_still_carry_text() -> None:
    """2,400 squares have ratio and n, and the picture stays on a page of 2,000 points a side."""
    layout = lay_out(labels(40, 60), 4, 7)
    assert layout.text >= 9
    assert lines(layout) <= layout.height
    assert layout.facet_width <= 2000
    assert layout.facet_height <= 2000
    assert layout.angle != 0


def test_ten_thousand_squares_carry_no_text() -> None:
    """Text that nobody can read is left out."""
    layout = lay_out(labels(100, 100), 4, 4)
    assert layout.text == 0
    assert layout.label <= layout.height


def test_more_squares_are_refused_with_the_axes_that_make_them_many() -> None:
    """Whoever asks for too many sees which axes to narrow, and by how much."""
    points = [{"model": "m", "test": f"t{n % 7}", "temperature": n} for n in range(14)]
    demand_room(MAX_SQUARES, lambda: points)
    with pytest.raises(UsageError, match="10,001 squares are too many") as caught:
        demand_room(MAX_SQUARES + 1, lambda: points)
    assert "differ in test (7 values), temperature (14 values)." in caught.value.hint


def test_facets_are_wide_enough_for_their_headers() -> None:
    """One test in many columns of facets still leaves room for a column's name."""
    assert lay_out(labels(1, 5, columns=20, length=60), 4, 4).facet_width >= 100


def test_counts_fit_into_squares() -> None:
    """A long count makes squares wider."""
    assert lay_out(labels(40, 10), 4, len("n=1000/2000")).width >= 50


def test_values_fit_into_squares() -> None:
    """A long value makes squares wider, or its letters smaller: «1.23 min» is read at any size."""
    for across, down in ((3, 2), (14, 10), (40, 60)):
        layout = lay_out(labels(across, down), len("1.23 min"), 4)
        assert len("1.23 min") * layout.text * 0.6 <= layout.width
        assert lines(layout) <= layout.height


def test_names_are_shortened_in_the_middle() -> None:
    """Names that differ at the end only stay different."""
    name = "unsloth/Qwen3-Coder-30B-A3B-Instruct-1M-GGUF:UD-"
    assert shorten(name + "Q4_K_XL", 24) != shorten(name + "Q8_0", 24)
    assert shorten("short", 24) == "short"


@given(st.text(max_size=80), st.integers(2, 40))
def test_a_shortened_name_keeps_to_its_limit(text: str, limit: int) -> None:
    """Whatever the text, it is never longer than the limit."""
    assert len(shorten(text, limit)) <= max(limit, 0)


@given(st.text(max_size=120), st.integers(6, 40), st.integers(1, 4))
def test_broken_labels_keep_to_their_lines(text: str, letters: int, most: int) -> None:
    """Headers have at most so many lines of at most so many letters."""
    found = broken(text, letters, most)
    assert 1 <= len(found) <= most
    assert all(len(line) <= letters for line in found)


def test_labels_break_between_axes_first() -> None:
    """The values of one axis stay together where they fit."""
    text = "candidate · native · cache-type-k=q8_0"
    assert broken(text, 20, 3) == ["candidate · native", "cache-type-k=q8_0"]
