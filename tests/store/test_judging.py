"""Verdicts are derived: a changed check judges the stored replies again, without a server."""

from __future__ import annotations

from typing import TYPE_CHECKING

from matrixbench.records import Judgement, Kind, Outcome, Verdict

if TYPE_CHECKING:
    from matrixbench.store.database import Store
    from tests.store.conftest import Make

PASSED = Judgement(outcome=Outcome.PASSED, verdicts=(Verdict(check="content", passed=True),))
FAILED = Judgement(outcome=Outcome.FAILED, kind=Kind.WRONG_CONTENT, reason="no")
RAISED = Judgement(outcome=Outcome.ERRORED, kind=Kind.CHECK_RAISED, reason="bug")


def stale(store: Store, checks: str) -> list[int]:
    """Return the trials of the one cell that these checks have not judged."""
    return [number for number, _, _ in store.stale({"c1": checks})]


def outcomes(store: Store, checks: str | None = None) -> list[Outcome]:
    """Return the outcomes that count."""
    present = {"c1": checks} if checks else None
    return [row.outcome for row in store.trials("exp", first_seed=1, checks=present)]


def test_changed_checks_want_the_replies_back(store: Store, make: Make, launch: int) -> None:
    """Replies that the present checks have not judged are given out; refusals and others not."""
    make.stored(
        store,
        [
            make.trial(launch, seed=1),
            make.trial(launch, seed=2, refusal=make.errored()),
            make.trial(launch, "c2"),
        ],
    )
    assert stale(store, "k1") == []
    ((number, cell, reply),) = store.stale({"c1": "k2"})
    assert (cell, reply) == ("c1", make.reply())
    assert store.add_judgements([(number, "k2", FAILED)]) == 1
    assert stale(store, "k2") == []
    assert outcomes(store)[0] is Outcome.FAILED


def test_only_changed_outcomes_are_counted(store: Store, make: Make, launch: int) -> None:
    """What says how many changed leaves out those that came to the same."""
    make.stored(store, [make.trial(launch, seed=seed) for seed in (1, 2, 3)])
    judgements = [PASSED, FAILED, PASSED]
    again = [
        (number, "k2", judgement)
        for number, judgement in zip(stale(store, "k2"), judgements, strict=True)
    ]
    assert store.add_judgements(again) == 1
    assert outcomes(store) == [Outcome.PASSED, Outcome.FAILED, Outcome.PASSED]


def test_checks_that_change_back_find_their_judgement(
    store: Store, make: Make, launch: int
) -> None:
    """Going back to earlier checks judges nothing again: what they said then counts again."""
    make.stored(store, [make.trial(launch)])
    store.add_judgements([(number, "k2", FAILED) for number in stale(store, "k2")])
    assert stale(store, "k1") == []
    assert outcomes(store, "k1") == [Outcome.PASSED]
    assert outcomes(store, "k2") == [Outcome.FAILED]
    assert outcomes(store, "unheard of") == [Outcome.FAILED]
    (row,) = store.trials("exp", first_seed=1)
    assert store.transcript(row.id, checks="k1").verdicts == PASSED.verdicts
    assert store.transcript(row.id, checks="k2").verdicts == FAILED.verdicts


def test_a_check_that_raised_is_judged_again(store: Store, make: Make, launch: int) -> None:
    """A raising check's trials come back under the same digest, and can be made good."""
    make.stored(store, [make.trial(launch, judgement=RAISED)])
    (number,) = stale(store, "k1")
    assert store.add_judgements([(number, "k1", RAISED)]) == 0
    assert stale(store, "k1") == [number]
    assert store.add_judgements([(number, "k1", PASSED)]) == 1
    assert stale(store, "k1") == []
    assert outcomes(store, "k1") == [Outcome.PASSED]


def test_superseded_attempts_are_left_alone(store: Store, make: Make, launch: int) -> None:
    """Only the newest attempt of a trial is judged again."""
    make.stored(store, [make.trial(launch), make.trial(launch, reply=make.reply("Lyon"))])
    replies = [reply.content for _, _, reply in store.stale({"c1": "k2"})]
    assert replies == ["Lyon"]


def test_judging_while_reading_takes_many(store: Store, make: Make, launch: int) -> None:
    """A stream of stale replies can be judged and kept as it comes, group by group."""
    count = 1500
    make.stored(store, [make.trial(launch, seed=seed) for seed in range(count)])
    found = store.stale({"c1": "k2"})
    assert store.add_judgements((number, "k2", FAILED) for number, _, _ in found) == count
    assert stale(store, "k2") == []
    assert set(outcomes(store)) == {Outcome.FAILED}
