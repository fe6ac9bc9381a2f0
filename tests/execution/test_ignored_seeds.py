"""What shows that a launch ignores seeds, and what does not."""

from __future__ import annotations

from typing import Any

import pytest

from matrixbench.execution.canary import (
    BY_CANARY,
    BY_REPLIES,
    OPEN_TOKENS,
    TOKENS_ALIKE,
    is_open_ended,
    shown_by,
)
from matrixbench.store.rows import SeedReplies


def said(
    seeds: int,
    distinct: int,
    tokens: int | None = 64,
    **body: Any,
) -> SeedReplies:
    """Return what a request's trials said; by default it is open-ended."""
    return SeedReplies(
        launch_digest="l",
        build="b",
        body={"temperature": 1.0, **body},
        seeds=seeds,
        distinct=distinct,
        tokens=tokens,
    )


def test_equal_replies_alone_show_nothing() -> None:
    """A model that says «Paris» ten times gave ten draws, also at temperature 2."""
    assert shown_by(None, [said(10, 1, 2, temperature=2.0)]) == ""
    assert shown_by(True, [said(10, 1, 2)]) == ""


def test_a_canary_that_heard_one_reply_is_believed() -> None:
    """Its question has many answers; whatever the cells themselves are."""
    assert shown_by(False, []) == BY_CANARY
    assert shown_by(False, [said(10, 1, 2)]) == BY_CANARY
    # Batching rounds differently now and then: a few new replies are not ten draws.
    assert shown_by(False, [said(10, 3)]) == BY_CANARY


def test_trials_can_refute_a_canary() -> None:
    """Where most open-ended replies are new ones something does reach the sampling."""
    assert shown_by(False, [said(10, 9)]) == ""
    assert shown_by(False, [said(10, 9), said(30, 1)]) == BY_CANARY


def test_open_ended_replies_that_never_differ_show_it() -> None:
    """Nine trials of 32 tokens are enough, or fewer of longer ones, over all requests."""
    assert shown_by(None, [said(9, 1, OPEN_TOKENS)]) == BY_REPLIES
    assert shown_by(None, [said(5, 1, 32), said(5, 1, 32)]) == BY_REPLIES
    assert shown_by(None, [said(2, 1, TOKENS_ALIKE)]) == BY_REPLIES
    assert shown_by(None, [said(8, 1, OPEN_TOKENS)]) == ""
    assert shown_by(None, [said(2, 1, TOKENS_ALIKE - 1)]) == ""


@pytest.mark.parametrize("tokens", [4, 64])
def test_one_request_with_two_replies_refutes_it(tokens: int) -> None:
    """Short or long: seeds reach the sampling then, and the others are sure of their answers."""
    assert shown_by(None, [said(30, 1), said(2, 2, tokens)]) == ""


@pytest.mark.parametrize(
    ("tokens", "body"),
    [
        (OPEN_TOKENS - 1, {}),
        (None, {}),
        (64, {"temperature": 0.69}),
        (64, {"temperature": None}),
        (64, {"top_k": 1}),
        (64, {"top_p": 0.1}),
        (64, {"min_p": 0.9}),
        (64, {"tools": [{"type": "function"}]}),
        (64, {"response_format": {"type": "json_object"}}),
    ],
)
def test_what_could_hardly_be_said_otherwise_is_not_open_ended(
    tokens: int | None, body: dict[str, Any]
) -> None:
    """Short, cool, narrow or prescribed: equal replies are no wonder."""
    assert not is_open_ended(said(30, 1, tokens, **body))
    assert shown_by(None, [said(30, 1, tokens, **body)]) == ""


def test_ordinary_sampling_is_open_ended() -> None:
    """llama-server's own defaults are."""
    assert is_open_ended(said(10, 1, temperature=0.8, top_k=40, top_p=0.95, min_p=0.05))
