"""How many requests a server is sent in a minute, over all that are under way."""

from __future__ import annotations

import asyncio
import math
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

SECONDS_PER_MINUTE = 60.0
ROUNDING_S = 1e-9


class Pace:
    """Lets requests go at a steady rate, in the order in which they ask.

    A token bucket that holds what one second brings, at least one request: after a pause no more
    than that goes at once. It is kept as the time at which the next request would be due (the
    generic cell rate algorithm, ITU-T I.371, annex A), which needs no timer of its own.

    Args:
        per_minute: Requests in a minute; more than 0.
        clock: Seconds that only grow.
        sleep: Waits so many seconds.
    """

    def __init__(
        self,
        per_minute: float,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        per_second = per_minute / SECONDS_PER_MINUTE
        self._interval_s = 1.0 / per_second
        self._ahead_s = (max(1, math.floor(per_second)) - 1) * self._interval_s
        self._clock = clock
        self._sleep = sleep
        self._due = -math.inf

    async def wait(self) -> None:
        """Return when the next request may go; the place in the queue is kept meanwhile."""
        now = self._clock()
        due = max(self._due, now - self._ahead_s)
        self._due = due + self._interval_s
        if due - now > ROUNDING_S:
            await self._sleep(due - now)
