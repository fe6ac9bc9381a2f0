"""Results as pandas tables, one row a cell or a trial, and what stands in their columns."""

from __future__ import annotations

import re
from contextlib import contextmanager
from math import nan
from typing import TYPE_CHECKING, Any

from matrixbench.errors import UsageError
from matrixbench.plan.builds import build_labels
from matrixbench.results.experiment import open_results
from matrixbench.results.tally import (
    CellStatus,
    IntervalKind,
    most_at_a_time,
    not_applicable,
    plain,
    summary,
)
from matrixbench.spec.axes import axes_that, label
from matrixbench.spec.experiment import ChosenInterval
from matrixbench.spec.load import Experiment
from matrixbench.stats.clustered import pass_at_k, pass_hat_k

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from pandas import DataFrame

    from matrixbench.execution.canary import LaunchKey
    from matrixbench.execution.settings import Settings
    from matrixbench.plan.cells import NotApplicable
    from matrixbench.records import Build
    from matrixbench.results.experiment import Results
    from matrixbench.results.tally import ResultCell, Tally
    from matrixbench.spec.axes import Coordinates
    from matrixbench.store.rows import TrialRow

COLUMNS: Mapping[str, str] = {
    "cell": "The cell's id; missing where the cell is not applicable.",
    "build": "The id of the build whose trials are shown; missing where there is none yet.",
    "unverified": "Why that build may not be what the backend has now; missing where it is, and "
    "where there is no trial.",
    "launches": "Numbers of the launches that its trials ran in, with spaces between; `show "
    "--launch` prints what those were; missing where there is no trial.",
    "status": "measured, partial, empty (no trial counts yet) or not_applicable.",
    "reason": "Why the cell is not applicable; missing otherwise.",
    "hint": "The way out where the cell is not applicable; missing otherwise.",
    "greedy": "Whether the sampling is greedy, so that repeats say nothing new.",
    "by_request": "Whether the request alone decides: one trial stands for the cell.",
    "planned": "How many trials the cell should have; where `trials` is adaptive, at most.",
    "stopped": "Whether fewer than planned are enough: `trials` is adaptive, and the interval is "
    "as narrow as asked.",
    "adaptive": "Whether the number of trials depends on what came out: then the success ratio, "
    "pass@k and pass^k lean outward a little (the interval allows for it).",
    "trials": "How many trials count (n): passed, failed and rejected ones.",
    "draws": "How many draws they are worth: as many, but 1 where the launch is shown to ignore "
    "seeds. The interval, pass@k and pass^k rest on these.",
    "passed": "Trials in which every check passed.",
    "failed": "Trials in which the model answered and a check said no, or time ran out.",
    "rejected": "Trials that the server could not turn into a reply; they count.",
    "errored": "Trials in which nothing was measured; they do not count.",
    "success_ratio": "passed / trials, between 0 and 1; missing where no trial counts.",
    "low": "Lower end of the 95 % interval; 0 where no trial counts; missing where repeats "
    "say nothing new (greedy, by_request) and where the cell is not applicable.",
    "high": "Upper end of the same interval; 1 where no trial counts.",
    "interval": "Which interval it is: wilson, or jeffreys or exact where one asked for it; where "
    "`trials` is adaptive sequential, which holds however often one looks; missing where there is "
    "none.",
    "shared_luck": "Where other tests have the same seeds, so that their outcomes go together: the "
    "seed of trial 0, a colon, and for each trial 1 (passed), 0 (not) or - (does not count); "
    "missing where the test has seeds of its own.",
    "success_ratio_without_rejected": "passed / (passed + failed), between 0 and 1: rejected "
    "trials left out; missing where there is none of either.",
    "score": "Mean of the scores that checks gave, between 0 and 1; missing where none gives one.",
    "distinct": "How many different replies the trials that count gave.",
    "one_reply": "Whether several trials gave one and the same reply although their sampling is "
    "not greedy: the cell may have been measured once.",
    "seeds_ignored": "What shows that the launch ignores seeds, so that all trials of the cell are "
    "one draw; missing where nothing does, and where repeats say nothing new anyway.",
    "reasoning_in_content": "How many of the trials that count left reasoning in the content, also "
    "where it was taken apart.",
    "call_in_content": "How many of the trials that count wrote a call into the content.",
    "top_kind": "The most frequent kind of failure; of errors only where nothing else failed.",
    "top_count": "How many trials are of that kind.",
    "top_reason": "The most frequent reason of that kind.",
    "speed_trials": "How many trials times and rates are of: those that count and ran under the "
    "cell's own load; by_request ones, which no model answered, left out.",
    "concurrency_in_force": "How many requests at a time the server was sent in these; missing "
    "where that is not known.",
    "speed_reason": "Why there are no times and rates although trials count: they ran under "
    "another load; missing otherwise.",
    "latency_p50_s": "Median latency of these trials, in seconds.",
    "latency_p90_s": "90th percentile of the same latencies, in seconds, linearly interpolated.",
    "time_to_first_token_p50_s": "Median time to the first token, in seconds.",
    "time_to_first_token_p90_s": "90th percentile of the time to the first token, in seconds.",
    "token_gap_p50_s": "Median over trials of the median time between tokens of a streamed reply, "
    "in seconds; missing where none was streamed.",
    "token_gap_p90_s": "90th percentile over trials of the same medians, in seconds.",
    "token_gap_max_p50_s": "Median over trials of the longest time between tokens of a streamed "
    "reply, in seconds.",
    "token_gap_max_p90_s": "90th percentile over trials of the same longest times, in seconds.",
    "prompt_tokens_per_s": "Median rate of prompt processing, in tokens per second.",
    "prompt_tokens_per_s_p90": "90th percentile of the same rates: one trial in ten is faster.",
    "completion_tokens_per_s": "Median rate of completion tokens, in tokens per second.",
    "completion_tokens_per_s_p90": "90th percentile of the same rates: one trial in ten is faster.",
    "completion_tokens": "Median number of completion tokens.",
    "computed_tokens": "Median number of prompt tokens that the server computed, those from its "
    "cache left out; missing where it does not say.",
    "cached_share": "Which share of all prompt tokens came from the server's cache, between 0 and "
    "1: times and rates of the prompt rest on the others alone.",
    "draft_accepted_share": "Which share of all drafted tokens the model took, between 0 and 1; "
    "missing where nothing was drafted.",
}
"""What stands in each column of `cell_frame` that is not an axis, in the columns' order."""

TRIAL_COLUMNS: Mapping[str, str] = {
    "cell": "The cell's id.",
    "build": "The id of the build that ran.",
    "unverified": "Why that build may not be what the backend has now; missing where it is.",
    "trial": "The trial's index in its cell, from 0.",
    "seed": "The seed that was sent.",
    "outcome": "passed, failed, rejected or errored.",
    "kind": "The kind of the failure; missing for a trial that passed.",
    "reason": "The failure's reason, one line.",
    "by_request": "Whether the request alone decided the outcome.",
    "score": "Mean of the scores that its checks gave, between 0 and 1; missing where none does.",
    "noted": "What was noticed of the reply whatever its checks say: reasoning_in_content, "
    "call_in_content or both; missing where nothing was.",
    "turns": "Requests that were sent: 1, and in a conversation one for each reply.",
    "asked": "How often they were sent: more than `turns` where one was sent again; missing in "
    "trials that an older version stored.",
    "asked_again": "Why they were sent again: the kind of each answer before the one that counts "
    "(`reply` where it was one), with spaces between; missing otherwise.",
    "latency_s": "From the first byte sent to the last byte received, in seconds.",
    "time_to_first_token_s": "Time to the first token, in seconds.",
    "prompt_tokens": "Number of prompt tokens.",
    "completion_tokens": "Number of completion tokens.",
    "prompt_tokens_per_s": "Rate of prompt processing, in tokens per second.",
    "completion_tokens_per_s": "Rate of completion tokens, in tokens per second.",
    "token_gap_p50_s": "Median time between two tokens of a streamed reply, in seconds.",
    "token_gap_max_s": "Longest time between two tokens of a streamed reply, in seconds.",
    "cached_tokens": "Prompt tokens that came from the server's cache; of a conversation all "
    "requests' together, as the counts and times below.",
    "computed_tokens": "Prompt tokens that the server computed.",
    "cached_share": "cached_tokens / (cached_tokens + computed_tokens), between 0 and 1.",
    "prompt_s": "How long the server says that it took to compute them, in seconds.",
    "predicted_tokens": "Tokens that the server says it wrote, in predicted_s.",
    "predicted_s": "How long the server says that writing took, in seconds.",
    "draft_tokens": "Tokens that a draft (speculative decoding) proposed.",
    "draft_accepted_tokens": "Those of them that the model took.",
    "draft_accepted_share": "draft_accepted_tokens / draft_tokens, between 0 and 1.",
    "reasoning_tokens": "Completion tokens that were reasoning.",
    "accepted_prediction_tokens": "Tokens of a predicted output that were taken.",
    "rejected_prediction_tokens": "Tokens of a predicted output that were not.",
    "load": "What its launch was set to: c8s4 is 8 requests at a time to a server of 4 slots; "
    "missing where that is not known.",
    "concurrency_in_force": "How many requests at a time its server was sent; missing where that "
    "is not known.",
    "reply_model": "The model's name as the reply bore it.",
    "fingerprint": "The server's fingerprint as the reply bore it.",
    "reply_digest": "Digest of the reply: equal replies have equal digests.",
    "launch": "Number of the launch that it ran in; `show --launch` prints what that was.",
    "imported": "Whether another tool measured it.",
}
"""What stands in each column of `trial_frame` that is not an axis, in the columns' order."""

_PASS_COLUMN = re.compile(r"pass_(at|hat)_\d+")


def pass_columns(k: int) -> Mapping[str, str]:
    """Return what stands in the two columns of `with_pass_k`."""
    return {
        f"pass_at_{k}": f"pass@{k}: the chance that at least one of {k} attempts passes; missing "
        "where n < k.",
        f"pass_hat_{k}": f"pass^{k}: the chance that all of {k} attempts pass; missing where "
        "n < k.",
    }


def is_pass_column(name: str) -> bool:
    """Return whether a column is one of `pass_columns`."""
    return _PASS_COLUMN.fullmatch(name) is not None


DEFAULT_K = (5,)
"""For which numbers of attempts where nobody says."""

LEANS = "~"
"""Stands before a pass@k or pass^k that leans outward, since the cell's trials are adaptive."""


def with_pass_k(frame: DataFrame, ks: Sequence[int] = DEFAULT_K) -> DataFrame:
    """Return a cell frame with the columns `pass_at_K` and `pass_hat_K` for each k, at its end.

    Raises:
        ValueError: A k is below 1.
    """
    wider = frame.copy()
    counts = list(zip(frame["passed"], frame["trials"], frame["draws"], strict=True))
    for k in dict.fromkeys(ks):
        found = [pass_k(int(passed), int(n), int(draws), k) for passed, n, draws in counts]
        for place, name in enumerate(pass_columns(k)):
            wider[name] = [nan if both[place] is None else both[place] for both in found]
    wider.attrs = frame.attrs
    return wider


def pass_k(passed: int, n: int, draws: int, k: int) -> tuple[float | None, float | None]:
    """Return pass@k and pass^k of `n` trials; None where there are fewer draws than attempts.

    Args:
        draws: How many draws they are: n, or 1 where all of them are one.
    """
    if draws == n:
        return pass_at_k(passed, n, k), pass_hat_k(passed, n, k)
    return (passed / n, passed / n) if k == 1 else (None, None)


AXES_ATTR = "axes"
"""Key of `DataFrame.attrs`: axis → the labels of its values, in the file's order."""

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


@contextmanager
def opened(
    source: Experiment | Results,
    settings: Settings | None = None,
    where: str | Sequence[str] = (),
    say: Callable[[str], None] = lambda _: None,
) -> Iterator[Results]:
    """Yield results that are open already as they are, else those of an experiment, and close them.

    Raises:
        UsageError: Results are to be selected a second time.
    """
    if isinstance(source, Experiment):
        with open_results(source, settings, where=where, say=say) as results:
            yield results
    elif settings is not None or where:
        raise UsageError(
            "results are selected where they are opened",
            where=source.experiment,
            hint="give `settings` and `where` to open_results, or the experiment instead",
        )
    else:
        yield source


def cell_frame(
    source: Experiment | Results,
    settings: Settings | None = None,
    *,
    where: str | Sequence[str] = (),
    by_build: bool = False,
    ks: Sequence[int] = (),
    interval: str = IntervalKind.WILSON,
    say: Callable[[str], None] = lambda _: None,
) -> DataFrame:
    """Return one row a cell, under the builds that are there now or were last.

    The columns are the axes, then those that `COLUMNS` explains, with their units. Replies whose
    checks have changed are judged again first.

    Args:
        source: The experiment, or its results, open already.
        settings: Where an experiment's store is; default: `settings_for(experiment)`.
        where: Selector expressions, of an experiment; all must hold.
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
    with opened(source, settings, where, say) as opened_results:
        results = opened_results.by_build() if by_build else opened_results
        results.demand_trials()
        frame = frame_of(results, interval=kind)
    return with_pass_k(frame, ks) if ks else frame


def frame_of(results: Results, *, interval: IntervalKind = IntervalKind.WILSON) -> DataFrame:
    """Return what `cell_frame` does, also where nothing has been measured."""
    frame = tabulated(
        results.tallies,
        results.not_applicable,
        seeds_ignored=results.seeds_ignored,
        interval=interval,
    )
    frame.attrs = {
        AXES_ATTR: {axis: [label(value) for value in found] for axis, found in results.axes.items()}
    }
    if results.split and results.store is not None:
        frame = _with_labels(frame, results, results.store.builds())
    frame.attrs[NAME_ATTR] = results.experiment
    return frame


def tabulated(
    tallies: Mapping[ResultCell, Tally],
    aside: Iterable[NotApplicable] = (),
    *,
    seeds_ignored: Mapping[LaunchKey, str] | None = None,
    interval: IntervalKind = IntervalKind.WILSON,
) -> DataFrame:
    """Return one row a cell: its axes, then `COLUMNS`; those that apply first.

    An axis that a cell lacks, and a null one, are None.
    """
    lacking = list(aside)
    in_force = most_at_a_time((cell, tally.speeds.groups) for cell, tally in tallies.items())
    records = [
        summary(
            cell,
            tally,
            in_force=in_force.get((cell.launch, cell.build)),
            seeds_ignored=(seeds_ignored or {}).get(cell.key, ""),
            interval=interval,
        )
        for cell, tally in tallies.items()
    ]
    records += [not_applicable(cell) for cell in lacking]
    return _frame(
        [*(cell.coordinates for cell in tallies), *(cell.coordinates for cell in lacking)],
        {name: [record[name] for record in records] for name in COLUMNS},
    )


def trial_frame(
    source: Experiment | Results,
    settings: Settings | None = None,
    *,
    where: str | Sequence[str] = (),
    say: Callable[[str], None] = lambda _: None,
) -> DataFrame:
    """Return one row a trial: the newest attempt of each, oldest first.

    The columns are the axes, then those that `TRIAL_COLUMNS` explains, with their units. A trial
    that several cells share (two backends of one build) has a row for each of them. Arguments and
    errors are those of `cell_frame`; a selection of which nothing has been measured is an empty
    frame.
    """
    with opened(source, settings, where, say) as results:
        frame = tabulated_trials(results.rows())
    frame.attrs[NAME_ATTR] = results.experiment
    return frame


def tabulated_trials(rows: Iterable[tuple[ResultCell, TrialRow]]) -> DataFrame:
    """Return one row a trial: its cell's axes, then `TRIAL_COLUMNS`."""
    found = list(rows)
    columns = {
        name: [_of_trial(trial, name) for _, trial in found]
        for name in TRIAL_COLUMNS
        if name != "unverified"
    }
    # It is known of the cell: one build may be a guess for one launch, and read of another.
    columns["unverified"] = [cell.unverified or None for cell, _ in found]
    return _frame(
        [cell.coordinates for cell, _ in found], {name: columns[name] for name in TRIAL_COLUMNS}
    )


def _of_trial(trial: TrialRow, name: str) -> object:
    value = plain(getattr(trial, name))
    return None if name == "noted" and value == "" else value


def axes_of(frame: DataFrame) -> list[str]:
    """Return the names of the columns that are axes, in the order of the columns."""
    return [
        str(name)
        for name in frame.columns
        if name not in COLUMNS and name not in TRIAL_COLUMNS and not is_pass_column(str(name))
    ]


_AS_THEY_ARE = frozenset(
    {
        *(
            "cell",
            "build",
            "unverified",
            "launches",
            "reason",
            "hint",
            "interval",
            "load",
            "shared_luck",
        ),
        *("speed_reason", "concurrency_in_force", "reply_model", "fingerprint"),
        *("top_kind", "top_reason", "kind", "noted", "reply_digest", "asked_again"),
        "seeds_ignored",
    }
)
"""Columns that may hold None, which must stay None and not become NaN."""


def _frame(coordinates: Sequence[Coordinates], columns: Mapping[str, list[Any]]) -> DataFrame:
    import pandas as pd

    axes = dict.fromkeys(axis for point in coordinates for axis in point)
    table = {
        # Values stay what the file says: 0 is not 0.0, null is not NaN.
        **{axis: pd.Series([p.get(axis) for p in coordinates], dtype=object) for axis in axes},
        **{
            name: pd.Series(values, dtype=object if name in _AS_THEY_ARE else None)
            for name, values in columns.items()
        },
    }
    return pd.DataFrame(table, columns=list(table))


def _with_labels(frame: DataFrame, results: Results, builds: Mapping[str, Build]) -> DataFrame:
    """Return a cell frame whose column `build` holds labels, present builds first, then newest.

    A cell that is not applicable is so under every build: it comes once for each build of its
    backend.

    Args:
        builds: Build id → build, oldest first.
    """
    shown = frame[frame["build"].notna()]
    pairs = list(zip(shown["cell"], shown["build"], strict=True))
    labels = build_labels(pairs, builds)
    split = frame.copy()
    split["build"] = [labels.get(build) for build in frame["build"]]
    split = _not_applicable_everywhere(split)
    present = [] if results.prepared is None else results.prepared.plan.launches
    ids = [plan.build.build.id for plan in present if plan.build.build is not None]
    ordered = [
        labels[build] for build in (*ids, *reversed(list(builds)), *labels) if build in labels
    ]
    split.attrs = {
        AXES_ATTR: {**frame.attrs.get(AXES_ATTR, {}), "build": list(dict.fromkeys(ordered))}
    }
    return split


def _not_applicable_everywhere(frame: DataFrame) -> DataFrame:
    aside = frame["status"] == CellStatus.NOT_APPLICABLE.value
    axes = axes_that(lambda axis: axis.sets_build and axis.name in frame.columns)
    if not aside.any() or not axes:
        return frame
    servers = list(zip(*(frame[axis] for axis in axes), strict=True))
    known: dict[tuple[object, ...], dict[str, None]] = {}
    for server, build in zip(servers, frame["build"], strict=True):
        if isinstance(build, str):  # pandas may have made NaN of None
            known.setdefault(server, {})[build] = None
    split = frame.copy()
    split["build"] = [
        list(known.get(server, [None])) if apart else [build]
        for server, build, apart in zip(servers, frame["build"], aside, strict=True)
    ]
    return split.explode("build", ignore_index=True)
