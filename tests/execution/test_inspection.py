"""What is looked at before the trials of a launch: the canary, the prompts, the tools' place."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from matrixbench.backends.registry import SessionInfo
from matrixbench.backends.scripted import SCRIPTED_BUILD
from matrixbench.execution.canary import LONG, SHORT, canary
from matrixbench.execution.inspection import (
    changed_prompts,
    drops_tools,
    of_canary,
    of_changed_prompts,
    prompts,
    set_aside,
    split_off_tools,
    unless_stopped,
)
from matrixbench.plan.cells import PresentBuild
from matrixbench.plan.matrix import build_matrix
from matrixbench.records import ChatReply, Kind, Outcome, Refusal, Timing
from matrixbench.store.rows import LaunchNote

if TYPE_CHECKING:
    from collections.abc import Callable

    from matrixbench.plan.matrix import Matrix
    from matrixbench.records import ChatRequest, JsonObject
    from tests.conftest import Load

NO_PLACE = {"chat_template_caps": {"supports_tools": False}}
TOOLS = """
name: tools
backends: {s: {kind: scripted, replies: [a]}, t: {kind: scripted, replies: [b], concurrency: 2}}
sampling: {temperature: [0, 1]}
tests:
  - name: plain
    messages: [{role: user, content: hi}]
    expect: [{content: a}]
  - name: weather
    messages: [{role: user, content: Rain?}]
    tools: [{type: function, function: {name: look, parameters: {type: object}}}]
    expect: [{tool_calls: [{name: look}]}]
"""


class Voice:
    """A server that says what a function makes of a request, and shows prompts."""

    def __init__(self, says: Callable[[ChatRequest], str | None], date: str = "") -> None:
        self.info = SessionInfo(build=SCRIPTED_BUILD, concurrency=1)
        self.asked: list[tuple[int, int]] = []
        self._says = says
        self._date = date

    async def ask(self, request: ChatRequest) -> ChatReply | Refusal:
        """Return what is said, or a refusal where nothing is."""
        tokens = request.body["max_tokens"]
        self.asked.append((request.seed, tokens))
        said = self._says(request)
        if said is None:
            return Refusal(outcome=Outcome.ERRORED, kind=Kind.SERVER_ERROR, reason="no voice")
        message = {"role": "assistant", "content": said}
        return ChatReply(message=message, content=said, timing=Timing(latency_s=0.1))

    async def rendered(self, body: JsonObject) -> str | None:
        """Return the messages below today's date."""
        return f"{self._date}\n{body['messages']}"

    async def ensure_alive(self) -> bool:
        """Return False: it lives."""
        return False

    def forgive(self, deaths: int) -> None:
        """Do nothing: it lives."""


def sung(says: Callable[[ChatRequest], str | None]) -> tuple[JsonObject, Voice]:
    """Return what a canary finds, and the server that was asked."""
    voice = Voice(says)
    return asyncio.run(canary(voice, 5.0)), voice


def test_a_seed_that_decides_is_seen_with_three_short_requests() -> None:
    """Two seeds differ and one repeats: nothing is to be told."""
    found, voice = sung(lambda request: f"words {request.seed}")
    assert found == {"seeds_differ": True, "repeatable": True}
    assert [tokens for _, tokens in voice.asked] == [SHORT] * 3
    assert of_canary(found) is None


def test_seeds_without_effect_are_told() -> None:
    """One reply whatever the seed: the longer requests agree as well, and people are warned."""
    found, voice = sung(lambda _: "always the same")
    assert found == {"seeds_differ": False, "repeatable": True}
    assert len(voice.asked) == 5
    noticed = of_canary(found)
    assert noticed is not None
    assert "two seeds gave the same reply" in noticed.message


def test_seeds_that_only_begin_alike_are_no_warning() -> None:
    """What thinks aloud begins alike; its longer replies tell the seeds apart."""
    found, _ = sung(
        lambda request: f"Okay{request.seed if request.body['max_tokens'] == LONG else ''}"
    )
    assert found == {"seeds_differ": True, "repeatable": True}


def test_luck_beside_the_seed_is_seen() -> None:
    """A seed that gives another reply the second time is not repeatable."""
    replies = iter("abc")
    found, _ = sung(lambda _: next(replies))
    assert found == {"seeds_differ": True, "repeatable": False}
    assert of_canary(found) is None


def test_replies_without_text_tell_nothing() -> None:
    """Where all tokens go into what is not shown, neither is known, and nothing is told."""
    found, voice = sung(lambda _: "")
    assert found == {"seeds_differ": None, "repeatable": None}
    assert len(voice.asked) == 3
    assert of_canary(found) is None


@pytest.mark.parametrize("at", [0, 2, 3])
def test_a_refused_canary_is_noted_and_goes_no_further(at: int) -> None:
    """The reason is kept, and no further request is sent after the short ones."""
    replies = iter([*["same"] * at, *[None] * 5])
    found, voice = sung(lambda _: next(replies))
    assert found == {"refused": "no voice"}
    assert len(voice.asked) == max(at + 1, 5 if at >= 3 else 0)
    assert of_canary(found) is None


def test_a_stop_ends_the_looking(load: Load) -> None:
    """Who asks to stop does not wait for a canary; what is found before is returned."""

    async def stopped_at_once() -> None:
        stop = asyncio.Event()
        assert await unless_stopped(asyncio.sleep(0, "found"), stop) == "found"
        stop.set()
        assert await unless_stopped(asyncio.Event().wait(), stop) is None

    asyncio.run(stopped_at_once())
    assert load(TOOLS).file.canary


def noted(value: JsonObject, started_at: float = 86_400.0) -> LaunchNote:
    """Return an earlier run's note."""
    return LaunchNote(launch_digest="d", build="b", started_at=started_at, value=value)


def test_a_prompt_that_has_changed_is_told_with_the_date(load: Load) -> None:
    """The same test rendered otherwise than in the newest earlier run that asked the same."""
    tests = load(TOOLS).tests

    def on(date: str) -> JsonObject:
        return asyncio.run(prompts(Voice(lambda _: "", date), tests))

    monday, tuesday = on("monday"), on("tuesday")
    assert set(monday) == {"plain", "weather"}
    assert changed_prompts(monday, [noted(monday)]) == {}
    changed = changed_prompts(tuesday, [noted(tuesday, 0.0), noted(monday)])
    assert changed == {"plain": "1970-01-02", "weather": "1970-01-02"}
    assert of_changed_prompts(changed)[1].message == (
        "weather: the template renders another prompt than on 1970-01-02; "
        "does it write today's date?"
    )


def test_a_test_that_asks_something_else_is_no_changed_prompt(load: Load) -> None:
    """Neither another text in the file nor a test of the same name elsewhere is the template's."""
    voice = Voice(lambda _: "")
    before = asyncio.run(prompts(voice, load(TOOLS).tests))
    now = asyncio.run(prompts(voice, load(TOOLS.replace("Rain?", "Snow?")).tests))
    assert before != now
    assert changed_prompts(now, [noted(before)]) == {}


@pytest.mark.parametrize(
    "effective",
    [{}, {"chat_template_caps": None}, {"chat_template_caps": {"supports_tools": True}}],
)
def test_tools_are_asked_unless_the_server_says_that_they_are_dropped(
    load: Load, effective: JsonObject
) -> None:
    """A server that says nothing of it is believed to pass them on."""
    cells = matrix(load).launches[0].cells
    assert not drops_tools(effective)
    assert split_off_tools(cells, effective) == (cells, ())


def test_tests_with_tools_are_split_off(load: Load) -> None:
    """Those without are asked as ever."""
    asked, dropped = split_off_tools(matrix(load).launches[0].cells, NO_PLACE)
    assert [cell.test.name for cell in asked] == ["plain", "plain"]
    assert [cell.test.name for cell in dropped] == ["weather", "weather"]


def matrix(load: Load) -> Matrix:
    """Return two launches of two tests at two temperatures."""
    return build_matrix(load(TOOLS))


def test_what_a_run_found_not_applicable_is_set_aside_later(load: Load) -> None:
    """Only for that launch under that build, and with the reason."""
    whole = matrix(load)
    first, second = (group.launch for group in whole.launches)
    builds = {
        launch.name: PresentBuild(build=SCRIPTED_BUILD, verified=True) for launch in (first, second)
    }

    def note(build: str) -> LaunchNote:
        return LaunchNote(launch_digest=first.digest, build=build, started_at=0.0, value={})

    assert set_aside(whole, builds, [note("another build")]) is whole
    narrowed = set_aside(whole, builds, [note(SCRIPTED_BUILD.id)])
    same = first.digest == second.digest
    assert narrowed.cells == (4 if same else 6)
    assert len(narrowed.not_applicable) == (4 if same else 2)
    for point in narrowed.not_applicable:
        assert point.coordinates["test"] == "weather"
        assert "has no place for tools" in point.reason
        assert point.hint
