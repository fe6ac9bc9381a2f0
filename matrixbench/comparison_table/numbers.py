"""How numbers are written in what `compare` prints: with the sign for less, not a hyphen."""

from __future__ import annotations

from matrixbench.tables import ABSENT


def signed(value: float, digits: int = 3) -> str:
    """Return a number with its sign."""
    return f"{value:+.{digits}f}".replace("-", "−")


def number(value: float | None) -> str:
    """Return a number of two digits; a dash where there is none."""
    return ABSENT if value is None else f"{value:.2f}".replace("-", "−")
