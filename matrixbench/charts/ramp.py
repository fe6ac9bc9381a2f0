"""The colours of a metric, over 0 to 1 or over the values that occur."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, floor, log, log10
from typing import TYPE_CHECKING

from matrixbench.charts.palette import GOOD_IS_BRIGHT, SUCCESS, ink
from matrixbench.spec.charts import Metric

if TYPE_CHECKING:
    from pandas import DataFrame

_LOG_FROM = 30.0
"""Largest over smallest value from which a colour scale is logarithmic."""

_MAX_TICKS = 7
_PERCENT = "format(datum.value, '.0%')"
_STYLES = {
    Metric.LATENCY_P50_S: ("median latency (s)", GOOD_IS_BRIGHT[::-1]),
    Metric.COMPLETION_TOKENS_PER_S: ("completion tokens/s", GOOD_IS_BRIGHT),
}
"""Metric without natural ends → title of the legend, colours from the lowest value on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ramp:
    """The colours of a metric.

    Args:
        title: Of the legend, with the unit.
        colours: At equal steps from `low` to `high`.
        low: The value of the first colour.
        high: The value of the last colour.
        logarithmic: Whether equal ratios, not differences, are equally far apart.
        label: How the legend writes values (a Vega expression).
    """

    title: str
    colours: tuple[str, ...]
    low: float
    high: float
    logarithmic: bool = False
    label: str = "'' + datum.value"

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
        fine = next(
            s for s in (step / 4, step / 2, step, step * 2) if (high - low) / s <= _MAX_TICKS
        )
        return [round(n * fine, 12) for n in range(ceil(low / fine), floor(high / fine) + 1)]

    def ink(self, value: float) -> str:
        """Return the ink that reads on the colour of a value."""
        low, high = self.domain
        if self.logarithmic:
            return ink(self.colours, log(value / low) / log(high / low))
        return ink(self.colours, (value - low) / (high - low))


def ramp_of(frame: DataFrame, metric: Metric) -> Ramp:
    """Return the colours of a metric, over 0 to 1 or over the values that occur."""
    if metric is Metric.SUCCESS_RATIO:
        return Ramp(title="success ratio", colours=SUCCESS, low=0, high=1, label=_PERCENT)
    values = frame[metric.value].dropna()
    low, high = (float(values.min()), float(values.max())) if len(values) else (0.0, 1.0)
    logarithmic = low > 0 and high >= low * _LOG_FROM
    title, colours = _STYLES[metric]
    return Ramp(title=title, colours=colours, low=low, high=high, logarithmic=logarithmic)
