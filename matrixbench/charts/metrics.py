"""What each metric is called, how its values are written, and what colours it has."""

from __future__ import annotations

from dataclasses import dataclass
from math import isnan, nan
from typing import TYPE_CHECKING, Any

from matrixbench.charts.palette import AMOUNT, CHANGE, GOOD_IS_BRIGHT, SUCCESS
from matrixbench.frame import IntervalKind, ends_of, one_draw, pass_k
from matrixbench.spec.charts import Metric

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from matrixbench.spec.charts import Chart

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
        title: The legend's.
        colours: At equal steps, from the lowest value on.
        unit: How values are written.
        ends: The values of the first and of the last colour; None: the values that occur.
        whole: Whether values are whole numbers.
    """

    title: str
    colours: tuple[str, ...]
    unit: Unit
    ends: tuple[float, float] | None = None
    whole: bool = False


def percent(part: float, whole: float) -> str:
    """Return a share in whole percent: 100 % only if it is all, 0 % only if it is nothing."""
    rounded = round(100 * part / whole)
    if rounded == 100 and part < whole:  # noqa: PLR2004  per cent
        return ">99%"
    return "<1%" if rounded == 0 < part else f"{rounded}%"


def number(value: float) -> str:
    """Return a number with three digits."""
    return f"{value:.0f}" if value >= _WHOLE_FROM else f"{value:.3g}"


def seconds(value: float) -> str:
    """Return a span of time with its unit: `850 ms`, `1.2 s`, `12 min`."""
    if value < 0.9995:  # noqa: PLR2004  what does not round to a second
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
