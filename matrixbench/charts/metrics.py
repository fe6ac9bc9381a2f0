"""What each metric is called, how its values are written, and what colours it has."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from math import ceil, floor, isnan, log, log10, nan
from typing import TYPE_CHECKING, Any

from matrixbench.results.tables import pass_k
from matrixbench.results.tally import IntervalKind, ends_of, one_draw
from matrixbench.spec.experiment import Metric

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from matrixbench.spec.experiment import Chart

SUCCESS = ("#700a14", "#dd5a2b", "#fbeb9e", "#79d3b0", "#008a73")
"""From 0 (dark red) over pale yellow to 1 (green), at equal steps.

Red and green differ in lightness and in blue, which no common colour blindness takes away: seen
with protanopia, deuteranopia or tritanopia any two of the five stay at least 25 apart in CIE Lab
(tests/charts/test_metrics.py simulates it)."""

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
    light = luminance(mixed(colours, position))
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
        share / 12.92 if share <= 0.04045 else ((share + 0.055) / 1.055) ** 2.4
        for share in (channel / 255 for channel in colour)
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


_LOG_FROM = 20.0
"""Largest over smallest value from which a colour scale is logarithmic: more than a decade."""

_LEAST_SPAN = 0.2
"""Of the middle: values that differ by less do not get all the colours there are."""

_MAX_TICKS = 7


@dataclass(frozen=True, slots=True, kw_only=True)
class Ramp:
    """The colours of a metric over the values from `low` to `high`.

    Args:
        logarithmic: Whether equal ratios, not differences, are equally far apart.
    """

    style: Style
    low: float
    high: float
    logarithmic: bool = False

    @property
    def domain(self) -> tuple[float, float]:
        """The values between which colours run; never a single point, which has no scale."""
        return (self.low, self.high) if self.high > self.low else (self.low, self.low + 1)

    def ticks(self) -> list[float]:
        """Return round values for the legend, about seven at most."""
        low, high = self.domain
        if self.logarithmic:
            decades = range(floor(log10(low)), ceil(log10(high)) + 1)
            found = [float(f"{step}e{decade}") for decade in decades for step in (1, 2, 5)]
            inside = [value for value in found if low <= value <= high]
            return inside if len(inside) <= _MAX_TICKS else inside[::3]
        step = 10.0 ** floor(log10(high - low))
        steps = [step / 4, step / 2, step, step * 2]
        if self.style.whole:
            steps = [max(1.0, float(ceil(size))) for size in steps]
        fine = next(s for s in steps if (high - low) / s <= _MAX_TICKS)
        return [round(n * fine, 12) for n in range(ceil(low / fine), floor(high / fine) + 1)]

    def ink(self, value: float) -> str:
        """Return the ink that reads on the colour of a value."""
        low, high = self.domain
        if self.logarithmic:
            return ink(self.style.colours, log(value / low) / log(high / low))
        return ink(self.style.colours, (value - low) / (high - low))


def ramp_of(values: Iterable[float], style: Style) -> Ramp:
    """Return the colours of a metric, over its own ends or over the values that occur.

    Times, rates and numbers run by equal ratios where they span more than a decade. Where they
    hardly differ, the colours hardly differ either.
    """
    known = [value for value in values if not isnan(value)]
    low, high = style.ends or _widened(min(known, default=0.0), max(known, default=1.0), style)
    logarithmic = style.ends is None and low > 0 and high >= low * _LOG_FROM
    return Ramp(style=style, low=low, high=high, logarithmic=logarithmic)


def _widened(low: float, high: float, style: Style) -> tuple[float, float]:
    if style.whole:
        return low, max(high, low + 1)
    middle = (low + high) / 2
    if high - low >= _LEAST_SPAN * middle:
        return low, high
    return middle * (1 - _LEAST_SPAN / 2), middle * (1 + _LEAST_SPAN / 2)


_SLOW_IS_DARK = GOOD_IS_BRIGHT[::-1]
_MINUTES_FROM_S = 600
_THOUSANDS_FROM = 10_000
_WHOLE_FROM = 100
"""Numbers from here on are written without a fraction: three digits say enough."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Unit:
    """How values are written.

    Args:
        text: In a square.
        label: In the legend: a Vega expression over `datum.value`.
    """

    text: Callable[[float], str]
    label: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Style:
    """How a metric looks.

    Args:
        colours: At equal steps, from the lowest value on.
        ends: The values of the first and of the last colour; None: the values that occur.
    """

    title: str
    colours: tuple[str, ...]
    unit: Unit
    ends: tuple[float, float] | None = None
    whole: bool = False


def percent(part: float, whole: float) -> str:
    """Return a share in whole percent: 100 % only if it is all, 0 % only if it is nothing."""
    rounded = round(100 * part / whole)
    if rounded == 100 and part < whole:
        return ">99%"
    return "<1%" if rounded == 0 < part else f"{rounded}%"


def number(value: float) -> str:
    """Return a number with three digits."""
    return f"{value:.0f}" if value >= _WHOLE_FROM else f"{value:.3g}"


def seconds(value: float) -> str:
    """Return a span of time with its unit: `850 ms`, `1.2 s`, `12 min`."""
    if value < 0.9995:
        return f"{number(value * 1000)} ms"
    return f"{number(value)} s" if value < _MINUTES_FROM_S else f"{number(value / 60)} min"


def _amount(value: float) -> str:
    return number(value) if value < _THOUSANDS_FROM else f"{number(value / 1000)}k"


_AMOUNT = "(datum.value < 10000 ? format(datum.value, '.3~r') : format(datum.value, '.3~s'))"
_SHARE = Unit(text=lambda value: percent(value, 1), label="format(datum.value, '.0%')")
_AT_LEAST = Unit(text=lambda value: f"≥{100 * value:.0f}%", label=_SHARE.label)
_TIME = Unit(
    text=seconds,
    label=(
        "datum.value < 1 ? format(datum.value * 1000, '.3~r') + ' ms' : datum.value < 600 ? "
        "format(datum.value, '.3~r') + ' s' : format(datum.value / 60, '.3~r') + ' min'"
    ),
)
_RATE = Unit(text=lambda value: f"{_amount(value)}/s", label=f"{_AMOUNT} + '/s'")
_NUMBER = Unit(text=_amount, label=_AMOUNT)


def _points(value: float) -> str:
    rounded = round(100 * value)
    return f"{rounded:+d}".replace("-", "−") if rounded else "0"


POINTS = Unit(
    text=_points,
    label="datum.value == 0 ? '0' : replace(format(datum.value * 100, '+.0f'), '-', '−')",
)
"""Of a hundred, with their sign."""

_RATIO_ENDS = (0.0, 1.0)


def _ratio(title: str, unit: Unit = _SHARE) -> Style:
    return Style(title=title, colours=SUCCESS, unit=unit, ends=_RATIO_ENDS)


def _share(title: str) -> Style:
    """Return how a share looks that is neither good nor bad by itself."""
    return Style(title=title, colours=AMOUNT, unit=_SHARE, ends=_RATIO_ENDS)


def _time(title: str) -> Style:
    return Style(title=title, colours=_SLOW_IS_DARK, unit=_TIME)


def _rate(title: str) -> Style:
    return Style(title=title, colours=GOOD_IS_BRIGHT, unit=_RATE)


_STYLES: Mapping[Metric, Style] = {
    Metric.SUCCESS_RATIO: _ratio("success ratio"),
    Metric.SUCCESS_RATIO_LOW: _ratio("lower bound of the success ratio", _AT_LEAST),
    Metric.SUCCESS_RATIO_WITHOUT_REJECTED: _ratio("success ratio without rejected"),
    Metric.DIFFERENCE: Style(title="difference (points of 100)", colours=CHANGE, unit=POINTS),
    Metric.SCORE: _ratio("mean score"),
    Metric.LATENCY_P50_S: _time("median latency"),
    Metric.LATENCY_P90_S: _time("90th percentile of latency"),
    Metric.TIME_TO_FIRST_TOKEN_P50_S: _time("median time to first token"),
    Metric.TIME_TO_FIRST_TOKEN_P90_S: _time("90th percentile of time to first token"),
    Metric.TOKEN_GAP_P50_S: _time("median time between tokens"),
    Metric.TOKEN_GAP_P90_S: _time("90th percentile of time between tokens"),
    Metric.TOKEN_GAP_MAX_P50_S: _time("median longest time between tokens"),
    Metric.TOKEN_GAP_MAX_P90_S: _time("90th percentile of longest time between tokens"),
    Metric.PROMPT_TOKENS_PER_S: _rate("median prompt tokens/s"),
    Metric.COMPLETION_TOKENS_PER_S: _rate("median completion tokens/s"),
    Metric.COMPLETION_TOKENS: Style(title="median completion tokens", colours=AMOUNT, unit=_NUMBER),
    Metric.COMPUTED_TOKENS: Style(
        title="median prompt tokens computed", colours=AMOUNT, unit=_NUMBER
    ),
    Metric.CACHED_SHARE: _share("prompt tokens from the cache"),
    Metric.DRAFT_ACCEPTED_SHARE: _share("drafted tokens that were taken"),
    Metric.DISTINCT: Style(title="distinct replies", colours=AMOUNT, unit=_NUMBER, whole=True),
}


WITH_INTERVAL = frozenset(
    {Metric.SUCCESS_RATIO, Metric.SUCCESS_RATIO_LOW, Metric.SUCCESS_RATIO_WITHOUT_REJECTED}
)
"""Metrics whose squares show an interval."""


def style_of(chart: Chart) -> Style:
    """Return how a chart's metric looks."""
    if chart.metric is Metric.PASS_AT_K:
        return _ratio(f"pass@{chart.k}: one of {chart.k} passes")
    if chart.metric is Metric.PASS_HAT_K:
        return _ratio(f"pass^{chart.k}: all of {chart.k} pass")
    return _STYLES[chart.metric]


def value_of(cell: Mapping[str, Any], chart: Chart) -> float:
    """Return the metric of a cell, not a number where it has none."""
    found: float | None
    match chart.metric:
        case Metric.PASS_AT_K | Metric.PASS_HAT_K:
            counts = int(cell["passed"]), int(cell["trials"]), int(cell["draws"])
            found = pass_k(*counts, chart.k)[chart.metric is Metric.PASS_HAT_K]
        case Metric.SUCCESS_RATIO_LOW:
            found = cell["low"] if cell["trials"] else None
        case Metric.DISTINCT:
            found = cell["distinct"] or None
        case _:
            found = cell[chart.metric.value]
    return nan if found is None else float(found)


def with_interval(cell: dict[str, Any], chart: Chart) -> dict[str, Any]:
    """Return a cell with the interval that a chart asks for, where it is one of fixed trials."""
    if chart.interval is None or isnan(cell["low"]):
        return cell
    kind = IntervalKind(chart.interval)
    if cell["interval"] in {kind, IntervalKind.SEQUENTIAL}:
        return cell
    passed = cell["success_ratio"] if one_draw(cell) else cell["passed"]
    low, high = ends_of(passed, int(cell["draws"]), kind)
    return {**cell, "low": low, "high": high, "interval": kind.value}


def interval_of(cell: Mapping[str, Any], chart: Chart) -> tuple[float, float] | None:
    """Return the ends of the interval that a square of this metric shows, if it shows one."""
    if chart.metric is Metric.SUCCESS_RATIO_WITHOUT_REJECTED:
        return _without_rejected(cell)
    if chart.metric not in WITH_INTERVAL:
        return None
    return None if isnan(cell["low"]) else (float(cell["low"]), float(cell["high"]))


def _without_rejected(cell: Mapping[str, Any]) -> tuple[float, float] | None:
    passed, n = int(cell["passed"]), int(cell["passed"] + cell["failed"])
    if isnan(cell["low"]) or not n:
        return None
    kind = IntervalKind(cell["interval"])
    return ends_of(passed / n, 1, kind) if one_draw(cell) else ends_of(passed, n, kind)
