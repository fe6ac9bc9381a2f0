"""The gate's verdict in a sentence, with what would decide it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from matrixbench.comparison.many import DROP_SHOWN, shown_drop
from matrixbench.comparison.power import OFTEN
from matrixbench.comparison.values import Look, Missing, Verdict
from matrixbench.tables import counted, p_value

if TYPE_CHECKING:
    from matrixbench.comparison.values import CandidateResult, Gate

IGNORED = "--missing ignore"
"""How it was asked for that missing trials be left out."""

_NEGATIVE = re.compile(r"(?<![\w-])-(?=\d)")
"""The sign of a number, which is no hyphen."""


def verdict_line(candidate: CandidateResult) -> str:
    """Return the gate's verdict in a sentence, with what would decide it."""
    gate = candidate.gate
    said = {
        Verdict.NO_WORSE: f"shown no worse than a drop of {gate.max_drop:g}",
        Verdict.REGRESSION: f"regression: a drop of more than {gate.max_drop:g} is shown",
        Verdict.UNDECIDED: f"undecided whether the drop is at most {gate.max_drop:g}",
    }[gate.verdict]
    if gate.missing is Missing.IGNORE:
        said += f", trials without a verdict left out ({IGNORED})"
    elif gate.worst and gate.look is not Look.ANY and gate.verdict is not Verdict.UNDECIDED:
        said += ", whatever the trials without a verdict would have said"
    if gate.verdict is not Verdict.UNDECIDED:
        return f"{said}{_by_look(gate)}: {_why(gate)}"
    return _undecided(candidate, said)


def _by_look(gate: Gate) -> str:
    """Say in which round bets showed it, where they decided."""
    if gate.look is not Look.ANY or gate.anytime is None or gate.anytime.decided_after is None:
        return ""
    return f" in round {gate.anytime.decided_after}"


def _why(gate: Gate) -> str:
    """Return the gate's reasons on one line, those that settle it first.

    That a drop is shown is none of them here: the line begins with it.
    """
    reasons = [reason for reason in gate.reasons if not reason.startswith(DROP_SHOWN)]
    return _NEGATIVE.sub("−", "; ".join(reasons))


def _undecided(candidate: CandidateResult, said: str) -> str:
    gate, overall = candidate.gate, candidate.overall
    if gate.unverified:  # no number of trials would decide
        return f"{said}: unverified build"
    if gate.only_bets:
        return f"{said} after {complete_rounds(gate)}{rounds_needed(gate)}: {gate.only_bets}"
    if (shown := shown_drop(candidate)) is not None:
        said = f"{DROP_SHOWN} (p = {p_value(shown.p_holm)}); {said}"
    said = f"{said}: {_why(gate) or 'no cell was compared'}"
    if gate.one_draw or (gate.unsettled and _missing_may_decide(gate)):
        return said
    if gate.trials_per_cell is None:
        settled = gate.unsettled or overall is None
        return (
            said
            if settled
            else f"{said}; no number of trials would decide: the drop is too close to the limit"
        )
    fixed = "a fixed number of " if overall is not None and overall.adaptive else ""
    trials = counted(gate.trials_per_cell, "trial")
    return (
        f"{said}; if ratios stay as they are, {fixed}{trials} per cell would decide in "
        f"{OFTEN} ({gate.more_trials:,} more in all)"
    )


def _missing_may_decide(gate: Gate) -> bool:
    """Return whether the trials that were due could show it to be no worse, once all are there."""
    return gate.best is not None and gate.best.verdict is Verdict.NO_WORSE


def complete_rounds(gate: Gate) -> str:
    """Return how many rounds count."""
    return counted(0 if gate.anytime is None else gate.anytime.rounds, "complete round")


def rounds_needed(gate: Gate) -> str:
    """Say how many rounds would decide by bets, if that is known."""
    if gate.anytime is None or gate.anytime.rounds_to_decide is None:
        return ""
    rounds = counted(gate.anytime.rounds_to_decide, "round")
    return f" ({rounds} would decide by bets if ratios stay as they are)"
