"""When a request is asked again, and which answer counts."""

from __future__ import annotations

import json
from dataclasses import dataclass, field

from matrixbench.backends.http.openai_reply import KEPT_BYTES, Answer, classify, kept
from matrixbench.backends.http.requests import Answers, Heard, RetryPolicy
from matrixbench.records import ChatReply, Kind, Outcome, Refusal

FAULT, OTHER, BUSY = "the roof is on fire", "the cellar is wet", "server busy"
REPLY = {"choices": [{"message": {"role": "assistant", "content": "Paris"}}]}
LOST = Refusal(outcome=Outcome.ERRORED, kind=Kind.NO_CONNECTION, reason="gone")


@dataclass
class Asked:
    """What came of one request to a server that answers so."""

    result: ChatReply | Refusal
    waits: list[float] = field(default_factory=list)
    left: int = 0

    @property
    def kinds(self) -> list[Kind | None]:
        """The kinds of the answers before the one that counts."""
        return [attempt.kind for attempt in self.result.attempts]

    @property
    def refusal(self) -> Refusal:
        """The refusal that it is."""
        assert isinstance(self.result, Refusal)
        return self.result


def heard(said: object, status: int = 500, retry_after: str | None = None) -> Heard:
    """Return an answer: an error's text, a whole body, or a lost connection."""
    if isinstance(said, Refusal):
        return Heard(result=said)
    body = json.dumps(said if isinstance(said, dict) else {"error": said}).encode()
    status = 200 if isinstance(said, dict) else status
    answer = Answer(status=status, content_type="", body=body, latency_s=0.5)
    return Heard(result=classify(answer), body=body, retry_after=retry_after)


def ask(*said: object, tries: int = 5, total_wait_s: float = 120.0) -> Asked:
    """Ask a server that gives these answers in turn, until one of them counts."""
    policy = RetryPolicy(tries=tries, total_wait_s=total_wait_s, draw=lambda: 1.0)
    answers, waits = Answers(policy), list[float]()
    for number, one in enumerate(said, 1):
        item = one if isinstance(one, Heard) else heard(one)
        wait_s = answers.wait_s(item)
        if wait_s is None:
            return Asked(answers.settled(item), waits, len(said) - number)
        waits.append(wait_s)
    raise AssertionError("it would be asked again")


def test_a_reply_is_the_end() -> None:
    """Nothing is kept beside it."""
    asked = ask(REPLY)
    assert isinstance(asked.result, ChatReply)
    assert asked.kinds == []


def test_a_fault_that_repeats_is_the_servers_answer() -> None:
    """Asked once more, with its first answer kept, and never a third time."""
    asked = ask(FAULT, FAULT, REPLY)
    assert (asked.refusal.outcome, asked.refusal.kind) == (Outcome.REJECTED, Kind.SERVER_ERROR)
    assert "the fault repeats" in asked.refusal.reason
    assert asked.refusal.reason.endswith("(asked 2 times)")
    assert (asked.kinds, asked.left) == ([Kind.SERVER_ERROR], 1)
    assert not asked.refusal.unexplained


def test_a_fault_counts_though_a_reply_comes_then() -> None:
    """A user would have got the fault; what came second is kept whole."""
    asked = ask(FAULT, REPLY)
    assert (asked.refusal.outcome, asked.refusal.kind) == (Outcome.REJECTED, Kind.SERVER_ERROR)
    assert FAULT in asked.refusal.reason
    assert "a reply" in asked.refusal.reason
    assert json.loads(asked.refusal.body or "") == REPLY
    assert json.loads(asked.refusal.attempts[0].body or "") == {"error": FAULT}


def test_a_fault_counts_though_another_fault_comes_then() -> None:
    """The first one does."""
    asked = ask(FAULT, OTHER)
    assert asked.refusal.reason.startswith(f"HTTP 500: {FAULT}")
    assert OTHER in asked.refusal.reason


def test_a_fault_of_a_busy_server_is_load() -> None:
    """Then it is retried as load is, and the next answer counts, unless the fault comes back."""
    passing = ask(FAULT, heard(BUSY, 503), REPLY)
    assert isinstance(passing.result, ChatReply)
    assert passing.kinds == [Kind.SERVER_ERROR, Kind.SERVER_ERROR]
    lasting = ask(FAULT, heard(BUSY, 503), FAULT, REPLY)
    assert (lasting.refusal.outcome, lasting.left) == (Outcome.REJECTED, 1)


def test_known_words_are_believed_at_once() -> None:
    """A parser's 500 is asked once, as is the template's and the schema's."""
    for words in (
        "Invalid diff: x",
        "Jinja Exception: x",
        "JSON schema error at #",
        "prompt too long",
    ):
        asked = ask(words, REPLY)
        assert (asked.refusal.outcome, asked.left) == (Outcome.REJECTED, 1)


def test_load_is_asked_again_with_a_trace() -> None:
    """Each answer before the one that counts is kept with its kind."""
    asked = ask(heard("slow", 429), heard("", 502), heard("", 504), REPLY)
    assert isinstance(asked.result, ChatReply)
    assert asked.kinds == [Kind.RATE_LIMITED, Kind.SERVER_ERROR, Kind.SERVER_ERROR]
    assert asked.waits == [0.5, 1.0, 2.0]


def test_load_that_lasts_is_errored() -> None:
    """After all tries."""
    asked = ask(*[heard(BUSY, 503)] * 3, tries=3)
    assert (asked.refusal.outcome, len(asked.kinds)) == (Outcome.ERRORED, 2)


def test_a_fault_is_asked_again_whatever_is_left_of_the_tries_and_the_time() -> None:
    """Finding out what it is is no retry."""
    asked = ask(heard(FAULT, retry_after="3600"), FAULT, tries=1)
    assert asked.refusal.outcome is Outcome.REJECTED
    assert asked.waits == [0.5]


def test_a_server_that_died_of_it_is_gone() -> None:
    """A fault, and then nobody there twice: who looks after the server finds out."""
    asked = ask(FAULT, LOST, LOST)
    assert asked.refusal.kind is Kind.NO_CONNECTION
    assert asked.kinds == [Kind.SERVER_ERROR, Kind.NO_CONNECTION]


def test_a_connection_that_is_lost_in_between_hides_no_fault() -> None:
    """The fault is asked for once more."""
    asked = ask(FAULT, LOST, REPLY)
    assert asked.refusal.kind is Kind.SERVER_ERROR
    assert asked.kinds == [Kind.SERVER_ERROR, Kind.NO_CONNECTION]


def test_a_lost_connection_alone_is_not_asked_again_here() -> None:
    """The server may have died."""
    assert ask(LOST, REPLY).left == 1


def test_a_crashed_model_is_asked_once_more() -> None:
    """It may have been loaded again; else nothing was measured."""
    crash = "The model has crashed without additional information. (Exit code: 6)"
    assert isinstance(ask(crash, REPLY).result, ChatReply)
    asked = ask(crash, crash, REPLY)
    assert (asked.refusal.outcome, asked.refusal.kind) == (Outcome.ERRORED, Kind.SERVER_CRASHED)
    policy = RetryPolicy()
    assert Answers(policy, after_crash=False).wait_s(heard(crash)) is None


def test_a_400_that_nobody_knows_is_believed_for_its_trial() -> None:
    """Asked once; whether it stands for its cell is decided elsewhere."""
    asked = ask(heard(FAULT, 400), REPLY)
    assert (asked.refusal.kind, asked.refusal.unexplained) == (Kind.BAD_REQUEST, True)
    assert asked.left == 1


def test_a_reply_that_nothing_but_the_connection_ends_may_have_been_cut() -> None:
    """Once it is a lost connection, twice it is the server's answer."""

    def cut() -> Heard:
        body = b'{"choices": [{"mess'
        answer = Answer(status=200, content_type="", body=body, latency_s=1.0, unbounded=True)
        return Heard(result=classify(answer), body=body)

    assert isinstance(ask(cut(), REPLY).result, ChatReply)
    asked = ask(cut(), cut(), REPLY)
    assert (asked.refusal.outcome, asked.refusal.kind) == (Outcome.REJECTED, Kind.UNPARSED_OUTPUT)
    assert (asked.left, asked.refusal.unexplained) == (1, False)


def test_bodies_are_kept_to_a_bound() -> None:
    """And say how long they were."""
    assert kept(b"abc") == "abc"
    long = kept(b"x" * (KEPT_BYTES + 1))
    assert len(long) < KEPT_BYTES + 100
    assert long.endswith("(65,537 bytes in all)")
