"""Builds beside each other: those that the store holds, and the one that a launch has now."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol, TypeAlias

from matrixbench.identity import digest
from matrixbench.plan.launches import program_of

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

    from matrixbench.plan.cells import Launch, LaunchRun, Origin, PresentBuild
    from matrixbench.plan.planner import History, LaunchPlan
    from matrixbench.records import Build

_SHORT = 8
"""Digits of a digest that are shown; `compare --baseline build=…` takes them."""

_DIGEST = re.compile(r"[0-9a-f]{64}")

_Server: TypeAlias = tuple[str, str, str]
"""Kind, server and device of a build: all but its model."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldBuild:
    """A build under which the store holds trials of a launch.

    Args:
        id: The build's id.
        build: The build.
        trials: How many trials of the launch's cells it holds that count, of those wanted.
        present: Whether it is the one that would run now.
    """

    id: str
    build: Build
    trials: int
    present: bool


def held_builds(
    experiment: str, plans: Sequence[LaunchPlan], launches: Iterable[Launch], history: History
) -> Iterator[tuple[LaunchPlan, list[HeldBuild]]]:
    """Yield each launch with the builds that the store holds of it: the present one, then newest.

    Launches that differ only in where their server is have the same cells, so a build belongs to
    those launches under whose name it ran, or whose trials they share. What ran under a name that
    the experiment no longer has belongs to all that are otherwise equal, for it may be their old
    name. What another experiment ran does where its server was at the same place; older versions
    did not keep that, so that the name has to do.

    Args:
        launches: All launches of the experiment, unselected ones included.
    """
    names = {launch.name for launch in launches}
    present = {plan.build.build.id for plan in plans if plan.build.build is not None}
    runs: dict[str, list[LaunchRun]] = {}
    for run in history.runs:
        runs.setdefault(run.digest, []).append(run)
    for plan in plans:
        own = {plan.launch.name, plan.shared_with}
        now = None if plan.build.build is None else plan.build.build.id
        ids = [] if now is None else [now]
        for run in runs.get(plan.launch.digest, ()):
            here = run.experiment == experiment
            if run.name in own:
                belongs = here or _at_its_place(run, plan, unknown=True)
            else:
                belongs = run.name not in names and run.build not in present
                belongs = belongs and _may_be_its_old_name(run, plan, history, here=here)
            if belongs:
                ids.append(run.build)
        yield plan, list(_held(plan, dict.fromkeys(ids), now, history))


def _may_be_its_old_name(run: LaunchRun, plan: LaunchPlan, history: History, *, here: bool) -> bool:
    """Return whether a run under a name that is gone may have been this launch's.

    At another url it was not: nothing is left by which the two would be one.
    """
    origin = plan.build.origin
    if origin is not None and origin.url and not origin.could_be(history.builds[run.build]):
        return False
    return here or _at_its_place(run, plan, unknown=False)


def _at_its_place(run: LaunchRun, plan: LaunchPlan, *, unknown: bool) -> bool:
    origin = plan.build.origin
    if run.origin is None or origin is None:
        return unknown
    return run.origin.same_place(origin)


def _held(
    plan: LaunchPlan, ids: Iterable[str], now: str | None, history: History
) -> Iterator[HeldBuild]:
    for build in ids:
        cells = history.progress.get(build, {})
        known = [cells[cell.id] for cell in plan.cells if cell.id in cells]
        if known and build in history.builds:
            yield HeldBuild(
                id=build,
                build=history.builds[build],
                trials=sum(cell.kept.bit_count() for cell in known),
                present=build == now,
            )


def build_labels(shown: Collection[tuple[str, str]], builds: Mapping[str, Build]) -> dict[str, str]:
    """Return build id → a short label, another one for each build that has to be told apart.

    It is the beginning of the build's id and what the server calls itself, where that says
    something. A build holds its model: where one server ran several models, and no cell has run
    under two of these builds, they share the label of the server.
    """
    groups: dict[_Server, dict[str, None]] = {}
    cells: Counter[tuple[str, _Server]] = Counter()
    for cell, build in dict.fromkeys(shown):
        server = _server(build, builds)
        groups.setdefault(server, {})[build] = None
        cells[cell, server] += 1
    mixed = {server for (_, server), count in cells.items() if count > 1}
    labels: dict[str, str] = {}
    for server, ids in groups.items():
        together = len(ids) > 1 and server not in mixed
        for build in ids:
            # Of an attached server it is no digest but what the server reports.
            code = server[1] if _DIGEST.fullmatch(server[1]) else digest(server[1])
            start = f"server {code[:_SHORT]}" if together else build[:_SHORT]
            said = version_name(builds[build]) if build in builds else ""
            labels[build] = f"{start} {said}".rstrip()
    servers: dict[str, set[object]] = {}
    for build, text in labels.items():
        server = _server(build, builds)
        servers.setdefault(text, set()).add(build if server in mixed else server)
    return {build: text if len(servers[text]) == 1 else build for build, text in labels.items()}


def _server(build: str, builds: Mapping[str, Build]) -> _Server:
    if build not in builds:
        return "", build, ""
    known = builds[build]
    # Without the files that options name: they belong to the model more than to the server.
    return known.kind, program_of(known), known.device


def version_name(build: Build) -> str:
    """Return what people call a server's version; empty where it says nothing.

    llama.cpp built without git calls itself «build 0, unknown», whatever it is.
    """
    number, commit = build.details.get("build_number"), build.details.get("commit")
    if number:
        return f"b{number}"
    if commit:
        return str(commit)
    return "" if "unknown" in build.version else build.version


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
