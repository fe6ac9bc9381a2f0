"""What follows a reply: results of calls, the next turn, or the end."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from matrixbench.errors import CheckError
from matrixbench.execution.conversation import (
    NOTHING_FITS,
    Conversation,
    End,
    arguments_of,
    call_ids,
    converse,
    history,
)
from matrixbench.records import (
    ChatReply,
    ChatRequest,
    JsonObject,
    Kind,
    Outcome,
    Refusal,
    Timing,
    ToolCall,
    Turn,
)
from matrixbench.spec.tests import Return, Script, Tool, script_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

WEATHER = Tool.model_validate(
    {
        "type": "function",
        "function": {"name": "get_weather"},
        "returns": [
            {"when": {"city": {"contains": "Paris"}}, "content": {"celsius": 21}},
            {"when": {"city": "Atlantis"}, "error": "unknown city"},
            {"when": {"city": "Rome", "unit": {"type": "string"}}, "content": "warm"},
        ],
    }
)
OPEN = Tool.model_validate({"type": "function", "function": {"name": "book"}})


def script(*tools: Tool, turns: Sequence[str] = (), max_turns: int | None = None) -> Conversation:
    """Return a conversation."""
    made = script_of(tools, turns, max_turns)
    assert made is not None
    return Conversation(made, where="t")


def said(content: str = "ok", reasoning: str | None = None) -> ChatReply:
    """Return a reply without a call."""
    timing = Timing(latency_s=1)
    return ChatReply(message={}, content=content, reasoning=reasoning, timing=timing)


def called(
    *calls: tuple[str, str] | ToolCall, content: str | None = None, reasoning: str | None = None
) -> ChatReply:
    """Return a reply that calls tools, each given as its name and its arguments' text."""
    made = [
        call
        if isinstance(call, ToolCall)
        else ToolCall(name=call[0], arguments=call[1], id=f"c{i}")
        for i, call in enumerate(calls)
    ]
    return ChatReply(
        message={},
        content=content,
        reasoning=reasoning,
        tool_calls=tuple(made),
        timing=Timing(latency_s=1),
    )


def results(conversation: Conversation, *replies: ChatReply) -> list[JsonObject]:
    """Return what is sent after the last reply, which is not the end."""
    following = conversation.after(replies)
    assert not isinstance(following, End)
    return list(following)


def contents(conversation: Conversation, *replies: ChatReply) -> list[Any]:
    """Return the contents of what is sent after the last reply."""
    return [message["content"] for message in results(conversation, *replies)]


@pytest.mark.parametrize(
    ("arguments", "content"),
    [
        ('{"city": "Paris, France"}', '{"celsius": 21}'),
        ('{"city": "Paris", "unit": "c"}', '{"celsius": 21}'),
        ('{"city": "Atlantis"}', '{"error": "unknown city"}'),
        ('{"city": "Rome", "unit": "c"}', "warm"),
        ('{"city": "Rome"}', f'{{"error": "{NOTHING_FITS}"}}'),
        ('{"city": "Oslo"}', f'{{"error": "{NOTHING_FITS}"}}'),
        ("", f'{{"error": "{NOTHING_FITS}"}}'),
        ('{"city": ', '{"error": "the arguments are not a JSON object: {\\"city\\": "}'),
        ("[1]", '{"error": "the arguments are not a JSON object: [1]"}'),
        ('{"x": NaN}', '{"error": "the arguments are not a JSON object: {\\"x\\": NaN}"}'),
    ],
)
def test_a_call_gets_the_first_result_for_its_arguments(arguments: str, content: str) -> None:
    """Every matcher must hold; what fits nothing, or is no JSON, is an error the model can read."""
    assert contents(script(WEATHER), called(("get_weather", arguments))) == [content]


def test_a_result_without_when_is_the_default() -> None:
    """It fits whatever was not taken before it."""
    returns = [Return(when={"a": 1}, content="one"), Return(content=None)]
    tool = WEATHER.model_copy(update={"returns": returns})
    conversation = script(tool)
    assert contents(conversation, called(("get_weather", '{"a": 1}'))) == ["one"]
    assert contents(conversation, called(("get_weather", '{"a": 2}'))) == ["null"]


def test_a_result_is_given_as_often_as_it_says() -> None:
    """So a tool may fail once and then answer; parallel calls count one by one."""
    returns = [
        Return(when={"a": 1}, error="try again", times=1),
        Return(when={"a": 1}, content="one"),
        Return(content="other", times=2),
    ]
    conversation = script(WEATHER.model_copy(update={"returns": returns}))
    one, other = ("get_weather", '{"a": 1}'), ("get_weather", '{"a": 2}')
    assert contents(conversation, called(one, other, one)) == [
        '{"error": "try again"}',
        "other",
        "one",
    ]
    later = contents(conversation, called(one), said(), called(other), called(one, other, other))
    assert later == ["one", "other", f'{{"error": "{NOTHING_FITS}"}}']


def test_parallel_calls_are_answered_in_their_order() -> None:
    """Each result has the id and the name of its call."""
    reply = called(("get_weather", '{"city": "Atlantis"}'), ("get_weather", '{"city": "Paris"}'))
    assert results(script(WEATHER), reply) == [
        {
            "role": "tool",
            "tool_call_id": "c0",
            "name": "get_weather",
            "content": '{"error": "unknown city"}',
        },
        {
            "role": "tool",
            "tool_call_id": "c1",
            "name": "get_weather",
            "content": '{"celsius": 21}',
        },
    ]


def test_a_tool_that_nobody_offered_is_told_so() -> None:
    """The model gets to know which tools there are."""
    reply = called(("get_wether", "{}"))
    error = "there is no tool get_wether; the tools are: get_weather, book"
    assert contents(script(WEATHER, OPEN), reply) == [json.dumps({"error": error})]


def test_a_call_without_a_result_ends_the_conversation() -> None:
    """Also where others of the same reply could be answered, and turns are left to be said."""
    conversation = script(WEATHER, OPEN, turns=["And tomorrow?"])
    assert conversation.after([called(("get_weather", "{}"), ("book", "{}"))]) is (
        End.UNANSWERED_CALL
    )


def test_turns_are_said_once_the_model_answered() -> None:
    """A reply that calls a tool delays the next turn; the last answer ends it all."""
    conversation = script(WEATHER, turns=["And tomorrow?", "Thanks"])
    call = called(("get_weather", '{"city": "Paris"}'))
    replies = [call]
    assert results(conversation, *replies)[0]["role"] == "tool"
    replies.append(said())
    assert results(conversation, *replies) == [{"role": "user", "content": "And tomorrow?"}]
    replies.append(call)
    assert results(conversation, *replies)[0]["role"] == "tool"
    replies.append(said())
    assert results(conversation, *replies) == [{"role": "user", "content": "Thanks"}]
    replies.append(said(""))
    assert conversation.after(replies) is End.DONE


def test_a_conversation_stops_at_its_limit() -> None:
    """Only what would have gone on was cut off."""
    call = called(("get_weather", '{"city": "Paris"}'))
    conversation = script(WEATHER, OPEN, turns=["And tomorrow?"], max_turns=2)
    assert conversation.after([call, call]) is End.TURN_LIMIT
    assert conversation.after([call, said()]) is End.TURN_LIMIT
    assert conversation.after([said(), said()]) is End.DONE
    assert conversation.after([call, called(("book", "{}"))]) is End.UNANSWERED_CALL


texts = st.text(max_size=8)
calls = st.builds(
    ToolCall,
    name=st.sampled_from(["get_weather", "nothing", ""]),
    arguments=texts | st.just('{"city": "Paris"}'),
    id=st.none() | st.sampled_from(["", "a", "b"]),
)
replies_ = st.builds(
    lambda made, content, reasoning: called(*made, content=content, reasoning=reasoning),
    st.lists(calls, max_size=4),
    st.none() | texts,
    st.none() | texts,
)


@given(st.lists(replies_, min_size=1, max_size=9), st.lists(texts, max_size=3), st.integers(1, 9))
def test_any_model_is_followed_to_an_end(
    replies: list[ChatReply], turns: list[str], most: int
) -> None:
    """Whatever is called, each call gets one result, each turn is said once, and it ends."""
    conversation = script(WEATHER, turns=turns, max_turns=most)
    earlier: list[Turn] = []
    end = None
    for count, reply in enumerate(replies, 1):
        following = conversation.after([*(turn.reply for turn in earlier), reply])
        assert following == conversation.after([*(turn.reply for turn in earlier), reply])
        if isinstance(following, End):
            end = following
            assert (end is End.DONE) or count >= most
            break
        assert len(following) == (len(reply.tool_calls) or 1)
        earlier.append(Turn(reply=reply, then=following))
    assert end is not None or len(replies) < most
    questions = [turn.then[0] for turn in earlier if not turn.reply.tool_calls]
    assert [message["content"] for message in questions] == turns[: len(questions)]


@given(st.lists(replies_, min_size=1, max_size=6))
def test_what_goes_back_is_a_conversation(replies: list[ChatReply]) -> None:
    """Ids of calls and results agree and are unique in a reply; arguments are JSON objects."""
    conversation = script(WEATHER, turns=["more"] * 6, max_turns=99)
    earlier = [
        Turn(reply=reply, then=tuple(results(conversation, *replies[: i + 1])))
        for i, reply in enumerate(replies)
    ]
    messages = history(earlier)
    asked: list[str] = []
    for message in messages:
        match message["role"]:
            case "assistant":
                assert not asked
                sent = message.get("tool_calls", [])
                assert message["content"] is not None or sent
                asked = [call["id"] for call in sent]
                assert len(set(asked)) == len(asked)
                for call in sent:
                    assert isinstance(json.loads(call["function"]["arguments"]), dict)
            case "tool":
                assert message["tool_call_id"] == asked.pop(0)
            case _:
                assert not asked
    assert not asked
    assert history(earlier) == messages


def test_ids_that_are_missing_are_made_up() -> None:
    """They are the same each time, and Mistral's templates take them: nine letters and digits."""
    no_id = ToolCall(name="f", arguments="{}")
    reply = called(no_id, replace(no_id, id="x"), replace(no_id, id="x"), no_id)
    assert call_ids(reply, 2) == ["call00200", "x", "call00202", "call00203"]


def test_arguments_that_are_no_json_go_back_as_none() -> None:
    """A template that reads them would fail; what was wrong stands in the result."""
    reply = called(("get_weather", '{"city": '), ("get_weather", '{"city": "Paris"}'))
    (message,) = history([Turn(reply=reply, then=())])
    sent = [call["function"]["arguments"] for call in message["tool_calls"]]
    assert sent == ["{}", '{"city": "Paris"}']
    assert arguments_of(reply.tool_calls[0]) is None


def test_reasoning_goes_back_within_one_question() -> None:
    """While tools are called it is kept; once something new is said it is dropped."""
    call = called(("get_weather", "{}"), reasoning="hm")
    result = ({"role": "tool", "content": "x"},)
    question = ({"role": "user", "content": "And tomorrow?"},)
    first = [Turn(reply=call, then=result)]
    assert history(first)[0]["reasoning_content"] == "hm"
    earlier = [*first, Turn(reply=said(reasoning="so"), then=question), Turn(reply=call, then=())]
    assert [message.get("reasoning_content") for message in history(earlier)] == [
        None,
        None,
        None,
        None,
        "hm",
    ]


@pytest.mark.parametrize(
    ("message", "key"),
    [
        ({"reasoning": "hm"}, "reasoning"),
        ({"reasoning_content": "hm", "reasoning": "hm"}, "reasoning_content"),
        ({"thinking": "hm"}, "reasoning_content"),
    ],
)
def test_reasoning_goes_back_under_the_name_that_the_server_uses(
    message: JsonObject, key: str
) -> None:
    """Ollama's is translated on its way."""
    call = replace(called(("get_weather", "{}"), reasoning="hm"), message=message)
    (sent,) = history([Turn(reply=call, then=())])
    assert sent[key] == "hm"
    assert len(sent) == 4


def test_a_wrong_matcher_is_told_with_its_place() -> None:
    """The loader tells it first; from Python it is an error as well."""
    tool = WEATHER.model_copy(update={"returns": [Return(when={"a": {"matches": "("}}, content=1)]})
    with pytest.raises(CheckError, match="regular expression") as caught:
        script(tool)
    assert "t: get_weather.returns[0].when.a" in str(caught.value)


def test_a_script_needs_something_that_follows() -> None:
    """Tools without results and without turns make one request."""
    assert script_of([OPEN], [], None) is None
    made = script_of([OPEN], ["a", {"content": "b"}, {"role": "system", "content": "c"}], None)
    assert made == Script(
        tools=("book",),
        turns=(
            {"role": "user", "content": "a"},
            {"role": "user", "content": "b"},
            {"role": "system", "content": "c"},
        ),
        max_turns=11,
    )


REQUEST = ChatRequest(
    body={"messages": [{"role": "user", "content": "hi"}], "temperature": 1},
    seed=7,
    trial=0,
    test="t",
    timeout_s=5,
)


async def follow(
    conversation: Conversation | None, answers: Callable[[ChatRequest], ChatReply | Refusal]
) -> tuple[ChatReply | Refusal, list[ChatRequest]]:
    """Run a conversation against a function; return what came of it, and what was asked."""
    asked: list[ChatRequest] = []

    async def ask(request: ChatRequest) -> ChatReply | Refusal:
        asked.append(request)
        return answers(request)

    return await converse(ask, REQUEST, conversation), asked


async def test_each_request_holds_what_was_said_before() -> None:
    """All have the same seed and fields; the last reply knows the turns before it."""
    conversation = script(WEATHER, turns=["And tomorrow?"])
    answers = [called(("get_weather", '{"city": "Paris"}')), said("21"), said("22")]
    answer, asked = await follow(conversation, lambda request: answers[request.turn])
    assert isinstance(answer, ChatReply)
    assert answer.content == "22"
    assert [turn.reply.content for turn in answer.earlier] == [None, "21"]
    assert not answer.turn_limit
    assert [request.turn for request in asked] == [0, 1, 2]
    assert {(request.seed, request.body["temperature"]) for request in asked} == {(7, 1)}
    assert [message["role"] for message in asked[2].body["messages"]] == [
        "user",
        "assistant",
        "tool",
        "assistant",
        "user",
    ]
    assert REQUEST.body["messages"] == [{"role": "user", "content": "hi"}]


async def test_the_limit_is_told_with_the_reply() -> None:
    """A model that never stops calling is stopped."""
    call = called(("get_weather", "{}"))
    answer, asked = await follow(script(WEATHER, max_turns=3), lambda _: call)
    assert isinstance(answer, ChatReply)
    assert (answer.turn_limit, len(answer.earlier), len(asked)) == (True, 2, 3)


async def test_without_a_script_a_trial_is_one_request() -> None:
    """Calls then end nothing, for nothing would follow."""
    call = called(("get_weather", "{}"))
    answer, asked = await follow(None, lambda _: call)
    assert answer is call
    assert asked == [REQUEST]


@pytest.mark.parametrize("at", [0, 1])
async def test_a_refusal_keeps_what_came_before(at: int) -> None:
    """At a later turn it hangs on the model's own words, so the request alone decides nothing."""
    refusal = Refusal(
        outcome=Outcome.REJECTED, kind=Kind.CONTEXT_OVERFLOW, reason="long", by_request=True
    )
    call = called(("get_weather", "{}"))
    answer, _ = await follow(script(WEATHER), lambda asked: refusal if asked.turn == at else call)
    assert isinstance(answer, Refusal)
    assert len(answer.earlier) == at
    assert answer.by_request is (at == 0)


async def test_a_pattern_that_never_ends_measures_nothing() -> None:
    """It is the file's fault: the trial is errored, what was said is kept, and the run goes on."""
    slow = Return(when={"city": {"matches": "(a|aa)+$"}}, content="x")
    conversation = script(WEATHER.model_copy(update={"returns": [slow]}))
    call = called(("get_weather", json.dumps({"city": "a" * 60 + "!"})))
    answer, asked = await follow(conversation, lambda _: call)
    assert isinstance(answer, Refusal)
    assert (answer.outcome, answer.kind) == (Outcome.ERRORED, Kind.CHECK_RAISED)
    assert "TimeoutError" in answer.reason
    assert [turn.reply for turn in answer.earlier] == [call]
    assert len(asked) == 1
