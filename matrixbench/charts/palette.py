"""Colours that colour-blind people can tell apart, and the ink that reads on them."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

SUCCESS = ("#700a14", "#dd5a2b", "#fbeb9e", "#79d3b0", "#008a73")
"""From 0 (dark red) over pale yellow to 1 (green), at equal steps.

Red and green differ in lightness and in blue, which no common colour blindness takes away: seen
with protanopia, deuteranopia or tritanopia any two of the five stay at least 25 apart in CIE Lab
(tests/charts/test_palette.py simulates it)."""

GOOD_IS_BRIGHT = (
    "#440154",
    "#472d7b",
    "#3b528b",
    "#2c728e",
    "#21918c",
    "#28ae80",
    "#5ec962",
    "#addc30",
    "#fde725",
)
"""Viridis (S. van der Walt and N. Smith, 2015; CC0) at equal steps: lightness grows evenly."""

CHANGE = ("#7a3000", "#e88c30", "#f7f4ee", "#6aa5dd", "#0b3f8c")
"""From worse (brown and orange) over nothing (near white) to better (blue), at equal steps.

Orange and blue differ in what no common colour blindness takes away, and no step of this ramp is
one of `SUCCESS`: a difference is not read as a ratio."""

AMOUNT = ("#f1f5fb", "#b9d1ea", "#6ea3d3", "#2f6fb0", "#0d3a70")
"""From little (light) to much (dark), where neither is good."""

DARK_INK = "#1a1a1a"
LIGHT_INK = "#ffffff"
LINE = "#c4c4c4"
"""The outline of a square that waits for its trials."""
HATCH = "#9a9a9a"
QUIET = "#5f5f5f"
"""Text that explains."""
NO_VALUE_FILL = "#ececec"
"""A measured square that has no value for the metric."""


def ink(colours: Sequence[str], position: float) -> str:
    """Return the ink with the higher contrast (WCAG 2.2) on a colour of a ramp.

    Args:
        colours: The ramp's colours at equal steps, mixed linearly in sRGB as Vega does.
        position: Between 0 and 1.
    """
    return ink_on(mixed(colours, position))


def ink_on(colour: tuple[float, float, float]) -> str:
    """Return the ink with the higher contrast on a colour, its channels between 0 and 255."""
    light = luminance(colour)
    dark_contrast = (light + 0.05) / (luminance(channels(DARK_INK)) + 0.05)
    return DARK_INK if dark_contrast >= 1.05 / (light + 0.05) else LIGHT_INK


def mixed(colours: Sequence[str], position: float) -> tuple[float, float, float]:
    """Return the colour at a position of a ramp, its channels between 0 and 255."""
    scaled = min(max(position, 0.0), 1.0) * (len(colours) - 1)
    step = min(int(scaled), len(colours) - 2)
    left, right = list(pairwise(colours))[step]
    share = scaled - step
    low, high = channels(left), channels(right)
    return (
        low[0] + (high[0] - low[0]) * share,
        low[1] + (high[1] - low[1]) * share,
        low[2] + (high[2] - low[2]) * share,
    )


def channels(colour: str) -> tuple[float, float, float]:
    """Return the channels of `#rrggbb`, between 0 and 255."""
    return int(colour[1:3], 16), int(colour[3:5], 16), int(colour[5:7], 16)


def luminance(colour: tuple[float, float, float]) -> float:
    """Return the relative luminance of an sRGB colour (WCAG 2.2), between 0 and 1."""
    red, green, blue = (
        share / 12.92 if share <= 0.04045 else ((share + 0.055) / 1.055) ** 2.4  # noqa: PLR2004  IEC 61966-2-1
        for share in (channel / 255 for channel in colour)
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue
