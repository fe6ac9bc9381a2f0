"""The models that an experiment names: here already, or fetched when it runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from matrixbench.doctor.findings import Finding, ok, problem, size, warning
from matrixbench.errors import ModelError
from matrixbench.models.gguf import check_magic
from matrixbench.models.gguf_size import check_whole
from matrixbench.models.sources import locate
from matrixbench.plan.applicability import takes_file
from matrixbench.plan.launches import fill_axes
from matrixbench.spec.backends import CommandBackend, LlamaServerBackend, OllamaBackend
from matrixbench.spec.grid import grid_points

if TYPE_CHECKING:
    from collections.abc import Iterator

    from matrixbench.execution.settings import Settings
    from matrixbench.spec.load import Experiment
    from matrixbench.spec.models import Model


def examine_models(experiment: Experiment, settings: Settings) -> Iterator[Finding]:
    """Yield for each model that some backend takes as a file whether it is on this machine."""
    for name, model in experiment.file.models.items():
        if not _is_needed(experiment, model):
            continue
        for axes in grid_points(model.axes):
            what = " ".join([f"model {name}", *(f"{axis}={value}" for axis, value in axes.items())])
            yield _model(what, fill_axes(model, axes), settings)


def _is_needed(experiment: Experiment, model: Model) -> bool:
    return any(
        isinstance(backend, LlamaServerBackend)
        or (isinstance(backend, CommandBackend) and takes_file(backend, model))
        or (isinstance(backend, OllamaBackend) and model.ollama is None)
        for name, backend in experiment.file.backends.items()
        if model.backends is None or name in model.backends
    )


def _model(what: str, model: Model, settings: Settings) -> Finding:
    if model.gguf is None and model.hf is None and model.package is None:
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
