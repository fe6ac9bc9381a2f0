"""The colours of a metric, over fixed ends or over the values that occur."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, floor, isnan, log, log10
from typing import TYPE_CHECKING

from matrixbench.charts.palette import ink

if TYPE_CHECKING:
    from collections.abc import Iterable

    from matrixbench.charts.metrics import Style

_LOG_FROM = 20.0
"""Largest over smallest value from which a colour scale is logarithmic: more than a decade."""

_LEAST_SPAN = 0.2
"""Of the middle: values that differ by less do not get all the colours there are."""

_MAX_TICKS = 7


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
        whole: Whether the legend has whole numbers only.
    """

    title: str
    colours: tuple[str, ...]
    low: float
    high: float
    logarithmic: bool = False
    label: str = "'' + datum.value"
    whole: bool = False

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
        if self.whole:
            steps = [max(1.0, float(ceil(size))) for size in steps]
        fine = next(s for s in steps if (high - low) / s <= _MAX_TICKS)
        return [round(n * fine, 12) for n in range(ceil(low / fine), floor(high / fine) + 1)]

    def ink(self, value: float) -> str:
        """Return the ink that reads on the colour of a value."""
        low, high = self.domain
        if self.logarithmic:
            return ink(self.colours, log(value / low) / log(high / low))
        return ink(self.colours, (value - low) / (high - low))


def ramp_of(values: Iterable[float], style: Style) -> Ramp:
    """Return the colours of a metric, over its own ends or over the values that occur.

    Times, rates and numbers run by equal ratios where they span more than a decade. Where they
    hardly differ, the colours hardly differ either.
    """
    known = [value for value in values if not isnan(value)]
    low, high = style.ends or _widened(min(known, default=0.0), max(known, default=1.0), style)
    logarithmic = style.ends is None and low > 0 and high >= low * _LOG_FROM
    return Ramp(
        title=style.title,
        colours=style.colours,
        low=low,
        high=high,
        logarithmic=logarithmic,
        label=style.unit.label,
        whole=style.whole,
    )


def _widened(low: float, high: float, style: Style) -> tuple[float, float]:
    if style.whole:
        return low, max(high, low + 1)
    middle = (low + high) / 2
    if high - low >= _LEAST_SPAN * middle:
        return low, high
    return middle * (1 - _LEAST_SPAN / 2), middle * (1 + _LEAST_SPAN / 2)
