"""Numbers: found in a text, and held against bounds."""

from __future__ import annotations

import re
from collections.abc import Callable
from decimal import Context, Decimal
from typing import TYPE_CHECKING, Any, TypeAlias

from matrixbench.checks.excerpt import shown
from matrixbench.errors import CheckError
from matrixbench.spec.base import number_of

if TYPE_CHECKING:
    from matrixbench.spec.matchers import Bounds, NumberMatcher, NumberPlace

Within: TypeAlias = Callable[[float], bool]
"""Whether a number lies within some bounds."""

_NUMBER = re.compile(
    r"""
    (?: (?<!\w)[-+\u2212] )?                     # no sign but a hyphen in `5-3` and `b-2`
    (?: (?<![\w.])\.[0-9]+                      # .5
      | (?<!\w)(?<![0-9]\.)(?<!\w\.)             # not within a word or a version such as 1.2.3
        (?: [0-9]{1,3}(?:,[0-9]{3})+(?![0-9]) | [0-9]+ )
        (?: \.[0-9]+ )?
    )
    (?: [eE][-+]?[0-9]+ )?
    """,
    re.VERBOSE,
)
"""A number as English texts write it: `-1,234.5` and `6.02e23`, also before a unit."""


_DECIMALS = Context(prec=10_000)
"""Enough for every number that a file or a reply can hold: sums are exact."""


def is_number(value: object) -> bool:
    """Return whether a JSON value is a number; true and false are none."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def written(number: float) -> str:
    """Return a number for people. A whole number may be beyond what a float can say."""
    try:
        return f"{number:.15g}"
    except OverflowError:
        return f"{Decimal(number):.15g}"


def numbers_in(text: str) -> list[float]:
    """Return the numbers that stand in a text, in its order."""
    return [_read(found) for found in _NUMBER.findall(text)]


def number_in(value: Any, place: NumberPlace) -> float | str:  # noqa: ANN401  any JSON value
    """Return the number that a value is, or holds at a place of its text; else what was found."""
    if not isinstance(value, str):
        return value if is_number(value) else shown(value)
    if place == "whole":
        whole = _NUMBER.fullmatch(value.strip())
        return shown(value) if whole is None else _read(whole[0])
    numbers = numbers_in(value)
    if not numbers:
        return f"no number in {shown(value)}"
    if place == "only" and len(numbers) > 1:
        return f"{len(numbers)} numbers in {shown(value)}"
    return numbers[-1 if place == "last" else 0]


def compile_bounds(bounds: Bounds, *, where: str = "") -> tuple[Within, str]:
    """Return whether a number lies within bounds, and how those are said.

    Raises:
        CheckError: A bound is no number, there is none, or nothing could lie between them.
    """
    least, most = _known(bounds.min, f"{where}.min"), _known(bounds.max, f"{where}.max")
    if least is None and most is None:
        raise CheckError("no bound is given", where=where, hint="Give it min, max or both.")
    if least is not None and most is not None and least > most:
        raise CheckError(f"nothing lies between {written(least)} and {written(most)}", where=where)
    if least is None:
        return _at_most(most or 0.0)
    if most is None:
        return (lambda number: number >= least), f"at least {written(least)}"
    return (lambda number: least <= number <= most), f"{written(least)} to {written(most)}"


def _at_most(most: float) -> tuple[Within, str]:
    return (lambda number: number <= most), f"at most {written(most)}"


def compile_number(matcher: NumberMatcher, *, where: str = "") -> tuple[Within, str]:
    """Return whether a number is the one that is meant, and how that is said.

    Raises:
        CheckError: See `compile_bounds`; or there is a value beside bounds.
    """
    if matcher.value is None:
        return compile_bounds(matcher, where=where)
    if matcher.min is not None or matcher.max is not None:
        raise CheckError(
            "both a value and bounds", where=where, hint="Give it value and tolerance, or bounds."
        )
    value = _known(matcher.value, f"{where}.value") or 0.0
    tolerance = _known(matcher.tolerance, f"{where}.tolerance") or 0.0
    if tolerance < 0:
        raise CheckError("a tolerance is not negative", where=f"{where}.tolerance")
    low = _DECIMALS.subtract(_exact(value), _exact(tolerance))
    high = _DECIMALS.add(_exact(value), _exact(tolerance))
    about = f" ± {written(tolerance)}" if tolerance else ""

    def within(number: float) -> bool:
        # NaN is near nothing, and decimals refuse to be compared with it.
        return not is_nan(number) and low <= _exact(number) <= high

    return within, f"{written(value)}{about}"


def _read(text: str) -> float:
    plain = text.replace(",", "").replace("\u2212", "-")
    try:
        return int(plain)
    except ValueError:  # a fraction, an exponent, or more digits than `int` takes
        return float(plain)


def is_nan(number: float) -> bool:
    """Return whether a number is NaN; `math.isnan` raises where a float cannot follow."""
    return number != number  # noqa: PLR0124  NaN alone is not equal to itself


def _exact(number: float) -> Decimal:
    """Return a number as it is written, for 2.6 is 0.1 from 2.5 to everybody but the machine."""
    return Decimal(number) if isinstance(number, int) else Decimal(repr(number))


def _known(bound: float | str | None, where: str) -> float | None:
    if bound is None:
        return None
    number = number_of(bound)
    if number is None:
        raise CheckError(f"{bound!r} is no number", where=where)
    return number
