"""The shipped suite `tool-calling`: what it sends, and what it says of a table of replies."""

from __future__ import annotations

import json
from hashlib import sha256
from importlib.resources import files

import pytest
import yaml

from matrixbench.checks.judge import Checks, compile_checks
from matrixbench.records import ChatReply, Kind, Outcome, Timing, ToolCall
from matrixbench.spec.tests import Suite, Test

SUITE = Suite.model_validate(
    yaml.safe_load((files("matrixbench.suites") / "tool-calling.yaml").read_text("utf-8"))
)
TESTS: dict[str, Test] = {test.name: test for test in SUITE.tests}
CHECKS: dict[str, Checks] = {name: compile_checks(test.expect) for name, test in TESTS.items()}


def reply(*calls: tuple[str, str], content: str | None = None, cut: bool = False) -> ChatReply:
    """Return a reply with some calls, each a name and the text of its arguments."""
    return ChatReply(
        message={},
        content=content,
        tool_calls=tuple(ToolCall(name=name, arguments=text) for name, text in calls),
        finish_reason="length" if cut else "stop",
        timing=Timing(latency_s=1.0),
    )


def python(code: object) -> tuple[str, str]:
    """Return a call of the interpreter."""
    return ("python", json.dumps({"code": code}))


def weather(location: object) -> tuple[str, str]:
    """Return a call of the weather service."""
    return ("get_current_weather", json.dumps({"location": location}))


GREETING = python("print('Hello, World!')")


@pytest.mark.parametrize(
    "said",
    [
        reply(GREETING),
        reply(python('print("hello world")')),
        reply(python("print('Hello world!')\nprint(1)")),
        reply(python("# say hello\nprint('hello, world')")),
        reply(python("# one\n# two\nprint('hello world')  # three")),
        reply(GREETING, content="Let me run that."),
        reply(GREETING, cut=True),
        reply(("python", ' {"code": "print(\'hello world\')", "timeout": 60} ')),
        reply(("python", '{"code": "print(\'hello world\')", "timeout": NaN}')),
        reply(("python", '{"code": 1, "code": "print(\'hello world\')"}')),
    ],
)
def test_hello_world_passes(said: ChatReply) -> None:
    """One call whose code begins with the print, comments apart; what follows is free."""
    judgement = CHECKS["hello-world"].judge(said)
    assert (judgement.outcome, judgement.reason) == (Outcome.PASSED, "")


@pytest.mark.parametrize(
    ("said", "kind"),
    [
        (reply(content="print('Hello, World!')"), Kind.NO_TOOL_CALL),
        (reply(), Kind.NO_TOOL_CALL),
        (reply(content="I will", cut=True), Kind.TRUNCATED),
        (reply(GREETING, GREETING), Kind.WRONG_CALL_COUNT),
        (reply(("Python", GREETING[1])), Kind.WRONG_TOOL),
        (reply(("ipython", GREETING[1])), Kind.WRONG_TOOL),
        (reply(("python", "print('Hello, World!')")), Kind.BAD_ARGUMENTS),
        (reply(("python", '{"code": "print(')), Kind.BAD_ARGUMENTS),
        (
            reply(
                (
                    "python",
                    '{"code": "print(',
                ),
                cut=True,
            ),
            Kind.TRUNCATED,
        ),
        (reply(("python", '["code"]')), Kind.BAD_ARGUMENTS),
        (reply(("python", '"code"')), Kind.BAD_ARGUMENTS),
        (reply(("python", "")), Kind.BAD_ARGUMENTS),
        (reply(("python", "{}")), Kind.BAD_ARGUMENTS),
        (reply(python(None)), Kind.BAD_ARGUMENTS),
        (reply(python(["print('Hello, World!')"])), Kind.BAD_ARGUMENTS),
        (reply(python("\nprint('Hello, World!')")), Kind.BAD_ARGUMENTS),
        (reply(python("import sys\nprint('Hello, World!')")), Kind.BAD_ARGUMENTS),
        (reply(python("# say hello\n\nprint('Hello, World!')")), Kind.BAD_ARGUMENTS),
        (reply(python("print('Hello, World!\")")), Kind.BAD_ARGUMENTS),
        (reply(python("print('HELLO WORLD')")), Kind.BAD_ARGUMENTS),
        (reply(python("print( 'hello world')")), Kind.BAD_ARGUMENTS),
        (reply(python("print('hello,  world')")), Kind.BAD_ARGUMENTS),
        (reply(python("print('hello # world')")), Kind.BAD_ARGUMENTS),
    ],
)
def test_hello_world_fails(said: ChatReply, kind: Kind) -> None:
    """No call, another number, name, shape or text of it."""
    judgement = CHECKS["hello-world"].judge(said)
    assert (judgement.outcome, judgement.kind) == (Outcome.FAILED, kind)


@pytest.mark.parametrize(
    "location",
    [
        "Istanbul",
        "Istanbul, Turkey",
        "Istanbul,Turkey",
        "Istanbul Turkey",
        "Istanbul, TR",
        "Istanbul TR",
        "Istanbul, Türkiye",
        "Istanbul\n",
    ],
)
def test_weather_passes(location: str) -> None:
    """The city, with or without its country."""
    assert CHECKS["weather"].judge(reply(weather(location))).outcome is Outcome.PASSED


@pytest.mark.parametrize(
    ("said", "kind"),
    [
        (reply(content="It is sunny in Istanbul."), Kind.NO_TOOL_CALL),
        (reply(weather("Istanbul"), weather("Istanbul")), Kind.WRONG_CALL_COUNT),
        (reply(("get_weather", weather("Istanbul")[1])), Kind.WRONG_TOOL),
        (reply(("get_current_weather", "Istanbul")), Kind.BAD_ARGUMENTS),
        (reply(("get_current_weather", '{"city": "Istanbul"}')), Kind.BAD_ARGUMENTS),
        (reply(weather("İstanbul")), Kind.BAD_ARGUMENTS),
        (reply(weather("istanbul")), Kind.BAD_ARGUMENTS),
        (reply(weather("Istanbul ,Turkey")), Kind.BAD_ARGUMENTS),
        (reply(weather("Istanbul,  Turkey")), Kind.BAD_ARGUMENTS),
        (reply(weather("Istanbul, turkey")), Kind.BAD_ARGUMENTS),
        (reply(weather("Istanbul, Turkey.")), Kind.BAD_ARGUMENTS),
        (reply(weather("Istanbul, Türkiye"[:-1])), Kind.BAD_ARGUMENTS),
        (reply(weather("Istanbul, Tu\u0308rkiye")), Kind.BAD_ARGUMENTS),
        (reply(weather("Istanbul\n\n")), Kind.BAD_ARGUMENTS),
        (reply(weather(" Istanbul")), Kind.BAD_ARGUMENTS),
        (reply(weather(["Istanbul"])), Kind.BAD_ARGUMENTS),
    ],
)
def test_weather_fails(said: ChatReply, kind: Kind) -> None:
    """Another tool, another argument, another city or another spelling."""
    judgement = CHECKS["weather"].judge(said)
    assert (judgement.outcome, judgement.kind) == (Outcome.FAILED, kind)


@pytest.mark.parametrize(
    "content",
    [
        "0.5",
        "0.56",
        "0.556",
        "0.55644242476",
        "The y coordinate is 0.56.",
        "That's approximately 0.5!",
        "It is -0.5",
        "y\n=\n0.56",
        "0.55 or 0.56",
        "0.5.6",
    ],
)
def test_calc_result_passes(content: str) -> None:
    """The number, rounded or not, anywhere in the text."""
    assert CHECKS["calc-result"].judge(reply(content=content)).outcome is Outcome.PASSED


@pytest.mark.parametrize(
    ("said", "kind"),
    [
        (reply(("calculate", '{"expression": "1"}'), content="0.56"), Kind.UNWANTED_TOOL_CALL),
        (reply(("calculate", "{")), Kind.UNWANTED_TOOL_CALL),
        (reply(), Kind.NO_CONTENT),
        (reply(content=""), Kind.NO_CONTENT),
        (reply(content=".5"), Kind.WRONG_CONTENT),
        (reply(content="0.55"), Kind.WRONG_CONTENT),
        (reply(content="0,56"), Kind.WRONG_CONTENT),
        (reply(content="10.5"), Kind.WRONG_CONTENT),
        (reply(content="0.5_"), Kind.WRONG_CONTENT),
        (reply(content="0.565"), Kind.WRONG_CONTENT),
        (reply(content="The y coordinate is"), Kind.WRONG_CONTENT),
        (reply(content="The y coordinate is", cut=True), Kind.TRUNCATED),
    ],
)
def test_calc_result_fails(said: ChatReply, kind: Kind) -> None:
    """Another call, silence or another number."""
    judgement = CHECKS["calc-result"].judge(said)
    assert (judgement.outcome, judgement.kind) == (Outcome.FAILED, kind)


@pytest.mark.parametrize(
    ("name", "sent"),
    [
        ("hello-world", "01241ab5f05ffe5c9735b3e62c9cf579"),
        ("weather", "5fe851dd2c62babc4bc61073c26692de"),
        ("calc-result", "cd0d31fb5b2b14c1033f74d0a5b51546"),
    ],
)
def test_the_requests_are_pinned(name: str, sent: str) -> None:
    """Messages and tools are the benchmark's data, to the byte and in their order."""
    test = TESTS[name]
    text = json.dumps([test.messages, [tool.sent for tool in test.tools]])
    assert sha256(text.encode()).hexdigest()[:32] == sent
    assert test.request == {}
    assert test.parameters == {}


def test_the_suite_holds_three_tests_under_its_own_name() -> None:
    """An experiment refers to it by the name of its file."""
    assert SUITE.name == "tool-calling"
    assert list(TESTS) == ["hello-world", "weather", "calc-result"]
