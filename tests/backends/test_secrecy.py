"""Keys and passwords do not get into anything that a server's answer becomes."""

from __future__ import annotations

import json

import pytest

from matrixbench.backends.secrecy import Secrets
from matrixbench.records import ChatReply, Kind, Outcome, Refusal, ServerView, Timing, ToolCall

KEY = "sk-very/secret+0123456789"


def test_what_a_url_and_a_key_hold_is_secret() -> None:
    """Password and token, long values and those of telling names, in each way of writing them."""
    secrets = Secrets.of("http://me:pass%20word1@h/v1?api_key=abcdefgh&v=2024-10-21", KEY)
    for text in (KEY, "pass word1", "pass%20word1", "abcdefgh", "bWU6cGFzcyB3b3JkMQ=="):
        assert secrets.taken_out(f"<{text}>") == "<***>"
    assert secrets.taken_out("sk-very%2Fsecret%2B0123456789") == "***"
    assert secrets.taken_out("me, 2024-10-21") == "me, 2024-10-21"
    assert Secrets.of("http://token-as-user@h/v1").taken_out("token-as-user") == "***"
    assert KEY not in repr(secrets)


def test_short_texts_are_no_secrets() -> None:
    """Local servers are asked with keys such as `none`: what models say is left as it is."""
    assert Secrets.of("http://u:p@h/v1?key=a", "none").texts == ()


@pytest.mark.parametrize("body", [KEY, json.dumps(KEY), KEY.replace("/", "\\/")])
def test_a_body_is_masked_as_bytes(body: str) -> None:
    """Before anything is read from it, also where JSON escapes a slash."""
    masked = Secrets.of("http://h", KEY).masked(f"error: {body}".encode())
    assert b"secret" not in masked
    assert b"***" in masked


def test_a_reply_holds_no_secret_anywhere() -> None:
    """Message, content, reasoning, names, arguments and ids; numbers stay as they are."""
    reply = ChatReply(
        message={"content": f"a {KEY}", KEY: [KEY, {"x": KEY}], "n": 1},
        content=f"a {KEY}",
        reasoning=KEY,
        tool_calls=(ToolCall(name=KEY, arguments=f'{{"k": "{KEY}"}}', id=KEY),),
        finish_reason=KEY,
        prompt_tokens=3,
        timing=Timing(latency_s=1.5),
        fingerprint=KEY,
        view=ServerView(prompt=KEY, output=KEY),
    )
    clean = Secrets.of("http://h", KEY).left_out(reply)
    assert KEY not in repr(clean)
    assert clean.message == {"content": "a ***", "***": ["***", {"x": "***"}], "n": 1}
    assert (clean.prompt_tokens, clean.timing) == (3, Timing(latency_s=1.5))


def test_a_refusal_keeps_its_meaning() -> None:
    """Only the reason is text of the server's."""
    refusal = Refusal(outcome=Outcome.ERRORED, kind=Kind.BAD_REPLY, reason=f"HTTP 500: {KEY}")
    clean = Secrets.of("http://h", KEY).left_out(refusal)
    assert clean.reason == "HTTP 500: ***"
    assert (clean.outcome, clean.kind) == (refusal.outcome, refusal.kind)


def test_without_secrets_nothing_is_copied() -> None:
    """The usual case costs nothing."""
    refusal = Refusal(outcome=Outcome.ERRORED, kind=Kind.BAD_REPLY, reason="x")
    assert Secrets.of("http://h").left_out(refusal) is refusal
