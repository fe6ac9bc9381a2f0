"""The last guard around shipped checks: no reply makes one raise."""

from __future__ import annotations

from typing import TYPE_CHECKING

from matrixbench.checks.patterns import REGEX_TIMEOUT_S
from matrixbench.checks.verdicts import FaultError, UnjudgeableError

if TYPE_CHECKING:
    from matrixbench.checks.verdicts import Rule
    from matrixbench.records import ChatReply, Kind, Verdict


def guarded(rule: Rule, kind: Kind) -> Rule:
    """Return a shipped rule that raises nothing at a reply but a `FaultError` of a kind.

    Each fault that is known has its own verdict before it comes to this. Memory that is short is
    the machine's fault, and says nothing of the model.
    """

    def guard(reply: ChatReply) -> Verdict:
        try:
            return rule(reply)
        except (UnjudgeableError, FaultError, MemoryError):
            raise
        except TimeoutError as error:
            reason = f"given up: a regular expression took longer than {REGEX_TIMEOUT_S:g} s on it"
            raise FaultError(kind, reason) from error
        except Exception as error:
            reason = f"the reply cannot be looked at: {type(error).__name__}: {error}"
            raise FaultError(kind, reason) from error

    return guard
