"""Which build a launch has where that cannot be read off what is there: recorded, or guessed."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from matrixbench.plan.cells import PresentBuild
    from matrixbench.plan.origin import LaunchRun, Origin
    from matrixbench.records import Build


class Named(Protocol):
    """A launch as far as its runs are found by it: of the file's plan, or of the store's record."""

    @property
    def name(self) -> str:
        """Its name."""

    @property
    def digest(self) -> str:
        """Its digest."""


class RecordedBuilds:
    """Finds the builds of launches among the runs that a store holds.

    Args:
        experiment: The experiment's name.
        launches: All its launches, unselected ones included.
        runs: What ran, newest first.
        builds: Build id → build.
    """

    def __init__(
        self,
        experiment: str,
        launches: Iterable[Named],
        runs: Sequence[LaunchRun],
        builds: Mapping[str, Build],
    ) -> None:
        self._experiment = experiment
        self._names: dict[str, set[str]] = {}
        for launch in launches:
            self._names.setdefault(launch.digest, set()).add(launch.name)
        self._runs: dict[str, list[LaunchRun]] = {}
        for run in runs:
            self._runs.setdefault(run.digest, []).append(run)
        self._builds = builds

    def present(self, launch: Named, seen: PresentBuild) -> PresentBuild:
        """Return the build of a launch, from what was seen of it and from the store.

        A build that was read is that one. A run of the same origin knows it as well. What else
        ran is a guess: it is taken only from this launch's own runs, from those under a name that
        the experiment no longer has, and only where nothing speaks against it.

        Args:
            launch: The launch.
            seen: What is there now; its build may be one of which only the server knows the rest.
        """
        runs = self._runs.get(launch.digest, [])
        ran = self._own(runs, launch)
        seen = replace(seen, last=self._builds[ran[0].build] if ran else None)
        if seen.read or seen.origin is None:
            return seen
        recorded = next((run for run in runs if self._same(run, launch, seen.origin)), None)
        if recorded is not None:
            build = self._builds[recorded.build]
            return replace(seen, build=build, verified=True, recorded=True, note="")
        builds = (self._builds[run.build] for run in ran)
        guessed = next((build for build in builds if seen.origin.could_be(build)), None)
        return seen if guessed is None else replace(seen, build=guessed)

    def _same(self, run: LaunchRun, launch: Named, origin: Origin) -> bool:
        if run.origin is not None:
            return run.origin.same_as(origin)
        # An older version kept no origin. A url stands in the build; what has none is known by the
        # launch's name, if no other launch could have run under it.
        if origin.missing or origin.url_rest or not origin.could_be(self._builds[run.build]):
            return False
        own = run.experiment == self._experiment and run.name == launch.name
        return bool(origin.url) or (own and len(self._names.get(launch.digest, ())) == 1)

    def _own(self, runs: Sequence[LaunchRun], launch: Named) -> list[LaunchRun]:
        """Return a launch's own runs, newest first; then those under names that are gone."""
        names = self._names.get(launch.digest, set())
        found = [
            run
            for run in runs
            if run.experiment == self._experiment
            and (run.name == launch.name or run.name not in names)
        ]
        return sorted(found, key=lambda run: run.name != launch.name)
