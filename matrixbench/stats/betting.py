"""Is a mean above or below a limit, asked after every round? Bets, so that one may stop any time.

I. Waudby-Smith and A. Ramdas, Estimating means of bounded random variables by betting, Journal of
the Royal Statistical Society B 86(1) (2024). Whoever bets at fair odds against a mean that is the
true one seldom becomes rich: the chance that the capital ever reaches 1 / α is at most α (J. Ville,
1939). So a mean against which the capital has reached 1 / α is ruled out, and stays ruled out
however often one looks.
"""

from __future__ import annotations

from bisect import bisect_left
from math import exp, log, log1p
from typing import TYPE_CHECKING

from matrixbench.stats.proportions import CONFIDENCE, Interval, border

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

APART = ((0.08, 0.1), (0.2, 0.25), (0.5, 0.4), (1.0, 0.25))
"""Stakes, as shares of the capital, each with the part of the capital that starts with it, where
each test is a bet of its own. A mixture of fixed stakes ends within a constant factor of the best
of them, whatever comes (T. Cover, Mathematical Finance 1(1) (1991)). tests/benchmarks/peeking.py
has what they see."""

TOGETHER = ((0.2, 0.1), (0.5, 0.2), (1.0, 0.7))
"""The same where all tests of a round are one bet: their mean varies little, so high stakes pay."""

MOST_ROUNDS = 100_000
"""Rounds beyond which nobody waits."""

_HALVINGS = 44
_LEAST = 1e-300
"""In place of a lost capital, whose logarithm does not exist."""


class Bets:
    """Bets on the mean over tests of what rounds of observations are.

    A round has one observation of each test, within [−1, 1]. Against a mean m the capital that
    has the stake c is multiplied by (1 − c) + c · (1 + x) / (1 + m) for each x if the true mean is
    thought to be larger, by (1 − c) + c · (1 − x) / (1 − m) if it is thought to be smaller. Stakes
    are the same for all tests of a round. If the tests of a round are independent of each other,
    given the rounds before, the expected product over them is at most the mean factor to the
    power of the number of tests, since a geometric mean is at most an arithmetic one: it is at
    most 1 where the mean over tests is m or beyond, whatever the single tests' means are. Where
    tests of a round are not independent, the round's mean over them is one bet.

    The capital falls as m moves towards what was observed, so that the means that are not ruled
    out are an interval.

    Args:
        rounds: Of each round, in their order, the tests' observations.
        together: Whether the tests of a round depend on each other.

    Raises:
        ValueError: A round has another number of observations than the others, or one that is not
            within [−1, 1].
    """

    def __init__(
        self, rounds: Sequence[Sequence[float]] | NDArray[np.float64], *, together: bool = False
    ) -> None:
        import numpy as np

        if len({len(found) for found in rounds}) > 1:
            raise ValueError("rounds differ in their number of tests")
        tests = len(rounds[0]) if len(rounds) else 0
        values = np.asarray(rounds, dtype=np.float64).reshape(len(rounds), tests)
        if values.size and np.abs(values).max() > 1 + 1e-9:
            raise ValueError("an observation is not within [−1, 1]")
        if together and values.size:
            values = values.mean(axis=1, keepdims=True)
        self._stakes = TOGETHER if together else APART
        self._seen, self._counts = _counted(values)
        self.estimates: NDArray[np.float64] = (
            np.cumsum(values.mean(axis=1)) / np.arange(1, len(values) + 1)
            if values.size
            else np.zeros(0)
        )
        """The mean so far, after each round."""

    def log_capital(self, mean: float, *, above: bool) -> NDArray[np.float64]:
        """Return the logarithm of the capital after each round; it began with 1.

        Args:
            mean: Against what is bet.
            above: Whether the bet is that the true mean is larger; else that it is smaller.
        """
        return self._after(self._counts, mean, above=above)

    def _after(
        self, counts: NDArray[np.float64], mean: float, *, above: bool
    ) -> NDArray[np.float64]:
        """Return the logarithm of the capital after each row of counts of what was seen."""
        import numpy as np

        sign = 1 if above else -1
        price = 1 + sign * mean
        if price <= 0:  # nothing lies beyond: nobody would bet
            return np.zeros(len(counts))
        pays = (1 + sign * self._seen) / price
        capital: NDArray[np.float64] = np.logaddexp.reduce(
            [
                log(part) + counts @ np.log(np.maximum(1 - stake + stake * pays, _LEAST))
                for stake, part in self._stakes
            ],
            axis=0,
        )
        return capital

    def rounds_to_rule_out(
        self, mean: float, *, above: bool, confidence: float = CONFIDENCE
    ) -> int | None:
        """Return after how many rounds a mean would be ruled out if shares stay as they are.

        None where they never would, in `MOST_ROUNDS`, or where there is no round yet.
        """
        if not len(self._counts):
            return None
        each = self._counts[-1:] / len(self._counts)
        enough = log(2 / (1 - confidence))

        def rich(rounds: int) -> bool:
            return float(self._after(each * rounds, mean, above=above)[0]) >= enough

        if not rich(MOST_ROUNDS):
            return None
        # A mixture of powers is convex in its logarithm and begins at 0: it passes a level once.
        return bisect_left(range(MOST_ROUNDS), True, lo=1, key=rich)

    def ruled_out(self, mean: float, *, above: bool, confidence: float = CONFIDENCE) -> int | None:
        """Return after which round (1, 2, …) it is first shown that the mean is above, or below.

        Each direction errs with half of 1 − confidence at most, at however many looks. None where
        it never was.
        """
        rich = self.log_capital(mean, above=above) >= log(2 / (1 - confidence))
        return int(rich.argmax()) + 1 if rich.any() else None

    def interval(self, *, confidence: float = CONFIDENCE) -> Interval:
        """Return the means that no round so far has ruled out.

        With a chance of `confidence` the truth is in the intervals after all rounds at once. Where
        rounds contradict each other, which is less likely than 1 − confidence, the low end is not
        below the high one.
        """

        def below(mean: float) -> bool:
            return self.ruled_out(mean, above=True, confidence=confidence) is not None

        def beyond(mean: float) -> bool:
            return self.ruled_out(mean, above=False, confidence=confidence) is not None

        least, most = -1 + 1e-9, 1 - 1e-9
        return Interval(
            low=border(least, 1.0, below, _HALVINGS) if below(least) else -1.0,
            high=border(most, -1.0, beyond, _HALVINGS) if beyond(most) else 1.0,
        )


def fewest_rounds(
    tests: int, max_drop: float, *, confidence: float = CONFIDENCE, most: int = 100_000
) -> int | None:
    """Return after how many rounds without any difference a drop of `max_drop` is ruled out.

    Tests are bets of their own. None where `most` rounds do not suffice.
    """
    if not 0 < max_drop < 1:
        return 1 if max_drop >= 1 else None
    enough = log(2 / (1 - confidence))

    def capital(rounds: int) -> float:
        bets = rounds * tests
        logs = [log(part) + bets * log1p(c * max_drop / (1 - max_drop)) for c, part in APART]
        highest = max(logs)
        return highest + log(sum(exp(value - highest) for value in logs))

    if capital(most) < enough:
        return None
    return bisect_left(range(1, most), enough, key=capital) + 1


def _counted(values: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the different observations, and how often each had come after each round."""
    import numpy as np

    seen, places = np.unique(values, return_inverse=True)
    counts = np.zeros((len(values), len(seen)))
    if values.size:
        rows = np.repeat(np.arange(len(values)), values.shape[1])
        np.add.at(counts, (rows, places.reshape(-1)), 1.0)
    return seen, np.cumsum(counts, axis=0)
