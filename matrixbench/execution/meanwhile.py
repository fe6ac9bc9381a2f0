"""What other experiments that share the store have done since a run was planned."""

from __future__ import annotations

from typing import TYPE_CHECKING

from matrixbench.execution.planning import history_of
from matrixbench.plan.planner import launch_work

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from matrixbench.execution.planning import Prepared
    from matrixbench.plan.cells import Cell
    from matrixbench.plan.planner import CellWork, LaunchPlan
    from matrixbench.records import Build
    from matrixbench.store.database import Store


class Meanwhile:
    """What the store knows, read anew where others have added to it.

    Args:
        prepared: The plan and what it was made from.
        store: The open store.
    """

    def __init__(self, prepared: Prepared, store: Store) -> None:
        self.history = prepared.history
        self.elsewhere = 0
        self._prepared = prepared
        self._store = store
        self._newest = prepared.newest

    def catch_up(self) -> None:
        """Take in what others have stored; without their trials it costs one look at the store.

        A fresh start counts nobody's trials but its own.
        """
        prepared, newest = self._prepared, self._store.newest()
        name = prepared.experiment.file.name
        if self.history.fresh:
            return
        if self._store.others_stored(name, after=self._newest):
            self.history = history_of(self._store, prepared)
        self._newest = newest  # so that no trial, one's own among them, is looked at twice

    def work(self, cells: Sequence[Cell], build: Build) -> list[CellWork]:
        """Return what is left to do of some cells; `elsewhere` counts what no longer is."""
        wanted, planned = self._prepared.wanted, self._prepared.history
        work = list(launch_work(cells, build, wanted=wanted, history=self.history))
        if self.history is not planned:
            before = launch_work(cells, build, wanted=wanted, history=planned)
            self.elsewhere += max(0, _trials(before) - _trials(work))
        return work

    def left_nothing(self, launch: LaunchPlan) -> bool:
        """Return whether others have done all that a launch was to do, so that no server is needed.

        Where the build is known only once the server runs, it has to be started to be asked.
        """
        build = launch.build.build
        if build is None or not launch.build.read or self.history is self._prepared.history:
            return False
        before = self.elsewhere
        if not self.work(launch.own, build):
            return True
        self.elsewhere = before
        return False


def _trials(work: Iterable[CellWork]) -> int:
    return sum(item.todo.bit_count() for item in work)
