"""When to ask a server again."""

from __future__ import annotations

import asyncio
import math
import random
import time
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """How often and when to ask again after a 429 or a 5xx that may pass.

    The wait before try n + 1 is drawn from 0 … min(cap_s, base_s · 2ⁿ⁻¹): exponential backoff with
    full jitter (Brooker, «Exponential Backoff And Jitter», AWS Architecture Blog, 2015). A
    `Retry-After` is waited out instead, with the same jitter of at most base_s on top.

    Args:
        tries: How often one request is sent at most.
        base_s: The bound of the first wait.
        cap_s: The bound of every wait that the server does not ask for.
        total_wait_s: All waits of one request together; what would exceed it is not waited for.
        sleep: Waits so many seconds.
        draw: Gives a number in [0, 1).
        now: Gives Unix time in seconds, to which a `Retry-After` date is compared.
    """

    tries: int = 5
    base_s: float = 0.5
    cap_s: float = 20.0
    total_wait_s: float = 120.0
    sleep: Callable[[float], Awaitable[object]] = asyncio.sleep
    draw: Callable[[], float] = random.random
    now: Callable[[], float] = time.time

    def wait_s(self, tried: int, retry_after: str | None) -> float:
        """Return how long to wait after so many tries (from 1)."""
        asked_for = _seconds(retry_after, self.now) if retry_after else None
        if asked_for is not None:
            return asked_for + self.base_s * self.draw()
        return float(min(self.cap_s, self.base_s * 2 ** (tried - 1)) * self.draw())


def _seconds(retry_after: str, now: Callable[[], float]) -> float | None:
    """Return what `Retry-After` asks for (RFC 9110, 10.2.3): seconds or an HTTP date."""
    try:
        seconds = float(retry_after)
    except ValueError:
        try:
            seconds = parsedate_to_datetime(retry_after).timestamp() - now()
        except (ValueError, OverflowError):
            return None
    return None if math.isnan(seconds) else max(0.0, seconds)
