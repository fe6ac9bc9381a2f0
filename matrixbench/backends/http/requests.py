"""When a server is asked, and asked again, and which of its answers counts."""

from __future__ import annotations

import asyncio
import math
import random
import time
from dataclasses import dataclass, field, replace
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING

from matrixbench.backends.http.faults import alike
from matrixbench.backends.http.openai_reply import kept
from matrixbench.records import Attempt, ChatReply, Kind, Outcome, Refusal

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


_LOAD = frozenset({Kind.RATE_LIMITED, Kind.SERVER_ERROR})
_GONE = frozenset({Kind.NO_CONNECTION, Kind.SERVER_CRASHED})
_REPLY = "a reply"


@dataclass(frozen=True, slots=True, kw_only=True)
class Heard:
    """One answer.

    Args:
        body: What came over the wire, without secrets; None where nothing did.
        retry_after: The header's value.
    """

    result: ChatReply | Refusal
    body: bytes | None = None
    retry_after: str | None = None


@dataclass(slots=True)
class Answers:
    """The answers to a request so far.

    Args:
        policy: How often and when a server that is busy is asked again.
        after_crash: Whether one whose model crashed is asked once more: it may have been restarted.
    """

    policy: RetryPolicy
    after_crash: bool = True
    _before: list[Attempt] = field(default_factory=list)
    _asked: int = 0
    _waited_s: float = 0.0
    _faults: list[Refusal] = field(default_factory=list)
    _doubted: bool = False
    _cut: bool = False
    _gone: int = 0

    def lost(self, reason: str) -> None:
        """Note that a request went out on a connection that was no more."""
        self._before.append(Attempt(kind=Kind.NO_CONNECTION, reason=reason))

    def wait_s(self, heard: Heard) -> float | None:
        """Return how long to wait before the request is sent again; None: this answer is the last.

        An answer after which it is sent again is kept.
        """
        self._asked += 1
        wait_s = self._wait_s(heard)
        if wait_s is not None:
            self._waited_s += wait_s
            self._before.append(_attempt(heard))
        return wait_s

    def settled(self, heard: Heard) -> ChatReply | Refusal:
        """Return what counts, once no more is asked, with all that was said before."""
        before = tuple(self._before)
        result = self._settled(heard) if self._doubted else heard.result
        if isinstance(result, Refusal) and _is_cut(result):
            result = replace(result, unexplained=False)
        if not before:
            return result
        if isinstance(result, ChatReply):
            return replace(result, attempts=before)
        reason = f"{result.reason} (asked {len(before) + 1} times)"
        return replace(result, reason=reason, attempts=before)

    def _wait_s(self, heard: Heard) -> float | None:
        result = heard.result
        if isinstance(result, ChatReply) or result.stops_launch:
            return None
        if result.kind in _GONE:
            return self._after_loss(result)
        if _is_load(result):
            self._doubted = False
            return self._while_busy(heard.retry_after)
        if _is_cut(result) and not self._cut:
            self._cut = True
            return self._soon(heard.retry_after)
        if not self._doubted and _is_fault(result):
            self._doubted = True
            known = any(_same(result, fault) for fault in self._faults)
            self._faults.append(result)
            return None if known else self._soon(heard.retry_after)
        return None

    def _after_loss(self, result: Refusal) -> float | None:
        """Ask again where a fault is to be explained still, or where a model may be back."""
        self._gone += 1
        crashed = self.after_crash and result.kind is Kind.SERVER_CRASHED
        if self._gone > 1 or not (self._doubted or crashed):
            return None
        return self._soon(None)

    def _while_busy(self, retry_after: str | None) -> float | None:
        wait_s = self.policy.wait_s(self._asked, retry_after)
        return None if self._asked >= self.policy.tries or self._over(wait_s) else wait_s

    def _soon(self, retry_after: str | None) -> float:
        wait_s = self.policy.wait_s(self._asked, retry_after)
        return self.policy.wait_s(1, None) if self._over(wait_s) else wait_s

    def _over(self, wait_s: float) -> bool:
        return self._waited_s + wait_s > self.policy.total_wait_s

    def _settled(self, heard: Heard) -> ChatReply | Refusal:
        """Return what counts where a fault was to be explained by asking again."""
        result, fault = heard.result, self._faults[-1]
        if isinstance(result, Refusal):
            if result.stops_launch or result.kind in _GONE:
                return result
            if any(_same(result, one) for one in self._faults):
                reason = f"{result.reason}: the fault repeats with the same seed"
                return replace(result, reason=reason, unexplained=False)
        other = _REPLY if isinstance(result, ChatReply) else result.reason
        return replace(
            fault,
            reason=f"{fault.reason}; then with the same seed: {other}",
            unexplained=False,
            body=None if heard.body is None else kept(heard.body),
        )


def _is_load(result: Refusal) -> bool:
    return result.outcome is Outcome.ERRORED and result.kind in _LOAD and not result.alone


def _is_fault(result: Refusal) -> bool:
    """Return whether nobody knows what a fault means; a 400 is believed for its own trial."""
    return result.unexplained and result.kind is Kind.SERVER_ERROR


def _is_cut(result: Refusal) -> bool:
    """Return whether a reply broke off that nothing but the connection's end would have ended."""
    return result.unexplained and result.kind is Kind.UNPARSED_OUTPUT


def _same(one: Refusal, other: Refusal) -> bool:
    return one.kind is other.kind and one.unexplained and alike(one.reason, other.reason)


def _attempt(heard: Heard) -> Attempt:
    result = heard.result
    body = None if heard.body is None else kept(heard.body)
    if isinstance(result, ChatReply):
        return Attempt(kind=None, reason=_REPLY, latency_s=result.timing.latency_s, body=body)
    return Attempt(kind=result.kind, reason=result.reason, latency_s=result.latency_s, body=body)
