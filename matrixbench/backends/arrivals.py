"""When the tokens of a streamed reply came, by the client's clock. Pure."""

from __future__ import annotations

from statistics import median


class Arrivals:
    """The moments at which something of a reply was there to be read.

    What is measured is what a reader has: tokens that came in one read from the network came at
    once and are one arrival, so a server or a proxy that holds tokens back shows as few and long
    gaps, not as many of 0. A reply that came in one read has no gap.
    """

    def __init__(self) -> None:
        self.pieces = 0
        self.first_s: float | None = None
        self.last_s: float | None = None
        self._gaps: list[float] = []

    def note(self, at_s: float) -> None:
        """Take in that an event with a token came, so long after the request was sent."""
        self.pieces += 1
        if self.last_s is None:
            self.first_s = at_s
        elif at_s > self.last_s:
            self._gaps.append(at_s - self.last_s)
        self.last_s = at_s

    @property
    def gap_p50_s(self) -> float | None:
        """The median gap between one arrival and the next; None where there is none."""
        return float(median(self._gaps)) if self._gaps else None

    @property
    def gap_max_s(self) -> float | None:
        """The longest gap; None where there is none."""
        return max(self._gaps, default=None)
