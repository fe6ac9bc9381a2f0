"""What an experiment's store holds, as tables: the way from a file to its frames."""

from __future__ import annotations

from typing import TYPE_CHECKING

from matrixbench.errors import UsageError
from matrixbench.results.experiment import results_of, split_by_build
from matrixbench.results.tables import with_pass_k
from matrixbench.results.tally import IntervalKind
from matrixbench.run.judging import nothing_measured, opened
from matrixbench.run.settings import settings_for
from matrixbench.spec.experiment import ChosenInterval

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pandas import DataFrame

    from matrixbench.run.settings import Settings
    from matrixbench.spec.load import Experiment

NAME_ATTR = "experiment"
"""Key of `DataFrame.attrs`: the experiment's name."""


def chosen_interval(name: str) -> IntervalKind:
    """Return the interval of a name, of those that one can choose.

    Raises:
        UsageError: There is none of this name.
    """
    if name not in {known.value for known in ChosenInterval}:
        raise UsageError(
            f"there is no interval «{name}»",
            where="--interval",
            hint=f"write {' or '.join(ChosenInterval)}; adaptive trials have their own",
        )
    return IntervalKind(name)


def cell_frame(
    experiment: Experiment,
    settings: Settings | None = None,
    *,
    where: str | Sequence[str] = (),
    by_build: bool = False,
    ks: Sequence[int] = (),
    interval: str = IntervalKind.WILSON,
    say: Callable[[str], None] = lambda _: None,
) -> DataFrame:
    """Return one row a cell of an experiment, under the builds that are there now or were last.

    The columns are the axes, then those that `matrixbench.frame.COLUMNS` explains, with their
    units. Replies whose checks have changed are judged again first.

    Args:
        experiment: The experiment.
        settings: Where the store is; default: `settings_for(experiment)`.
        where: Selector expressions; all must hold.
        by_build: Whether a cell has a row for each build that it has trials under, and the column
            `build` holds short labels instead of ids.
        ks: For each k, columns `pass_at_K` and `pass_hat_K` are added.
        interval: Which 95 % interval cells have whose number of trials is fixed: wilson, jeffreys
            or exact.
        say: Is told how many replies were judged again, and which builds are shown.

    Raises:
        UsageError: A selector is wrong, or there is no such interval.
        NothingSelectedError: No cell is selected, or none has been measured.
        StoreError: The store cannot be read.
    """
    kind = chosen_interval(interval)
    settings = settings or settings_for(experiment)
    with opened(experiment, settings) as store:
        results = results_of(experiment, settings, store, where=where, say=say, by_build=by_build)
        frame = results.frame(store, interval=kind)
        if by_build:
            frame = split_by_build(frame, results, store.builds())
    if not frame["trials"].any() and not frame["errored"].any():
        raise nothing_measured(experiment, settings)
    frame.attrs[NAME_ATTR] = experiment.file.name
    return with_pass_k(frame, ks) if ks else frame


def trial_frame(
    experiment: Experiment,
    settings: Settings | None = None,
    *,
    where: str | Sequence[str] = (),
    say: Callable[[str], None] = lambda _: None,
) -> DataFrame:
    """Return one row a trial of an experiment: the newest attempt of each, oldest first.

    The columns are the axes, then those that `matrixbench.frame.TRIAL_COLUMNS` explains, with
    their units. Arguments and errors are those of `cell_frame`; a selection of which nothing has
    been measured is an empty frame.
    """
    settings = settings or settings_for(experiment)
    with opened(experiment, settings) as store:
        results = results_of(experiment, settings, store, where=where, say=say)
        frame = results.trials_frame(store)
    frame.attrs[NAME_ATTR] = experiment.file.name
    return frame
