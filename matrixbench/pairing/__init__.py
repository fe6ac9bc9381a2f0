"""From an experiment and its store to a comparison.

`sides` reads what was measured, `due` says what should have been, `by_value` pairs the values of an
axis, `by_build` two builds, `looks` remembers at what a gate looked.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from matrixbench.comparison.totals import compare_cells
from matrixbench.comparison.values import MAX_DROP, Look, Missing
from matrixbench.errors import NothingSelectedError, UsageError
from matrixbench.execution.settings import settings_for
from matrixbench.execution.stored import opened
from matrixbench.pairing.by_build import BUILD, by_build
from matrixbench.pairing.by_value import by_value
from matrixbench.pairing.looks import remember as remembered
from matrixbench.pairing.looks import with_looks
from matrixbench.pairing.sides import under_present_builds
from matrixbench.results import results_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from matrixbench.comparison.values import Comparison
    from matrixbench.execution.settings import Settings
    from matrixbench.results import Results
    from matrixbench.spec.load import Experiment
    from matrixbench.store.database import Store

_LOOKS = (Look.ONCE, Look.ANY)
"""What may be asked for."""


def compare(
    experiment: Experiment,
    settings: Settings | None = None,
    *,
    baseline: str,
    where: str | Sequence[str] = (),
    max_drop: float = MAX_DROP,
    missing: str = Missing.WORST,
    look: str | None = None,
    say: Callable[[str], None] = lambda _: None,
) -> Comparison:
    """Return how cells differ that differ only in what `baseline` names.

    Args:
        experiment: The experiment.
        settings: Where the store is; default: `settings_for(experiment)`.
        baseline: `AXIS=VALUE`: each other value of the axis is a candidate. `build=previous`: the
            build before the present one; `build=ID`: the one whose id begins so.
        where: Selector expressions; all must hold, for both sides.
        max_drop: The drop of the mean success ratio that the gate allows, 0 … 1.
        missing: `worst`: trials without a verdict leave the gate undecided where they could change
            what it says. `ignore`: they are left out.
        look: `once`: the gate decides by one look at what is there. `any`: by bets on the rounds
            that are complete, at which one may look as often as one likes. None: by one look where
            all planned trials are there and none was added after a look, else by bets.
        say: Is told how many replies were judged again.

    Raises:
        UsageError: A selector or `baseline` is wrong, or no two cells differ only in it.
        NothingSelectedError: No cell is selected, or nothing has been measured.
        StoreError: The store cannot be read.
    """
    settings = settings or settings_for(experiment)
    with opened(experiment, settings) as store:
        results = results_of(experiment, settings, store, where=where, say=say)
        return compare_results(
            results, store, baseline=baseline, max_drop=max_drop, missing=missing, look=look
        )


def compare_results(
    results: Results,
    store: Store,
    *,
    baseline: str,
    max_drop: float = MAX_DROP,
    missing: str = Missing.WORST,
    look: str | None = None,
    unmeasured: bool = False,
    remember: bool = True,
) -> Comparison:
    """Return the comparison of results that are opened already; see `compare`.

    Args:
        results: The results.
        store: Their store.
        baseline: As for `compare`.
        max_drop: As for `compare`.
        missing: As for `compare`.
        look: As for `compare`.
        unmeasured: Whether a comparison is wanted also where no pair was measured on both sides: a
            gate is undecided then.
        remember: Whether the store keeps that these trials were looked at: where a verdict is
            shown.
    """
    if not 0 <= max_drop <= 1:
        raise UsageError(
            f"a drop of {max_drop:g} is not between 0 and 1", hint="for example --max-drop 0.1"
        )
    if missing not in set(Missing):
        raise UsageError(
            f"«{missing}» is nothing that can be made of missing trials",
            where="--missing",
            hint=f"write {' or '.join(Missing)}",
        )
    if look is not None and look not in _LOOKS:
        raise UsageError(
            f"«{look}» is no way of looking", where="--look", hint=f"write {' or '.join(_LOOKS)}"
        )
    axis, value = _named(baseline)
    results = under_present_builds(results)
    if axis == BUILD:
        candidates, told = by_build(results, store, value)
    else:
        candidates, told = by_value(results, store, axis, value)
    candidates = with_looks(candidates, store)
    comparison = compare_cells(
        candidates,
        experiment=results.experiment,
        axis=axis,
        baseline=told,
        max_drop=max_drop,
        missing=Missing(missing),
        look=None if look is None else Look(look),
    )
    if not unmeasured and not any(
        cell.trials[0] for found in comparison.candidates for cell in found.cells
    ):
        raise NothingSelectedError(
            "no pair of cells has been measured on both sides",
            hint="run the rest first: matrixbench execute --resume",
        )
    return remembered(comparison, candidates, store) if remember else comparison


def _named(baseline: str) -> tuple[str, str]:
    axis, sign, value = (part.strip() for part in baseline.partition("="))
    if not sign or not axis or not value:
        raise UsageError(
            f"«{baseline}» names no baseline",
            where="--baseline",
            hint="write AXIS=VALUE, for example --baseline backend=baseline or build=previous",
        )
    return axis, value
