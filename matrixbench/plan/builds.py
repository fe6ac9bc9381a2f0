"""Builds beside each other: which ones the store holds of a launch, and what they are called."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from matrixbench.identity import digest
from matrixbench.plan.option_files import program_of

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

    from matrixbench.plan.cells import Launch
    from matrixbench.plan.origin import LaunchRun
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
        experiment: The experiment's name.
        plans: The launches to tell of.
        launches: All launches of the experiment, unselected ones included.
        history: What the store knows.
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

    Args:
        shown: Pairs of cell id and build id.
        builds: Build id → build.
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
