"""Refusals in words that nobody knows: when one stands for its cell."""

from __future__ import annotations

from dataclasses import replace

from matrixbench.execution.trials import Doubts, attempts_of, with_attempts
from matrixbench.records import Attempt, ChatReply, Kind, Outcome, Refusal, Timing, Turn

REPLY = ChatReply(message={}, timing=Timing(latency_s=1.0))
UNSURE = Refusal(
    outcome=Outcome.REJECTED, kind=Kind.BAD_REQUEST, reason="HTTP 400: no (id 1)", unexplained=True
)
ALIKE = replace(UNSURE, reason="HTTP 400: no (id 2)")
OTHER = replace(UNSURE, reason="HTTP 400: yes")
KNOWN = replace(UNSURE, kind=Kind.UNPARSED_OUTPUT, unexplained=False)


def stands(doubts: Doubts, *refusals: Refusal) -> list[bool]:
    """Return of each refusal whether it stands for the cell."""
    return [doubts.settled("c", refusal).by_request for refusal in refusals]


def test_a_second_seed_makes_it_stand() -> None:
    """Numbers and ids may differ."""
    assert stands(Doubts(), UNSURE, ALIKE) == [False, True]
    assert stands(Doubts(), UNSURE, UNSURE) == [False, True]


def test_it_does_not_stand_beside_anything_else() -> None:
    """A reply, other words, a refusal that is known, an answer of an earlier run."""
    doubts = Doubts()
    doubts.replied("c")
    assert stands(doubts, UNSURE, ALIKE) == [False, False]
    assert stands(Doubts(), UNSURE, OTHER, ALIKE) == [False, False, False]
    assert stands(Doubts(), KNOWN, UNSURE, ALIKE) == [False, False, False]
    assert stands(Doubts(frozenset({"c"})), UNSURE, ALIKE) == [False, False]
    assert stands(Doubts(frozenset({"d"})), UNSURE, ALIKE) == [False, True]


def test_what_measured_nothing_says_nothing() -> None:
    """An errored trial is neither for it nor against it."""
    errored = replace(KNOWN, outcome=Outcome.ERRORED)
    assert stands(Doubts(), UNSURE, errored, ALIKE) == [False, False, True]


def test_it_does_not_stand_while_others_of_the_cell_are_under_way() -> None:
    """They may get a reply; the last of them decides."""
    doubts = Doubts()
    with doubts.asking("c"):
        assert stands(doubts, UNSURE, ALIKE) == [False, False]
    assert stands(doubts, ALIKE) == [True]


def test_later_turns_of_a_conversation_never_stand() -> None:
    """The request holds the model's own words."""
    later = replace(UNSURE, earlier=(Turn(reply=REPLY, then=()),))
    assert stands(Doubts(), later, later) == [False, False]


def test_what_is_understood_stands_at_once() -> None:
    """A template's refusal, for one."""
    assert stands(Doubts(), replace(KNOWN, by_request=True)) == [True]


def test_what_was_heard_before_is_kept_in_its_order() -> None:
    """Of a trial that is sent again as a whole."""
    first = Attempt(kind=Kind.SERVER_ERROR, reason="one")
    lost = Refusal(
        outcome=Outcome.ERRORED, kind=Kind.NO_CONNECTION, reason="two", attempts=(first,)
    )
    found = with_attempts(REPLY, attempts_of(lost))
    assert [attempt.reason for attempt in found.attempts] == ["one", "two"]
    assert with_attempts(REPLY, ()) is REPLY
