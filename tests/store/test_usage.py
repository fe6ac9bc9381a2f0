"""What a server counted, how often it was asked and what it said before is kept."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace
from sqlite3 import connect
from typing import TYPE_CHECKING

from matrixbench.records import Attempt, ChatReply, Kind, Outcome, Refusal, Timing, Turn, Usage
from matrixbench.store.connection import APPLICATION_ID
from matrixbench.store.database import open_store
from matrixbench.store.migrations import MIGRATIONS

if TYPE_CHECKING:
    from pathlib import Path

    from matrixbench.store.database import Store
    from matrixbench.store.rows import Transcript
    from tests.store.conftest import Make

BEFORE = 5
"""The migrations of the version before these columns."""

USAGE = Usage(
    cached_tokens=90,
    computed_tokens=10,
    predicted_tokens=7,
    prompt_s=0.25,
    predicted_s=0.5,
    draft_tokens=6,
    draft_accepted_tokens=4,
    reasoning_tokens=3,
    accepted_prediction_tokens=2,
    rejected_prediction_tokens=1,
)
GAPS = Timing(latency_s=1.0, token_gap_p50_s=0.02, token_gap_max_s=0.5)
ONCE = Attempt(kind=Kind.SERVER_ERROR, reason="HTTP 500: oops", latency_s=0.1, body='{"error": 1}')


def stored(store: Store, number: int) -> Transcript:
    """Return the transcript of an attempt that is there."""
    found = store.transcript(number, checks="k1")
    assert found is not None
    return found


def test_what_a_server_counted_comes_back(store: Store, make: Make, launch: int) -> None:
    """Usage, gaps between tokens, the model's name and the load stand in the row and the reply."""
    reply = make.reply(usage=USAGE, timing=GAPS, model="smollm2", attempts=(ONCE,))
    make.stored(store, [make.trial(launch, reply=reply, concurrency=4)])
    found = stored(store, 1)
    row = found.trial
    assert (row.asked, row.concurrency, row.model) == (2, 4, "smollm2")
    assert (row.cached_tokens, row.draft_accepted_tokens, row.token_gap_max_s) == (90, 4, 0.5)
    assert found.reply == replace(reply, attempts=())
    assert found.attempts == {0: (ONCE,)}


def test_a_refusals_body_is_kept_behind_what_came_before_it(
    store: Store, make: Make, launch: int
) -> None:
    """The answers to one request are kept in their order, the one that counts last."""
    refusal = Refusal(
        outcome=Outcome.REJECTED,
        kind=Kind.UNPARSED_OUTPUT,
        reason="no choices",
        latency_s=0.2,
        attempts=(ONCE,),
        body="data: [DONE]",
    )
    make.stored(store, [make.trial(launch, refusal=refusal)])
    last = Attempt(
        kind=Kind.UNPARSED_OUTPUT, reason="no choices", latency_s=0.2, body="data: [DONE]"
    )
    assert stored(store, 1).attempts == {0: (ONCE, last)}
    assert stored(store, 1).trial.asked == 2


def test_a_conversation_sums_what_its_requests_were_counted(
    store: Store, make: Make, launch: int
) -> None:
    """Each turn keeps its own figures; the trial's row has their sums, and the longest gap."""
    first = make.reply("one", usage=USAGE, timing=GAPS, attempts=(ONCE,))
    last: ChatReply = make.reply(
        "two",
        usage=replace(USAGE, cached_tokens=10, reasoning_tokens=None),
        timing=replace(GAPS, token_gap_p50_s=0.04, token_gap_max_s=0.1),
        earlier=(Turn(reply=first, then=({"role": "user", "content": "and?"},)),),
    )
    make.stored(store, [make.trial(launch, reply=last)])
    found = stored(store, 1)
    assert (found.trial.cached_tokens, found.trial.computed_tokens) == (100, 20)
    assert found.trial.reasoning_tokens is None
    assert (found.trial.token_gap_p50_s, found.trial.token_gap_max_s) == (0.03, 0.5)
    assert found.trial.asked == 3
    assert found.reply is not None
    assert found.reply.usage == last.usage
    assert found.reply.timing == last.timing
    assert found.reply.earlier[0].reply.usage == USAGE
    assert found.attempts == {0: (ONCE,)}


def test_a_store_of_before_says_that_the_figures_are_not_known(path: Path, make: Make) -> None:
    """A store of the version before opens, keeps its trials, and leaves the new figures empty."""
    path.parent.mkdir()
    with closing(connect(path)) as connection:
        for statement in (part for migration in MIGRATIONS[:BEFORE] for part in migration):
            connection.execute(statement)
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute(f"PRAGMA user_version = {BEFORE}")
        connection.execute(
            "INSERT INTO build VALUES (1, ?, 'llama-server', '', '', '', '', '{}')",
            (make.build.id,),
        )
        connection.execute(
            "INSERT INTO launch (id, experiment, digest, name, build, started_at,"
            " request_timeout_s, command, effective, host, versions, imported)"
            " VALUES (1, 'exp', 'd1', 'l', 1, 0, 300, '[]', '{}', '{}', '{}', 0)"
        )
        connection.execute(
            "INSERT INTO trial (id, cell, build, seed, generation, trial_index, launch,"
            " order_index, request, started_at, by_request, latency_s, reply_digest)"
            " VALUES (1, 'c1', 1, 1, 0, 0, 1, 0, 'r', 0, 0, 0.5, 'x')"
        )
        connection.execute(
            'INSERT INTO reply VALUES (1, \'{"role":"assistant","content":"Paris"}\', null)'
        )
        connection.execute(
            "INSERT INTO verdict VALUES (1, 0, 'k1', 'passed', null, '', null, '[]')"
        )
        connection.commit()
    with open_store(path, create=False) as store:
        found = stored(store, 1)
    assert found.reply is not None
    assert (found.reply.content, found.reply.usage) == ("Paris", Usage())
    assert (found.trial.outcome, found.trial.latency_s) == (Outcome.PASSED, 0.5)
    assert (found.trial.asked, found.trial.concurrency, found.trial.model) == (None, None, None)
    assert found.attempts == {}
