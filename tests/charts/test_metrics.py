"""Colours that everybody can tell apart, ink that reads on them, and metrics that are whole."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path

import numpy as np
import pytest

from matrixbench.charts.metrics import (
    AMOUNT,
    CHANGE,
    GOOD_IS_BRIGHT,
    SUCCESS,
    channels,
    ink,
    luminance,
    mixed,
    style_of,
)
from matrixbench.results.tables import COLUMNS
from matrixbench.spec.experiment import Chart, Metric

PAGE = (Path(__file__).parents[2] / "docs" / "charts.md").read_text("utf-8")
WITHOUT_COLUMN = {Metric.DIFFERENCE, Metric.PASS_AT_K, Metric.PASS_HAT_K, Metric.SUCCESS_RATIO_LOW}
"""Metrics whose value is computed for a chart, or stands in a column of another name."""

# Complete protanopia, deuteranopia and tritanopia on linear RGB: Machado, Oliveira and Fernandes,
# IEEE Transactions on Visualization and Computer Graphics 15(6), 2009.
SIGHT = {
    "normal": np.eye(3),
    "protanopia": np.array(
        [
            [0.152286, 1.052583, -0.204868],
            [0.114503, 0.786281, 0.099216],
            [-0.003882, -0.048116, 1.051998],
        ]
    ),
    "deuteranopia": np.array(
        [
            [0.367322, 0.860646, -0.227968],
            [0.280085, 0.672501, 0.047413],
            [-0.011820, 0.042940, 0.968881],
        ]
    ),
    "tritanopia": np.array(
        [
            [1.255528, -0.076749, -0.178779],
            [-0.078411, 0.930809, 0.147602],
            [0.004733, 0.691367, 0.303900],
        ]
    ),
}
TO_XYZ = np.array(
    [
        [0.4124564, 0.3575761, 0.1804375],
        [0.2126729, 0.7151522, 0.0721750],
        [0.0193339, 0.1191920, 0.9503041],
    ]
)
WHITE = np.array([0.95047, 1.0, 1.08883])


def lab(colour: str, sight: str) -> np.ndarray:
    """Return CIE Lab of what somebody with that sight sees."""
    share = np.array(channels(colour)) / 255
    linear = np.where(share <= 0.04045, share / 12.92, ((share + 0.055) / 1.055) ** 2.4)
    scaled = TO_XYZ @ np.clip(SIGHT[sight] @ linear, 0, 1) / WHITE
    root = np.where(scaled > 216 / 24389, np.cbrt(scaled), scaled * 841 / 108 + 4 / 29)
    return np.array([116 * root[1] - 16, 500 * (root[0] - root[1]), 200 * (root[1] - root[2])])


def distance(left: str, right: str, sight: str) -> float:
    """Return the distance of two colours in CIE Lab (CIE 1976)."""
    return float(np.linalg.norm(lab(left, sight) - lab(right, sight)))


@pytest.mark.parametrize("colours", [SUCCESS, CHANGE])
@pytest.mark.parametrize("sight", SIGHT)
def test_steps_of_a_quarter_stay_apart(sight: str, colours: tuple[str, ...]) -> None:
    """Any two of 0, 0.25, 0.5, 0.75 and 1 are at least 25 apart, a just visible step being 2.3."""
    assert min(distance(a, b, sight) for a, b in combinations(colours, 2)) >= 25


@pytest.mark.parametrize("sight", SIGHT)
def test_no_difference_is_the_lightest(sight: str) -> None:
    """Lightness falls to both sides of the middle, equally far within a tenth of its range."""
    lightness = [lab(colour, sight)[0] for colour in CHANGE]
    assert lightness[0] < lightness[1] < lightness[2] > lightness[3] > lightness[4]
    assert abs(lightness[0] - lightness[-1]) <= 10


@pytest.mark.parametrize("sight", SIGHT)
def test_bad_middling_and_good_are_far_apart(sight: str) -> None:
    """0, 0.5 and 1 are at least 35 apart."""
    assert min(distance(a, b, sight) for a, b in combinations(SUCCESS[::2], 2)) >= 35


def test_red_and_green_differ_in_lightness() -> None:
    """Also in grey the ends of the scale are told apart."""
    assert lab(SUCCESS[-1], "normal")[0] - lab(SUCCESS[0], "normal")[0] >= 25


def test_the_scale_of_other_metrics_only_grows_lighter() -> None:
    """Lightness alone orders the colours."""
    lightness = [lab(colour, "normal")[0] for colour in GOOD_IS_BRIGHT]
    assert lightness == sorted(lightness)
    amounts = [lab(colour, "normal")[0] for colour in AMOUNT]
    assert amounts == sorted(amounts, reverse=True)


@pytest.mark.parametrize("colours", [SUCCESS, GOOD_IS_BRIGHT, CHANGE, AMOUNT])
def test_ink_reads_on_every_colour(colours: tuple[str, ...]) -> None:
    """Contrast is at least 4 everywhere on a scale (WCAG asks 3 of large text, 4.5 of small)."""
    for step in range(101):
        back = luminance(mixed(colours, step / 100)) + 0.05
        front = luminance(channels(ink(colours, step / 100))) + 0.05
        assert max(back, front) / min(back, front) >= 4


@pytest.mark.parametrize("metric", Metric)
def test_a_metric_is_whole(metric: Metric) -> None:
    """Each has a style, a column that holds its value, and a place on the page."""
    assert style_of(Chart(metric=metric)).title
    assert metric.value in COLUMNS or metric in WITHOUT_COLUMN
    assert f"`{metric}`" in PAGE
