"""A comparison as plain data, for JSON and for tables."""

from __future__ import annotations

from typing import TYPE_CHECKING

from matrixbench.stats.power import POWER

if TYPE_CHECKING:
    from matrixbench.comparison.values import (
        Anytime,
        CandidateResult,
        CellResult,
        Comparison,
        Count,
        Deterministic,
        Extreme,
        Gate,
        Looked,
        Overall,
        Trials,
    )
    from matrixbench.records import JsonObject
    from matrixbench.stats.paired import Pairs
    from matrixbench.stats.power import Sides
    from matrixbench.stats.proportions import Interval


def comparison_json(comparison: Comparison) -> JsonObject:
    """Return a comparison as data.

    Ratios, differences (candidate less baseline), drops and p-values are between −1 and 1; `low`
    and `high` are the ends of 95 % intervals, null where there is no chance; counts are counts.
    `check_raised` is a part of `errored`; `missing` is what was due and has no verdict. Every `p`
    is of one test alone, every `p_holm` the same after Holm's correction: of cells over the cells
    of all candidates, of tests over theirs, of `overall` over all candidates. `detectable_drop` is
    what the test of that `p` shows in 80 % of runs.
    """
    return {
        "experiment": comparison.experiment,
        "axis": comparison.axis,
        "baseline": comparison.baseline,
        "verdict": comparison.verdict.value,
        "missing": comparison.missing.value,
        "look_remembered": comparison.remembered,
        "candidates": [_candidate(candidate) for candidate in comparison.candidates],
    }


def _candidate(candidate: CandidateResult) -> JsonObject:
    up, down = candidate.without_partner
    return {
        "candidate": candidate.name,
        "gate": _gate(candidate.gate),
        "overall": None if candidate.overall is None else _overall(candidate.overall),
        "power": None if candidate.sides is None else power_json(candidate.sides),
        "certain": _certain(candidate.certain),
        "trials": {
            "candidate": _count(candidate.counts[0]),
            "baseline": _count(candidate.counts[1]),
        },
        "not_comparable": candidate.not_comparable,
        "without_partner": {"candidate": up, "baseline": down},
        "tests": [
            {
                "test": test.test,
                "overall": None if test.overall is None else _overall(test.overall),
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
        "looked": None if gate.looked is None else _looked(gate.looked),
    }


def _anytime(anytime: Anytime) -> JsonObject:
    return {
        "verdict": anytime.verdict.value,
        "rounds": anytime.rounds,
        "tests": anytime.tests,
        "difference": anytime.difference.estimate,
        **_ends(anytime.difference.interval),
        "decided_after": anytime.decided_after,
        "together": anytime.together,
        "rounds_to_decide": anytime.rounds_to_decide,
    }


def _looked(looked: Looked) -> JsonObject:
    return {
        "trials": looked.trials,
        "max_drop": looked.max_drop,
        "verdict": looked.verdict.value,
        "at": looked.at,
    }


def _count(count: Count) -> JsonObject:
    return {
        "due": count.due,
        "counted": count.counted,
        "rejected": count.rejected,
        "errored": count.errored,
        "check_raised": count.raised,
        "never_asked": count.never_asked,
        "without_partner": count.without_partner,
        "missing": count.missing,
    }


def _extreme(extreme: Extreme) -> JsonObject:
    overall = extreme.overall
    return {
        "verdict": extreme.verdict.value,
        "candidate_ratio": None if overall is None else overall.ratios[0],
        "baseline_ratio": None if overall is None else overall.ratios[1],
        "difference": None if overall is None else overall.difference.estimate,
        "low": None if overall is None else overall.difference.interval.low,
        "high": None if overall is None else overall.difference.interval.high,
        "p": None if overall is None else overall.p,
        "certain": _certain(extreme.certain),
    }


def _overall(overall: Overall) -> JsonObject:
    return {
        "candidate_ratio": overall.ratios[0],
        "baseline_ratio": overall.ratios[1],
        "difference": overall.difference.estimate,
        **_ends(overall.difference.interval),
        "across_tests": None if overall.across_tests is None else _ends(overall.across_tests),
        "p": overall.p,
        "p_holm": overall.p_holm,
        "cells": overall.cells,
        "tests": overall.tests,
        "candidate_trials": overall.trials[0],
        "baseline_trials": overall.trials[1],
        "pairs": _pairs(overall.pairs) if overall.pairs.n else None,
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
    sampled = cell.has_interval
    return {
        "coordinates": cell.pair.coordinates,
        "candidate": cell.pair.candidate.cell,
        "candidate_build": cell.pair.candidate.build,
        "baseline": cell.pair.baseline.cell,
        "baseline_build": cell.pair.baseline.build,
        "candidate_unverified": cell.pair.candidate.unverified or None,
        "baseline_unverified": cell.pair.baseline.unverified or None,
        "candidate_seeds_ignored": cell.pair.candidate.seeds_ignored or None,
        "baseline_seeds_ignored": cell.pair.baseline.seeds_ignored or None,
        "basis": cell.basis.value,
        "candidate_trials": cell.trials[0],
        "baseline_trials": cell.trials[1],
        **_lacking("candidate", cell.pair.candidate),
        **_lacking("baseline", cell.pair.baseline),
        "difference": None if cell.difference is None else cell.difference.estimate,
        "low": cell.difference.interval.low if cell.difference and sampled else None,
        "high": cell.difference.interval.high if cell.difference and sampled else None,
        "pairs": None if cell.pairs is None else _pairs(cell.pairs),
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


def _pairs(pairs: Pairs) -> JsonObject:
    return {
        "both": pairs.both,
        "worse": pairs.worse,
        "better": pairs.better,
        "neither": pairs.neither,
    }


def _ends(interval: Interval) -> JsonObject:
    return {"low": interval.low, "high": interval.high}


def comparison_rows(comparison: Comparison) -> list[JsonObject]:
    """Return one flat row a pair of cells: the axes, then the numbers of `comparison_json`.

    `candidate` and `baseline` are what is compared, `candidate_cell` and `baseline_cell` the ids.
    """
    return [
        _row(comparison, candidate.name, cell)
        for candidate in comparison.candidates
        for cell in candidate.cells
    ]


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
