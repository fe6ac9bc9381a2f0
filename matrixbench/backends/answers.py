"""All answers to one request: when it is asked again, and which of them counts. Pure.

A retry must not hide an answer. What says nothing of the request (a lost connection, a busy server)
is asked again, and the next answer counts. A fault that nobody can explain is asked again once, and
counts whatever comes then: whoever uses the server would have got it.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from matrixbench.backends.faults import alike
from matrixbench.backends.openai_reply import kept
from matrixbench.records import Attempt, ChatReply, Kind, Outcome, Refusal

if TYPE_CHECKING:
    from matrixbench.backends.retry import RetryPolicy

_LOAD = frozenset({Kind.RATE_LIMITED, Kind.SERVER_ERROR})
_GONE = frozenset({Kind.NO_CONNECTION, Kind.SERVER_CRASHED})
_REPLY = "a reply"


@dataclass(frozen=True, slots=True, kw_only=True)
class Heard:
    """One answer.

    Args:
        result: What it means.
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
