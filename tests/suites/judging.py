"""What the checks of a shipped suite's tests say of a reply's text."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from matrixbench.checks.judge import compile_checks
from matrixbench.records import ChatReply, Timing
from matrixbench.spec.suites import list_suite

if TYPE_CHECKING:
    from collections.abc import Callable

    from matrixbench.records import Judgement


def judge_of(suite: str) -> Callable[[str, str], Judgement]:
    """Return a function that judges a text as the reply to one of a shipped suite's tests."""
    cases = list_suite(suite, base=Path.cwd(), environ={}).cases
    checks = {case.test.name: compile_checks(case.test.expect) for case in cases}

    def judge(test: str, text: str) -> Judgement:
        return checks[test].judge(
            ChatReply(
                message={},
                content=text,
                tool_calls=(),
                finish_reason="stop",
                timing=Timing(latency_s=1.0),
            )
        )

    return judge
