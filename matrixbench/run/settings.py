"""Where a run keeps things, what it is asked to do, and what came out of it."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field, replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING

from matrixbench.errors import ExitCode, UsageError
from matrixbench.records import Kind, Outcome

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from matrixbench.records import Judgement
    from matrixbench.spec.load import Experiment

STORE_VARIABLE = "MATRIXBENCH_STORE"
CACHE_VARIABLE = "MATRIXBENCH_CACHE"


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What a run needs to know of its surroundings.

    Args:
        store: The store's file.
        cache: The folder for models from packages and for files' digests, shared by all runs.
        environ: The environment variables.
        here: The folder of the experiment file.
    """

    store: Path
    cache: Path
    environ: Mapping[str, str] = field(repr=False)
    here: Path | None = None


def settings_for(
    experiment: Experiment,
    environ: Mapping[str, str] | None = None,
    *,
    store: str | Path | None = None,
) -> Settings:
    """Return the settings for an experiment, as `settings_in` its file's folder.

    Without `environ` its own environment counts, in which it was loaded.
    """
    environ = experiment.environ if environ is None else environ
    return settings_in(experiment.path.parent, environ, store=store)


def settings_in(
    folder: Path, environ: Mapping[str, str], *, store: str | Path | None = None
) -> Settings:
    """Return the settings for experiments in a folder.

    The store is the one named, else `$MATRIXBENCH_STORE`, else `.matrixbench/results.db` in
    the folder; the cache `$MATRIXBENCH_CACHE`, else the user's cache folder.
    """
    from platformdirs import user_cache_path  # noqa: PLC0415  only where a run needs it

    named = environ.get(STORE_VARIABLE)
    beside = folder / ".matrixbench" / "results.db"
    cache = environ.get(CACHE_VARIABLE)
    return Settings(
        store=Path(store or (Path(named).expanduser() if named else beside)).absolute(),
        cache=Path(cache).expanduser() if cache else user_cache_path("matrixbench"),
        environ=environ,
        here=folder,
    )


_NUMBERS = re.compile(r"\d+")
"""Reasons that differ in the number of tokens alone are one."""


class Mode(StrEnum):
    """What a run does with trials that are already there."""

    NEW = "new"
    RESUME = "resume"
    FRESH = "fresh"


def mode_of(name: Mode | str) -> Mode:
    """Return the mode of a name.

    Raises:
        UsageError: There is none.
    """
    try:
        return Mode(name)
    except ValueError:
        raise UsageError(f"there is no mode «{name}»", hint=f"modes: {', '.join(Mode)}") from None


@dataclass(frozen=True, slots=True, kw_only=True)
class Rejection:
    """Why trials were rejected: those of one kind whose reasons differ in numbers alone.

    Args:
        kind: The kind.
        reason: One of the reasons.
        trials: How many trials.
    """

    kind: str
    reason: str
    trials: int


class Rejections:
    """Counts why trials are rejected."""

    def __init__(self) -> None:
        self._counted: Counter[tuple[str, str]] = Counter()
        self._reasons: dict[tuple[str, str], str] = {}

    def add(self, kind: str, reason: str) -> None:
        """Count a trial."""
        key = (kind, _NUMBERS.sub("#", reason))
        self._counted[key] += 1
        self._reasons.setdefault(key, reason)

    def most_frequent(self) -> tuple[Rejection, ...]:
        """Return what was counted, the most frequent first."""
        return tuple(
            Rejection(kind=key[0], reason=self._reasons[key], trials=count)
            for key, count in self._counted.most_common()
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSummary:
    """What a run measured.

    Args:
        experiment: The experiment's name.
        store: The store's file.
        ran: Trials that this run stored.
        outcomes: Outcome → how many of them.
        remaining: Trials that still have to run.
        failed_launches: Launch → why it was given up.
        errors: Kind of what could not be measured → how many, and the newest reason.
        rejections: Why trials were rejected, the most frequent first.
        stopped: Cells that had enough trials before they had all.
        spared: Trials that were not sent for that.
        decided: What the gate that ends the run said in the end; empty where there is none, or it
            is undecided.
        undecided: Why it ended though such a gate is undecided, and what to do.
        interrupted: Whether the user stopped it.
        seconds: How long it took.
    """

    experiment: str
    store: Path | None
    ran: int
    outcomes: Mapping[Outcome, int]
    remaining: int
    failed_launches: Mapping[str, str] = field(default_factory=dict)
    errors: Mapping[str, tuple[int, str]] = field(default_factory=dict)
    rejections: tuple[Rejection, ...] = ()
    stopped: int = 0
    spared: int = 0
    decided: str = ""
    undecided: str = ""
    interrupted: bool = False
    seconds: float = 0.0

    @property
    def most(self) -> int:
        """How many trials it would have been without stopping early."""
        return self.ran + self.spared + self.remaining

    def settled(self, judgements: Sequence[Judgement]) -> RunSummary:
        """Return the summary once trials that waited for another cell's replies are judged.

        Args:
            judgements: What was made of each; they were `errored` until then.
        """
        outcomes = Counter(self.outcomes)
        outcomes[Outcome.ERRORED] -= len(judgements)
        outcomes.update(judgement.outcome for judgement in judgements)
        errors = {kind: said for kind, said in self.errors.items() if kind != Kind.NO_REFERENCE}
        for judgement in judgements:
            if judgement.outcome is Outcome.ERRORED and judgement.kind is Kind.NO_REFERENCE:
                count, _ = errors.get(Kind.NO_REFERENCE, (0, ""))
                errors[Kind.NO_REFERENCE] = (count + 1, judgement.reason)
        return replace(self, outcomes=dict(+outcomes), errors=errors)

    @property
    def exit_code(self) -> ExitCode:
        """What the process should tell the shell."""
        if self.interrupted:
            return ExitCode.INTERRUPTED
        errored = self.outcomes.get(Outcome.ERRORED, 0)
        if self.failed_launches and self.ran == errored:
            return ExitCode.NO_SERVER
        return ExitCode.PARTIAL if self.failed_launches or errored else ExitCode.DONE
