"""The whole comparison: every candidate against one baseline, and all of it as plain data."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from matrixbench.comparison.values import GateVerdict, Missing
from matrixbench.stats.power import POWER

if TYPE_CHECKING:
    from pandas import DataFrame

    from matrixbench.comparison.values import (
        Anytime,
        CandidateResult,
        CellResult,
        Deterministic,
        Extreme,
        Gate,
        Overall,
        Trials,
    )
    from matrixbench.records import JsonObject
    from matrixbench.stats.power import Sides
    from matrixbench.stats.proportions import Difference, Interval


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Comparison:
    """Every candidate against one baseline.

    Args:
        candidates: The others.
        missing: What was made of trials without a verdict.
        remembered: Whether the store keeps that these trials were looked at.
    """

    experiment: str
    axis: str
    baseline: str
    candidates: tuple[CandidateResult, ...]
    missing: Missing = Missing.WORST
    remembered: bool = True

    def __repr__(self) -> str:
        """Say what it comes to: all of it would fill a notebook."""
        names = ", ".join(candidate.name for candidate in self.candidates)
        return f"<comparison of {names} with {self.axis}={self.baseline}: {self.verdict.value}>"

    @property
    def verdict(self) -> GateVerdict:
        """The worst verdict of any candidate."""
        found = {candidate.gate.verdict for candidate in self.candidates}
        for verdict in (GateVerdict.REGRESSION, GateVerdict.UNDECIDED):
            if verdict in found:
                return verdict
        return GateVerdict.NO_WORSE

    def to_dict(self) -> JsonObject:
        """Return all of it as data, as `compare --json` prints it.

        Ratios, differences (candidate less baseline), drops and p-values are between −1 and 1;
        `low` and `high` are the ends of 95 % intervals, null where there is no chance; counts are
        counts. `check_raised` is a part of `errored`; `missing` is what was due and has no verdict.
        Every `p` is of one test alone, every `p_holm` the same after Holm's correction: of cells
        over the cells of all candidates, of tests over theirs, of `overall` over all candidates.
        `detectable_drop` is what the test of that `p` shows in 80 % of runs.
        """
        return {
            "experiment": self.experiment,
            "axis": self.axis,
            "baseline": self.baseline,
            "verdict": self.verdict.value,
            "missing": self.missing.value,
            "look_remembered": self.remembered,
            "candidates": [_candidate(candidate) for candidate in self.candidates],
        }

    def rows(self) -> list[JsonObject]:
        """Return one flat row a pair of cells: the axes, then the numbers of `to_dict`.

        `candidate` and `baseline` are what is compared, `candidate_cell` and `baseline_cell` the
        ids.
        """
        return [
            _row(self, candidate.name, cell)
            for candidate in self.candidates
            for cell in candidate.cells
        ]

    def frame(self) -> DataFrame:
        """Return `rows` as a table."""
        import pandas as pd

        return pd.DataFrame(self.rows())


def _candidate(candidate: CandidateResult) -> JsonObject:
    sides = ("candidate", "baseline")
    return {
        "candidate": candidate.name,
        "gate": _gate(candidate.gate),
        "overall": _overall(candidate.overall),
        "power": None if candidate.sides is None else power_json(candidate.sides),
        "certain": _certain(candidate.certain),
        "trials": dict(zip(sides, map(asdict, candidate.counts), strict=True)),
        "not_comparable": candidate.not_comparable,
        "without_partner": dict(zip(sides, candidate.without_partner, strict=True)),
        "tests": [
            {
                "test": test.test,
                "overall": _overall(test.overall),
                "certain": _certain(test.certain),
            }
            for test in candidate.tests
        ],
        "cells": [_cell(cell) for cell in candidate.cells],
    }


def power_json(sides: Sides) -> JsonObject:
    """Return what `detectable_drop` and `trials_per_cell` promise, and of which outcomes.

    `share_of_runs` show such a drop, or decide. Baseline ratio and phi are measured or assumed.
    """
    return {
        "share_of_runs": POWER,
        "baseline_ratio": sides.ratio,
        "baseline_ratio_assumed": not sides.ratio_known,
        "phi": sides.phi,
        "phi_assumed": not sides.phi_known,
    }


def _gate(gate: Gate) -> JsonObject:
    return {
        "verdict": gate.verdict.value,
        "max_drop": gate.max_drop,
        "reasons": list(gate.reasons),
        "trials_per_cell": gate.trials_per_cell,
        "more_trials": gate.more_trials,
        "share_of_runs": None if gate.trials_per_cell is None else POWER,
        "missing": gate.missing.value,
        "unsettled": gate.unsettled or None,
        "worst": None if gate.worst is None else _extreme(gate.worst),
        "best": None if gate.best is None else _extreme(gate.best),
        "unverified": list(gate.unverified),
        "one_draw": gate.one_draw,
        "look": gate.look.value,
        "once": None if gate.once is None else gate.once.value,
        "anytime": None if gate.anytime is None else _anytime(gate.anytime),
        "only_bets": gate.only_bets or None,
        "looked": None if gate.looked is None else asdict(gate.looked),
    }


def _anytime(anytime: Anytime) -> JsonObject:
    return {
        "verdict": anytime.verdict.value,
        "rounds": anytime.rounds,
        "tests": anytime.tests,
        **_difference(anytime.difference),
        "decided_after": anytime.decided_after,
        "together": anytime.together,
        "rounds_to_decide": anytime.rounds_to_decide,
    }


def _extreme(extreme: Extreme) -> JsonObject:
    overall = extreme.overall
    return {
        "verdict": extreme.verdict.value,
        "candidate_ratio": None if overall is None else overall.ratios[0],
        "baseline_ratio": None if overall is None else overall.ratios[1],
        **_difference(None if overall is None else overall.difference),
        "p": None if overall is None else overall.p,
        "certain": _certain(extreme.certain),
    }


def _overall(overall: Overall | None) -> JsonObject | None:
    if overall is None:
        return None
    return {
        "candidate_ratio": overall.ratios[0],
        "baseline_ratio": overall.ratios[1],
        **_difference(overall.difference),
        "across_tests": None if overall.across_tests is None else _ends(overall.across_tests),
        "p": overall.p,
        "p_holm": overall.p_holm,
        "cells": overall.cells,
        "tests": overall.tests,
        "candidate_trials": overall.trials[0],
        "baseline_trials": overall.trials[1],
        "pairs": asdict(overall.pairs) if overall.pairs.n else None,
        "phi": overall.phi,
        "detectable_drop": overall.detectable_drop,
        "adaptive": overall.adaptive,
    }


def _certain(certain: Deterministic) -> JsonObject:
    return {
        "cells": certain.cells,
        "same": certain.same,
        "same_replies": certain.same_replies,
        "worse": certain.worse,
        "better": certain.better,
        "difference": certain.mean if certain.cells else None,
    }


def _cell(cell: CellResult) -> JsonObject:
    up, down = cell.pair.sides
    difference = _difference(cell.difference)
    if not cell.has_interval:
        difference |= {"low": None, "high": None}
    return {
        "coordinates": cell.pair.coordinates,
        "candidate": up.cell,
        "candidate_build": up.build,
        "baseline": down.cell,
        "baseline_build": down.build,
        "candidate_unverified": up.unverified or None,
        "baseline_unverified": down.unverified or None,
        "candidate_seeds_ignored": up.seeds_ignored or None,
        "baseline_seeds_ignored": down.seeds_ignored or None,
        "basis": cell.basis.value,
        "candidate_trials": cell.trials[0],
        "baseline_trials": cell.trials[1],
        **_lacking("candidate", up),
        **_lacking("baseline", down),
        **difference,
        "pairs": None if cell.pairs is None else asdict(cell.pairs),
        "phi": cell.phi,
        "test": cell.test or None,
        "p": cell.p,
        "p_holm": cell.p_holm,
        "stands_out": cell.stands_out,
        "detectable_drop": cell.detectable_drop,
        "same": cell.same,
        "same_replies": cell.same_replies,
    }


def _lacking(side: str, trials: Trials) -> JsonObject:
    return {
        f"{side}_rejected": trials.rejected,
        f"{side}_errored": trials.errored,
        f"{side}_check_raised": trials.raised,
        f"{side}_never_asked": trials.never_asked,
        f"{side}_missing": len(trials.missing),
    }


def _difference(difference: Difference | None) -> JsonObject:
    if difference is None:
        return {"difference": None, "low": None, "high": None}
    return {"difference": difference.estimate, **_ends(difference.interval)}


def _ends(interval: Interval) -> JsonObject:
    return {"low": interval.low, "high": interval.high}


def _row(comparison: Comparison, candidate: str, cell: CellResult) -> JsonObject:
    told = _cell(cell)
    pairs = told.pop("pairs") or dict.fromkeys(("both", "worse", "better", "neither"))
    return {
        **told.pop("coordinates"),
        "candidate_cell": told.pop("candidate"),
        "baseline_cell": told.pop("baseline"),
        "candidate": candidate,
        "baseline": comparison.baseline,
        **told,
        **{f"pairs_{name}": count for name, count in pairs.items()},
    }
