"""An experiment's file and its results, found by what was typed and opened."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from matrixbench.cli.shared import File, SeedOffset, StorePath, Target, Where, say
from matrixbench.cli.trust import Trusting, to_look
from matrixbench.errors import UsageError
from matrixbench.execution.settings import STORE_VARIABLE, settings_for
from matrixbench.results.experiment import open_recorded, open_results
from matrixbench.results.tables import DEFAULT_K
from matrixbench.spec.load import load_experiment

if TYPE_CHECKING:
    from matrixbench.execution.settings import Settings
    from matrixbench.results.experiment import Results
    from matrixbench.spec.load import Experiment

MOST_ATTEMPTS = 100_000
"""As many as a cell can have."""

_SUFFIXES = {".yaml", ".yml"}


@dataclass(frozen=True, slots=True, kw_only=True)
class OfFile:
    """Cells of an experiment's file, and the store that they are in."""

    file: File
    where: Where = None
    seed_offset: SeedOffset = 0
    store: StorePath = None
    trust: Trusting = False

    def load(self) -> Experiment:
        """Return the experiment, its seed higher by the offset; raises as `load`."""
        return load(self.file, self.seed_offset)

    def to_look(self, experiment: Experiment) -> Settings:
        """Return the settings of a command that only looks."""
        return to_look(experiment, settings_of(experiment, self.store), trust=self.trust)


@dataclass(frozen=True, slots=True, kw_only=True)
class OfFileOrStore:
    """Cells of an experiment that is named by its file, or by its name in the store."""

    target: Target
    where: Where = None
    seed_offset: SeedOffset = 0
    store: StorePath = None
    trust: Trusting = False

    @property
    def is_file(self) -> bool:
        """Whether the target means a file and not a name in the store."""
        path = Path(self.target)
        return path.is_file() or path.suffix in _SUFFIXES or len(path.parts) > 1

    def load(self) -> Experiment:
        """Return the experiment of the file, its seed higher by the offset; raises as `load`."""
        return load(Path(self.target), self.seed_offset)

    def named_store(self) -> Path:
        """Return the store in which the target is a name.

        Raises:
            UsageError: A seed offset was given: the name means the seeds that ran last.
        """
        if self.seed_offset:
            raise UsageError(
                "--seed-offset needs the experiment's file",
                where=self.target,
                hint="by its name an experiment is shown with the seeds that it ran with last",
            )
        return store_here(self.store)

    def results(self, *, again: bool = False) -> Results:
        """Open the selected results, which close their store; `again` asks and says nothing new.

        Raises:
            SpecError: The file is wrong.
            UsageError: There is no such experiment, a selector is wrong, or a name in the store was
                given a seed offset.
            NothingSelectedError: No cell is selected, or there is no store yet.
            StoreError: The store cannot be read.
        """
        if not self.is_file:
            return open_recorded(self.target, self.named_store(), where=self.where or ())
        experiment = self.load()
        settings = settings_of(experiment, self.store)
        settings = to_look(experiment, settings, trust=self.trust, quiet=again)
        return open_results(experiment, settings, where=self.where or (), say=say)


def load(file: Path, seed_offset: int = 0) -> Experiment:
    """Return the experiment of a file, seen in this process's environment, its seed so much higher.

    Raises:
        SpecError: The file is wrong.
        UsageError: Its seeds would be larger than the largest.
    """
    experiment = load_experiment(file, environ=os.environ)
    return experiment.with_seed_offset(seed_offset) if seed_offset else experiment


def settings_of(experiment: Experiment, store: Path | None) -> Settings:
    """Return where an experiment keeps things; `store` is the command's option."""
    return settings_for(experiment, os.environ, store=store)


def store_here(store: Path | None) -> Path:
    """Return the store where no experiment file says which: the default is in this folder."""
    named = os.environ.get(STORE_VARIABLE)
    if store is None:
        store = Path(named).expanduser() if named else Path(".matrixbench") / "results.db"
    return store.absolute()


def attempts_of(text: str | None) -> tuple[int, ...]:
    """Return the numbers that `--k` names.

    Raises:
        UsageError: It names something else.
    """
    if text is None:
        return DEFAULT_K
    words = [word.strip() for word in text.split(",")]
    if not all(word.isdecimal() and 0 < int(word) <= MOST_ATTEMPTS for word in words):
        raise UsageError(
            f"«{text}» is no list of numbers of attempts",
            where="--k",
            hint=f"write numbers from 1 to {MOST_ATTEMPTS:,}, for example --k 1,5",
        )
    return tuple(dict.fromkeys(map(int, words)))
