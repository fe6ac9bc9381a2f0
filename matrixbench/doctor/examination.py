"""All that is looked at, in order: the machine, the servers and the models that a file names."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from matrixbench.backends.registry import ServerKind, Severity, ok, problem, server_of, warning
from matrixbench.doctor.machine import examine_machine, size
from matrixbench.errors import ModelError
from matrixbench.execution.servers import Servers
from matrixbench.models.gguf import check_magic, check_whole
from matrixbench.models.sources import locate
from matrixbench.plan.launches import fill_axes
from matrixbench.spec.backends import kinds
from matrixbench.spec.base import grid_points

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from matrixbench.backends.registry import Examined, Surroundings
    from matrixbench.execution.settings import Settings
    from matrixbench.spec.load import Experiment
    from matrixbench.spec.models import Model


def examine(experiment: Experiment | None, settings: Settings) -> Iterator[Examined]:
    """Yield what this machine has of what an experiment needs.

    Args:
        experiment: The experiment; None looks at what most of them need.
        settings: Where its store, and the cache, are.
    """
    yield from examine_machine(settings)
    for name, why in kinds().broken.items():
        yield warning(f"kind {name}", why, "install another version of the package, or remove it")
    yield from _servers(experiment, Servers(settings).around)
    if experiment is not None:
        yield from examine_models(experiment, settings)


def _servers(experiment: Experiment | None, around: Surroundings) -> Iterator[Examined]:
    named: set[str] = set()
    for name, backend in experiment.file.backends.items() if experiment else ():
        named.add(backend.kind)
        ids = _ids(experiment, name) if experiment else {}
        yield from server_of(backend).examine(f"backend {name}", ids, around)
    for name, kind in kinds().known.items():
        if issubclass(kind, ServerKind) and (experiment is None or name in named):
            yield from kind.examine_machine(around, named=name in named)


def examine_models(experiment: Experiment, settings: Settings) -> Iterator[Examined]:
    """Yield for each model that some backend takes as a file whether it is on this machine."""
    for name, model in experiment.file.models.items():
        if not _is_needed(experiment, model):
            continue
        for axes in grid_points(model.axes):
            what = " ".join([f"model {name}", *(f"{axis}={value}" for axis, value in axes.items())])
            yield _model(what, fill_axes(model, axes), settings)


def _is_needed(experiment: Experiment, model: Model) -> bool:
    return any(
        server_of(backend).needs_file(model)
        for name, backend in experiment.file.backends.items()
        if model.backends is None or name in model.backends
    )


def _model(what: str, model: Model, settings: Settings) -> Examined:
    if not model.has_file:
        return warning(what, "has no file", "give it gguf:, hf: or package:, or say backends:")
    files = locate(model, cache=settings.cache, environ=settings.environ)
    if files is not None:
        try:
            check_magic(files.paths)
            check_whole(files.paths)
        except ModelError as error:
            return problem(what, f"{error.where}: {error.message}", error.hint)
        total = sum(path.stat().st_size for path in files.paths)
        parts = f" in {len(files.paths)} files" if len(files.paths) > 1 else ""
        return ok(what, f"{files.origin} is here, {size(total)}{parts}")
    if model.gguf is not None:
        return problem(what, f"{model.gguf} is not there", "correct gguf:, or fetch the file")
    source = model.hf if model.hf is not None else f"{model.package and model.package.name}"
    todo = "execute fetches it: have room on the disk, and a connection"
    return warning(what, f"{source} is not here yet", todo)


def _ids(experiment: Experiment, backend: str) -> dict[str, str]:
    """Return model → id, of the models that an endpoint is asked for; an axis makes several."""
    found: dict[str, str] = {}
    for name, model in experiment.file.models.items():
        if model.backends is not None and backend not in model.backends:
            continue
        for axes in grid_points(model.axes):
            filled = fill_axes(model, axes).id
            if filled is not None:
                label = " ".join([name, *(f"{axis}={value}" for axis, value in axes.items())])
                found[label] = filled
    return found


def findings_json(findings: Sequence[Examined]) -> list[dict[str, Any]]:
    """Return findings as data: `level` is ok, warning or problem."""
    return [
        {"level": str(one.level), "what": one.what, "found": one.found, "todo": one.todo or None}
        for one in findings
    ]


def lines_of(finding: Examined) -> Iterator[str]:
    """Yield a finding as people read it: a line, and one for what to do."""
    yield f"{finding.level:<8} {finding.what}: {_one_line(finding.found)}"
    if finding.todo and finding.level is not Severity.OK:
        yield f"{'':<8} -> {_one_line(finding.todo)}"


def _one_line(text: str) -> str:
    return " ".join(text.split())
