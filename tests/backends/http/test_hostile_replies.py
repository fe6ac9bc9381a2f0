"""Nothing that a server sends raises: each answer is a reply or a refusal that can be stored."""

from __future__ import annotations

import json
from contextlib import aclosing
from typing import TYPE_CHECKING

import pytest

from matrixbench.backends.endpoint import EndpointBackend, open_endpoint
from matrixbench.backends.http.openai_chat import OpenAiChat
from matrixbench.backends.http.requests import RetryPolicy
from matrixbench.backends.registry import LaunchRequest, ModelSource
from matrixbench.identity import DEEPEST
from matrixbench.records import ChatReply, ChatRequest, Kind, Outcome, Refusal
from matrixbench.spec.models import Template
from matrixbench.store.database import open_store
from tests.fake_servers import raw_server
from tests.store.conftest import maker

if TYPE_CHECKING:
    from pathlib import Path

    from matrixbench.store.database import Store

KEY = "a key that is long enough"
ASKED = ChatRequest(
    body={"messages": [{"role": "user", "content": "hi"}]},
    seed=1,
    trial=0,
    test="t",
    timeout_s=30.0,
)
HUGE = "9" * 400


def reply(**more: str) -> str:
    """Return a reply's JSON text with raw JSON in the place of some of its parts."""
    parts = {"message": "", "usage": '"prompt_tokens": 3', "top": "", "arguments": '"{}"'} | more
    return (
        '{"choices": [{"message": {"role": "assistant", "content": "Paris", "tool_calls": [{"id": '
        '"c", "function": {"name": "f", "arguments": '
        + parts["arguments"]
        + "}}]"
        + parts["message"]
        + '}, "finish_reason": "stop"}], "usage": {'
        + parts["usage"]
        + "}"
        + parts["top"]
        + "}"
    )


def deep(levels: int) -> str:
    """Return a list in a list, so many levels deep."""
    return "[" * levels + "]" * levels


def http(body: str, kind: str = "application/json") -> bytes:
    """Return a whole HTTP answer."""
    data = body.encode()
    head = f"HTTP/1.1 200 OK\r\ncontent-type: {kind}\r\ncontent-length: {len(data)}\r\n\r\n"
    return head.encode() + data


async def answer_to(body: str, kind: str = "application/json") -> ChatReply | Refusal:
    """Return what a server's answer becomes, asked with a key."""
    async with raw_server(http(body, kind)) as url:
        policy = RetryPolicy(tries=1)
        chat = OpenAiChat(base_url=f"{url}/v1", model="m", api_key=KEY, policy=policy)
        async with aclosing(chat):
            return await chat.ask(ASKED)


def keep(store: Store, *replies: ChatReply) -> None:
    """Store replies, one trial each, seeds from 1 on."""
    make = maker()
    with store.writer() as writer:
        launch = writer.start_launch(make.launch())
    trials = [make.trial(launch, seed=seed, reply=one) for seed, one in enumerate(replies, 1)]
    make.stored(store, trials)


@pytest.mark.parametrize("levels", [DEEPEST, 600, 800, 950, 5000, 200_000])
@pytest.mark.parametrize("place", ["message", "usage", "top", "arguments"])
@pytest.mark.parametrize("streamed", [False, True])
async def test_json_nested_too_deep_is_a_rejected_reply(
    levels: int, place: str, streamed: bool
) -> None:
    """Wherever it stands in the answer, and with a key that has to be masked in it."""
    raw = deep(levels) if place == "arguments" else f', "x": {deep(levels)}'
    body = reply(**{place: raw if place != "usage" else f'"x": {deep(levels)}'})
    if streamed:
        body = f"data: {body}\n\ndata: [DONE]\n\n"
    said = await answer_to(body, "text/event-stream" if streamed else "application/json")
    assert isinstance(said, Refusal)
    assert (said.outcome, said.kind) == (Outcome.REJECTED, Kind.UNPARSED_OUTPUT)
    assert f"nested more than {DEEPEST} levels deep" in said.reason
    assert said.body is not None


@pytest.mark.parametrize(
    "more",
    [
        {"arguments": json.dumps(deep(800))},
        {"arguments": json.dumps('{"a": ' + deep(950) + "}")},
        {"message": ', "x": 1e999, "y": -1e999, "z": NaN'},
        {"usage": '"prompt_tokens": 1e999, "completion_tokens": NaN'},
        {"usage": f'"prompt_tokens": {2**63}, "completion_tokens": {2**64}'},
        {"usage": f'"prompt_tokens": {HUGE}, "completion_tokens": -{HUGE}'},
        {"usage": f'"prompt_tokens": {HUGE}.5, "completion_tokens": "4"'},
        {"top": f', "timings": {{"predicted_per_second": 1e999, "prompt_n": {HUGE}}}'},
        {"top": ', "timings": {"cache_n": NaN, "prompt_ms": [1], "predicted_n": null}'},
        {"top": ', "model": NaN, "system_fingerprint": 1e999, "id": [NaN], "created": 1e999'},
        {"message": f', "n": {HUGE}'},
        {"arguments": '{"n": 1e999, "m": NaN}'},
        {"message": ', "half": "\\ud800", "zero": "\\u0000"'},
    ],
)
async def test_numbers_that_nobody_counts_are_missing(more: dict[str, str], tmp_path: Path) -> None:
    """The reply is one, it can be stored, and comes back as JSON can say it."""
    said = await answer_to(reply(**more))
    assert isinstance(said, ChatReply)
    assert said.content == "Paris"
    with open_store(tmp_path / "results.db", create=True) as store:
        keep(store, said)
        (row,) = store.trials("exp", first_seed=1)
        found = store.transcript(row.id)
    assert found.reply is not None
    assert found.reply.content == "Paris"
    json.dumps(found.reply.message, allow_nan=False)


@pytest.mark.parametrize(
    "page",
    [
        deep(900),
        '{"data": [{"id": "m", "meta": ' + deep(900) + "}]}",
        '{"data": [{"id": "m", "meta": {"n": 1e999}, "root": NaN}]}',
        '{"data": [{"id": NaN}, {"id": 1e999}, 7, null]}',
        '{"data": {"id": "m"}}',
        '{"build_info": "b1", "total_slots": 30000000, "data": [{"id": "m"}]}',
        '{"build_info": 1e999, "total_slots": true, "default_generation_settings": NaN}',
        f'{{"build_info": "b1", "total_slots": {HUGE}, "version": "{chr(0)}"}}',
    ],
)
async def test_no_page_is_too_odd_to_begin(page: str, tmp_path: Path) -> None:
    """A server may say anything of itself; what is sent at a time stays within bounds."""
    async with raw_server(http(page)) as url:
        order = LaunchRequest(
            name="e",
            backend=EndpointBackend(kind="endpoint", url=f"{url}/v1"),
            model=ModelSource(name="m", id="m"),
            template=Template(name="native"),
            folder=tmp_path,
        )
        async with open_endpoint(order, {}, RetryPolicy(tries=1)) as session:
            assert 1 <= session.info.concurrency <= 256
            json.dumps(session.info.effective, allow_nan=False)


def test_an_answer_that_no_row_can_hold_ends_no_run(tmp_path: Path) -> None:
    """Its trial is errored and says so; those beside it are stored as they are."""
    make = maker()
    with open_store(tmp_path / "results.db", create=True) as store:
        keep(store, make.reply(), make.reply(prompt_tokens=2**70), make.reply())
        rows = sorted(store.trials("exp", first_seed=1), key=lambda row: row.seed)
    assert [row.outcome for row in rows] == [Outcome.PASSED, Outcome.ERRORED, Outcome.PASSED]
    assert rows[1].kind is Kind.BAD_REPLY
    assert "OverflowError" in rows[1].reason
