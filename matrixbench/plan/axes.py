"""The axes of an experiment: their names, their sizes, and the values that occur."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from matrixbench.identity import canonical_json
from matrixbench.plan.values import Several
from matrixbench.spec.backends import CommandBackend, LlamaServerBackend, OllamaBackend
from matrixbench.spec.grid import axis_values as entry_values
from matrixbench.spec.references import HANDLES, SUITE, TAG

if TYPE_CHECKING:
    from collections.abc import Iterable

    from matrixbench.plan.cells import Coordinates
    from matrixbench.spec.grid import Grids
    from matrixbench.spec.load import Experiment, TestCase


def coordinates_of_test(test: TestCase) -> Coordinates:
    """Return the axes of the test level."""
    return {
        "test": test.name,
        **{f"parameters.{name}": value for name, value in test.parameters.items()},
    }


def handles_of_test(test: TestCase) -> Coordinates:
    """Return what a test may be named by: the axes of its level, its suite and its tags, if any."""
    suite = {SUITE: test.suite} if test.suite else {}
    tags = {TAG: Several(test.tags)} if test.tags else {}
    return {**coordinates_of_test(test), **suite, **tags}


def known_handles(experiment: Experiment) -> dict[str, frozenset[str]]:
    """Return the suites and the tags that tests of an experiment may be named by."""
    return {
        SUITE: frozenset(test.suite for test in experiment.tests if test.suite),
        TAG: frozenset(tag for test in experiment.tests for tag in test.tags),
    }


def axis_values(found: Iterable[Coordinates]) -> dict[str, tuple[Any, ...]]:
    """Return axis → its distinct values in order of appearance."""
    values: dict[str, dict[str, Any]] = {}
    for coordinates in found:
        for axis, value in coordinates.items():
            values.setdefault(axis, {}).setdefault(canonical_json(value), value)
    return {axis: tuple(distinct.values()) for axis, distinct in values.items()}


def axis_sizes(experiment: Experiment) -> dict[str, int]:
    """Return axis → number of values as the file writes them, without making the matrix."""
    return {axis: len(values) for axis, values in written_values(experiment).items()}


def written_values(experiment: Experiment) -> dict[str, tuple[Any, ...]]:
    """Return axis → its values as the file writes them, without making the matrix."""
    file = experiment.file
    written: list[Coordinates] = []
    for name, backend in file.backends.items():
        written.append({"backend": name})
        if isinstance(backend, LlamaServerBackend | OllamaBackend):
            labels = backend.binary if isinstance(backend.binary, dict) else {}
            written += [{"binary": label} for label in labels]
        if isinstance(backend, LlamaServerBackend | CommandBackend | OllamaBackend):
            written += _written(backend.options, "options.")
    for name, model in file.models.items():
        written.append({"model": name})
        written += _written(model.axes, "model.")
        written += _written(model.options or {}, "options.")
    written += [{"chat_template": name} for name in file.chat_templates]
    written += _written(file.sampling, "")
    written += _written(file.request, "request.")
    written += [coordinates_of_test(test) for test in experiment.tests]
    return axis_values(written)


def _written(grids: Grids, prefix: str) -> list[Coordinates]:
    several: list[Any] = list(grids) if isinstance(grids, (list, tuple)) else [grids]
    return [
        {f"{prefix}{name}": value}
        for grid in several
        for name, entry in grid.items()
        for value in entry_values(entry)
    ]


def known_axes(experiment: Experiment) -> frozenset[str]:
    """Return the names of all axes that cells of an experiment may have, `suite` and `tag`."""
    named = {axis for entry in experiment.file.include for axis in entry}
    return frozenset(axis_sizes(experiment)) | named | {*HANDLES}
