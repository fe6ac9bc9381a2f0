"""What the present checks make of the trials that are kept."""

from __future__ import annotations

from typing import TYPE_CHECKING

from matrixbench.plan.cells import CellProgress, Judged
from matrixbench.records import Judgement, Kind, Outcome
from matrixbench.store.outcomes import Judges

if TYPE_CHECKING:
    from matrixbench.records import ChatReply
    from matrixbench.store.database import Store
    from tests.store.conftest import Make

FAILED = Judgement(outcome=Outcome.FAILED, kind=Kind.WRONG_CONTENT, reason="no Paris")
RAISED = Judgement(outcome=Outcome.ERRORED, kind=Kind.CHECK_RAISED, reason="bug")


def refuse(digest: str, _: ChatReply) -> Outcome:
    """Say that nothing should be judged."""
    raise AssertionError(digest)


def found(
    store: Store, judges: Judges, *, trials: int = 4, experiment: str = "exp"
) -> dict[str, CellProgress]:
    """Return what is known of the cells of the one build."""
    progress = store.progress(
        experiment, first_seed=1, trials=trials, request_timeout_s=300.0, judges=judges
    )
    return progress.get("b" * 24, {})


def test_outcomes_by_the_present_checks(store: Store, make: Make, launch: int) -> None:
    """Passed and failed count, a refusal by the server too; errored and short ones do not."""
    make.stored(
        store,
        [
            make.trial(launch, seed=1),
            make.trial(launch, seed=2, judgement=FAILED),
            make.trial(launch, seed=3, refusal=make.rejected(by_request=False)),
            make.trial(launch, seed=4, refusal=make.errored()),
        ],
    )
    progress = found(store, Judges(cells={"c1": ("k1",)}, judge=refuse))
    judged = (Judged(measured=0b0111, passed=0b0001),)
    assert progress == {"c1": CellProgress(kept=0b0111, errored=0b1000, judged=judged)}


def test_the_rest_is_as_without_judges(store: Store, make: Make, launch: int) -> None:
    """Cells that nobody asks about are known as before."""
    make.stored(store, [make.trial(launch, seed=1), make.trial(launch, cell="c2", seed=2)])
    plain = store.progress("exp", first_seed=1, trials=4, request_timeout_s=300.0)
    assert (
        store.progress(
            "exp",
            first_seed=1,
            trials=4,
            request_timeout_s=300.0,
            judges=Judges(cells={}, judge=refuse),
        )
        == plain
    )


def test_the_newest_attempt_and_the_newest_judgement_count(
    store: Store, make: Make, launch: int
) -> None:
    """Later attempts take the place of earlier ones, as do later judgements by the same checks."""
    make.stored(
        store,
        [
            make.trial(launch, seed=1),
            make.trial(launch, seed=1, judgement=FAILED),
            make.trial(launch, seed=2),
            make.trial(launch, seed=2, refusal=make.errored()),
            make.trial(launch, seed=3, judgement=RAISED),
        ],
    )
    (raised,) = [row.id for row in store.trials("exp", first_seed=1) if row.trial == 2]
    store.add_judgements([(raised, "k1", FAILED), (raised, "other", RAISED)])
    progress = found(store, Judges(cells={"c1": ("k1",)}, judge=refuse))
    assert progress["c1"].judged == (Judged(measured=0b101, passed=0),)


def test_changed_checks_judge_in_passing(store: Store, make: Make, launch: int) -> None:
    """Replies that the present checks have not seen are judged, and nothing is written down."""
    replies = [make.reply("Paris"), make.reply("London"), make.reply("Paris")]
    make.stored(
        store,
        [make.trial(launch, seed=seed, reply=reply) for seed, reply in enumerate(replies, 1)],
    )
    asked: list[str] = []

    def judge(digest: str, reply: ChatReply) -> Outcome:
        asked.append(digest)
        return Outcome.PASSED if reply.content == "London" else Outcome.FAILED

    judges = Judges(cells={"c1": ("new",)}, judge=judge)
    for times in (1, 2):
        progress = found(store, judges)
        assert progress["c1"].judged == (Judged(measured=0b111, passed=0b010),)
        assert asked == ["new"] * 3 * times


def test_a_check_that_raised_is_asked_again(store: Store, make: Make, launch: int) -> None:
    """What raised measured nothing; it may be mended by now."""
    make.stored(store, [make.trial(launch, seed=1, judgement=RAISED)])
    says = Outcome.ERRORED
    judges = Judges(cells={"c1": ("k1",)}, judge=lambda _, __: says)
    assert found(store, judges)["c1"].judged == (Judged(measured=0, passed=0),)
    says = Outcome.PASSED
    assert found(store, judges)["c1"].judged == (Judged(measured=1, passed=1),)


def test_each_set_of_checks_has_its_own_outcomes(store: Store, make: Make, launch: int) -> None:
    """Tests that share their trials judge them each; a refusal counts for both."""
    make.stored(
        store,
        [
            make.trial(launch, seed=1),
            make.trial(launch, seed=2),
            make.trial(launch, seed=3, refusal=make.rejected(by_request=False)),
        ],
    )
    first, second, _ = (row.id for row in store.trials("exp", first_seed=1))
    store.add_judgements([(first, "k2", FAILED)])
    judges = Judges(cells={"c1": ("k1", "k2")}, judge=lambda digest, _: (
        Outcome.PASSED if digest == "k1" else Outcome.FAILED
    ))  # fmt: skip
    assert second
    assert found(store, judges)["c1"].judged == (
        Judged(measured=0b111, passed=0b011),
        Judged(measured=0b111, passed=0b000),
    )


def test_a_fresh_start_forgets_outcomes(store: Store, make: Make, launch: int) -> None:
    """Trials before a fresh start do not count, and so cannot be enough."""
    make.stored(store, [make.trial(launch, seed=1)])
    number = store.start_fresh("exp", ["c1"])
    judges = Judges(cells={"c1": ("k1",)}, judge=refuse)
    assert found(store, judges) == {}
    make.stored(store, [make.trial(launch, seed=2, generation=number)])
    assert found(store, judges)["c1"].judged == (Judged(measured=0b10, passed=0b10),)
