"""A conversation: what is said after each reply, until its script or the model is done.

What follows from the replies so far is pure (`Conversation`); `converse` asks for them.
"""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, replace
from enum import Enum, auto
from typing import TYPE_CHECKING, Any, TypeAlias

from matrixbench.checks.matchers import Match, as_matcher, compile_matcher
from matrixbench.checks.verdicts import one_line
from matrixbench.records import ChatReply, Kind, Outcome, Refusal, Turn
from matrixbench.spec.tests import error_text

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from matrixbench.records import ChatRequest, JsonObject, ToolCall
    from matrixbench.spec.tests import Script

NOTHING_FITS = "nothing found for these arguments"
"""The error that a call gets when none of its tool's results is for its arguments."""

_QUOTED = 200
"""How many characters of arguments that are no JSON are told back to the model."""


class End(Enum):
    """Why nothing more is said."""

    DONE = auto()
    UNANSWERED_CALL = auto()
    TURN_LIMIT = auto()


Following: TypeAlias = "tuple[JsonObject, ...] | End"
"""The messages to be sent next, or why there are none."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Result:
    """A result with the matchers of its arguments compiled; each is an object of its own."""

    when: Mapping[str, Match]
    content: str
    times: int | None

    def fits(self, arguments: Mapping[str, Any]) -> bool:
        return all(
            name in arguments and match(arguments[name]) is None
            for name, match in self.when.items()
        )


class Conversation:
    """A test's script, compiled once and followed in every trial.

    Raises:
        CheckError: A matcher of a result's arguments is wrong.
    """

    def __init__(self, script: Script, *, where: str = "") -> None:
        self._script = script
        self._returns = {
            tool: tuple(
                _Result(
                    when={
                        name: _compiled(value, f"{where}: {tool}.returns[{index}].when.{name}")
                        for name, value in (result.when or {}).items()
                    },
                    content=result.content,
                    times=result.times,
                )
                for index, result in enumerate(results)
            )
            for tool, results in script.returns.items()
        }

    def after(self, replies: Sequence[ChatReply]) -> Following:
        """Return what follows the last of the replies so far; there is at least one.

        Calls are answered one by one in their order. Where none was made, the next turn is said.
        """
        following = self._following(replies)
        if not isinstance(following, End) and len(replies) >= self._script.max_turns:
            return End.TURN_LIMIT
        return following

    def _following(self, replies: Sequence[ChatReply]) -> Following:
        last = replies[-1]
        if last.tool_calls:
            if any(self._is_open(call) for call in last.tool_calls):
                return End.UNANSWERED_CALL
            return self._results(replies)
        said = sum(not reply.tool_calls for reply in replies) - 1
        turns = self._script.turns
        return (turns[said],) if said < len(turns) else End.DONE

    def _is_open(self, call: ToolCall) -> bool:
        return call.name in self._script.tools and call.name not in self._returns

    def _results(self, replies: Sequence[ChatReply]) -> tuple[JsonObject, ...]:
        """Return the results of the last reply's calls; those before it use up what is counted."""
        given: Counter[_Result] = Counter()
        results: list[JsonObject] = []
        for number, reply in enumerate(replies):
            results = [
                {
                    "role": "tool",
                    "tool_call_id": call_id,
                    "name": call.name,
                    "content": self._content(call, given),
                }
                for call, call_id in zip(reply.tool_calls, call_ids(reply, number), strict=True)
            ]
        return tuple(results)

    def _content(self, call: ToolCall, given: Counter[_Result]) -> str:
        if call.name not in self._returns:
            known = ", ".join(self._script.tools) or "none"
            return error_text(f"there is no tool {call.name}; the tools are: {known}")
        arguments = arguments_of(call)
        if arguments is None:
            found = call.arguments[:_QUOTED]
            return error_text(f"the arguments are not a JSON object: {found}")
        for result in self._returns[call.name]:
            if (result.times is None or given[result] < result.times) and result.fits(arguments):
                given[result] += 1
                return result.content
        return error_text(NOTHING_FITS)


def _compiled(value: object, where: str) -> Match:
    return compile_matcher(as_matcher(value, where=where), where=where)


def arguments_of(call: ToolCall) -> JsonObject | None:
    """Return a call's arguments; none at all are no text, and None is text that is no object."""
    if not call.arguments.strip():
        return {}
    try:
        value = json.loads(call.arguments, parse_constant=_no_json)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def _no_json(name: str) -> None:
    raise ValueError(name)


def call_ids(reply: ChatReply, number: int) -> list[str]:
    """Return an id for each call of the reply of a number, from 0.

    It is the server's own, unless that is missing or stands twice. Those made up are the same for
    the same replies, and of nine letters and digits, which some templates insist on.
    """
    ids: list[str] = []
    for index, call in enumerate(reply.tool_calls):
        made_up = f"call{number:03d}{index:02d}"
        ids.append(call.id if call.id and call.id not in ids else made_up)
    return ids


def history(earlier: Sequence[Turn]) -> list[JsonObject]:
    """Return the messages that stand for the turns so far.

    Reasoning goes back to the model while it calls tools for one question, and no longer: that is
    what models that reason between calls are trained on, and what hosted ones ask for.
    """
    questions = [i for i, turn in enumerate(earlier) if turn.then and not _answers_calls(turn)]
    last_question = questions[-1] if questions else -1
    messages: list[JsonObject] = []
    for number, turn in enumerate(earlier):
        messages.append(_assistant(turn.reply, number, reasoning=number > last_question))
        messages += turn.then
    return messages


def _answers_calls(turn: Turn) -> bool:
    return all(message.get("role") == "tool" for message in turn.then)


def _assistant(reply: ChatReply, number: int, *, reasoning: bool) -> JsonObject:
    """Return a reply as a message: normalised, for a server may refuse what it sent itself."""
    content = reply.content if reply.tool_calls else reply.content or ""
    message: JsonObject = {"role": "assistant", "content": content}
    if reasoning and reply.reasoning:
        message[_reasoning_key(reply)] = reply.reasoning
    if reply.tool_calls:
        message["tool_calls"] = [
            {
                "id": call_id,
                "type": "function",
                "function": {"name": call.name, "arguments": _readable(call)},
            }
            for call, call_id in zip(reply.tool_calls, call_ids(reply, number), strict=True)
        ]
    return message


def _reasoning_key(reply: ChatReply) -> str:
    """Return under which name a server takes reasoning: the one under which it gave it."""
    given = reply.message.keys() & {"reasoning", "reasoning_content"}
    return "reasoning" if given == {"reasoning"} else "reasoning_content"


def _readable(call: ToolCall) -> str:
    """Return a call's arguments as they go back: templates read them, and fail on what is no JSON.

    What was wrong with them stands in the call's result.
    """
    return call.arguments if arguments_of(call) else "{}"


async def converse(
    ask: Callable[[ChatRequest], Awaitable[ChatReply | Refusal]],
    request: ChatRequest,
    conversation: Conversation | None,
) -> ChatReply | Refusal:
    """Return the last reply of a conversation, or what came instead of one of its replies.

    Every request has the seed and the timeout of the first. A refusal at a later turn depends on
    the model's own words, so it is never `by_request`. Raises nothing but cancellation.
    """
    if conversation is None:
        return await ask(request)
    earlier: tuple[Turn, ...] = ()
    while True:
        answer = await ask(_next_request(request, earlier))
        if not isinstance(answer, ChatReply):
            return replace(answer, earlier=earlier, by_request=answer.by_request and not earlier)
        try:
            following = conversation.after([*(turn.reply for turn in earlier), answer])
        except Exception as error:  # noqa: BLE001  a matcher's own fault, such as a slow pattern
            return _raised(error, (*earlier, Turn(reply=answer, then=())))
        if isinstance(following, End):
            return replace(answer, earlier=earlier, turn_limit=following is End.TURN_LIMIT)
        earlier = (*earlier, Turn(reply=answer, then=following))


def _raised(error: Exception, earlier: tuple[Turn, ...]) -> Refusal:
    """Return that nothing was measured, for a reply could not be followed."""
    return Refusal(
        outcome=Outcome.ERRORED,
        kind=Kind.CHECK_RAISED,
        reason=one_line(f"choosing a tool's result raised {type(error).__name__}: {error}"),
        earlier=earlier,
    )


def _next_request(first: ChatRequest, earlier: tuple[Turn, ...]) -> ChatRequest:
    messages = [*first.body["messages"], *history(earlier)]
    return replace(first, body={**first.body, "messages": messages}, turn=len(earlier))
