"""The launches of an experiment: backend × binary × options × model × chat template."""

from __future__ import annotations

from hashlib import sha256
from itertools import product
from operator import itemgetter
from typing import TYPE_CHECKING, Any, NamedTuple

from matrixbench.identity import IDENTITY_VERSION, digest
from matrixbench.plan.cells import Launch, load_of
from matrixbench.plan.selector import narrow
from matrixbench.spec.axes import MODEL_AXES, OPTIONS, Level, level_of, matches
from matrixbench.spec.base import grid_points

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from matrixbench.records import Build, JsonObject
    from matrixbench.spec.backends import Backend, Obstacle
    from matrixbench.spec.base import Point
    from matrixbench.spec.load import Experiment
    from matrixbench.spec.models import Model, Template


class PossibleLaunch(NamedTuple):
    """A launch, and what stands in its way, if anything."""

    launch: Launch
    obstacle: Obstacle | None


def launches(
    experiment: Experiment, named: Mapping[str, Any] | None = None
) -> Iterator[PossibleLaunch]:
    """Yield every launch in the file's order.

    Args:
        named: An `include` entry; the launches are narrowed to it, and options that it names get
            its values even where the grid lacks them.
    """
    file = experiment.file
    named = {axis: at for axis, at in (named or {}).items() if level_of(axis) is Level.LAUNCH}
    of_options = [(axis, at) for axis, at in named.items() if axis.startswith(OPTIONS)]
    for (backend_name, backend), (model_name, model) in product(
        file.backends.items(), file.models.items()
    ):
        if model.backends is not None and backend_name not in model.backends:
            continue
        options = narrow(_option_points(backend, model), of_options)
        for (binary_name, binary), axes, point, template in product(
            backend.builds, grid_points(model.axes), options, _templates_of(experiment, model)
        ):
            coordinates = {
                "backend": backend_name,
                **({} if binary_name is None else {"binary": binary_name}),
                "model": model_name,
                **{f"{MODEL_AXES}{name}": value for name, value in axes.items()},
                "chat_template": template.name,
                **point,
            }
            if not all(matches(at, coordinates.get(axis)) for axis, at in named.items()):
                continue
            source = fill_axes(model, axes)
            flags = {axis.removeprefix(OPTIONS): value for axis, value in point.items()}
            launch = Launch(
                digest=launch_digest(backend, flags, source, template, faithful=file.faithful),
                backend=backend_name,
                spec=backend,
                binary=binary,
                options=flags,
                model=model_name,
                source=source,
                template=template,
                coordinates=coordinates,
                load=load_of(backend, faithful=file.faithful),
            )
            obstacle = backend.launch_obstacle(model_name, source, template, faithful=file.faithful)
            yield PossibleLaunch(launch, obstacle)


def _templates_of(experiment: Experiment, model: Model) -> list[Template]:
    chosen = model.chat_templates
    return [
        template
        for name, template in experiment.templates.items()
        if chosen is None or name in chosen
    ]


def _option_points(backend: Backend, model: Model) -> tuple[Point, ...]:
    if backend.option_grids is None:
        return ({},)
    merged = [
        {**over, **{name: value for name, value in own.items() if backend.takes_option(name)}}
        for over, own in product(
            grid_points(backend.option_grids), grid_points(model.options or {})
        )
    ]
    points = grid_points([{key: {"value": value} for key, value in p.items()} for p in merged])
    return tuple({f"{OPTIONS}{name}": value for name, value in point.items()} for point in points)


def fill_axes(model: Model, axes: Mapping[str, Any]) -> Model:
    """Return a model whose sources have `{NAME}` replaced by the values of its axes."""
    if not axes:
        return model

    def filled(text: str | None) -> str | None:
        for name, value in axes.items():
            text = None if text is None else text.replace(f"{{{name}}}", str(value))
        return text

    return model.model_copy(
        update={name: filled(getattr(model, name)) for name in ("gguf", "hf", "ollama", "id")}
    )


def launch_digest(
    backend: Backend, options: JsonObject, model: Model, template: Template, *, faithful: bool
) -> str:
    """Return the digest of all that decides the answer at the server's level.

    Only what differs from a default is hashed, so that a new option keeps every old id. The path
    of a GGUF file counts by its last part: its content is told by the build.
    """
    common: JsonObject = {
        "replica": None if backend.replica == 1 else backend.replica,
        "options": options or None,
        "template_name": template.known_as,
        "template": template.text,
        "faithful": faithful or None,
    }
    parts = {**common, **backend.identity(model, template)}
    told = {name: value for name, value in parts.items() if value is not None}
    return digest({"version": IDENTITY_VERSION, "kind": backend.kind, **told})


PROGRAM = "program"
OPTION_FILES = "option_files"
"""Details of a build whose launch names files: the server without them, and option and path → the
digest of what is there. A build whose launch names none has neither."""


def file_details(program: str, contents: Mapping[str, str]) -> JsonObject:
    """Return what a build's details say of files that options name; nothing where there are none.

    Args:
        contents: Option and path, as written → the digest of what is there.
    """
    return {PROGRAM: program, OPTION_FILES: dict(contents)} if contents else {}


def with_contents(program: str, contents: Mapping[str, str]) -> str:
    """Return a server's digest together with the files that its options name.

    Without such files it is the server's own, so that the builds of old stores stay theirs. Paths
    do not count: which files they are stands in the cells' ids.
    """
    if not contents:
        return program
    parts = [(name.partition(" ")[0], content) for name, content in contents.items()]
    # Only by option: of several files in one, such as adapters, the order may matter.
    lines = [" ".join(part) for part in sorted(parts, key=itemgetter(0))]
    return sha256("\n".join([program, *lines]).encode()).hexdigest()


def contents_of(build: Build) -> Mapping[str, Any]:
    """Return option and path → digest of what was there, as a build tells."""
    found = build.details.get(OPTION_FILES)
    return found if isinstance(found, dict) else {}


def program_of(build: Build) -> str:
    """Return a build's server without the files that options name."""
    return str(build.details.get(PROGRAM, build.server))


def same_but_for_files(build: Build, other: Build) -> bool:
    """Return whether two builds differ in nothing but in files that options name."""
    one = (build.kind, program_of(build), build.model, build.device)
    return one == (other.kind, program_of(other), other.model, other.device)


def changed_files(build: Build, other: Build) -> tuple[str, ...]:
    """Return the files of a build, option and path, that held something else in another one."""
    now, then = contents_of(build), contents_of(other)
    return tuple(name for name in now if name in then and then[name] != now[name])
