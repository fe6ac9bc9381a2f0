"""What can be known to be wrong before anything starts: options, templates, files."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from matrixbench.backends.registry import Fault, Gravity, names_files, server_of, told
from matrixbench.errors import ModelError, Problem, ServerError, SpecError
from matrixbench.models.gguf import check_magic, check_whole, require_gguf
from matrixbench.plan.launches import launches
from matrixbench.spec.templating import template_fault
from matrixbench.spec.yaml_source import read_document

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterable, Iterator

    from matrixbench.execution.servers import Servers
    from matrixbench.plan.cells import Launch
    from matrixbench.spec.load import Experiment
    from matrixbench.spec.yaml_source import Document, Loc, Place


@dataclass(frozen=True, slots=True, kw_only=True)
class Preflight:
    """What was found, in the file's order.

    Args:
        refused: What no server could do.
        given_up: Why launches would be given up.
        warnings: What may be meant so.
    """

    refused: tuple[Problem, ...] = ()
    given_up: tuple[Problem, ...] = ()
    warnings: tuple[Problem, ...] = ()

    @property
    def problems(self) -> tuple[Problem, ...]:
        """What is wrong for certain."""
        return (*self.refused, *self.given_up)

    def refuse(self) -> None:
        """Refuse a file with which something is wrong.

        Raises:
            SpecError: Everything that is.
        """
        if self.problems:
            raise SpecError(self.problems)


def launches_of(experiment: Experiment) -> list[Launch]:
    """Return the launches of an experiment that nothing stands in the way of."""
    return [launch for launch, obstacle in launches(experiment) if obstacle is None]


def inspect(experiment: Experiment, chosen: Iterable[Launch], servers: Servers) -> Preflight:
    """Look for everything that can be known to be wrong; nothing is started or fetched.

    A llama-server is asked for its `--help`, once for each build; of models the headers are read.

    Args:
        experiment: The experiment.
        chosen: The launches that count.
        servers: Know the surroundings.
    """
    looking = _Looking(servers)
    return _placed(experiment, [found for launch in chosen for found in looking.at(launch)])


def check_options(experiment: Experiment, chosen: Iterable[Launch], servers: Servers) -> None:
    """Hold llama-server's options and template names against what each binary's `--help` knows.

    Chat templates are parsed too. Binaries and models that are not there are passed over: a run
    says that of the launch in its own words, and goes on with the others.

    Raises:
        SpecError: Every option and template that no server could take, with its place in the file.
    """
    looking = _Looking(servers)
    found = [one for launch in chosen for one in looking.at_settings(launch)]
    refused = _placed(experiment, found).refused
    if refused:
        raise SpecError(refused)


class _Looking:
    """Looks at launches; what several of them share is looked at once."""

    def __init__(self, servers: Servers) -> None:
        self._servers = servers
        self._seen: set[Hashable] = set()

    def at(self, launch: Launch) -> Iterator[Fault]:
        """Yield all that is wrong with a launch."""
        yield from self.at_settings(launch)
        if self._first("program", launch.backend, launch.binary):
            yield from self._program(launch)
        if self._first("model", launch.model, launch.source.model_dump_json()):
            yield from self._model(launch)

    def at_settings(self, launch: Launch) -> Iterator[Fault]:
        """Yield what a launch asks of its server that no server could do."""
        backend, around = server_of(launch.spec), self._servers.around
        named = (launch.backend, launch.binary, launch.model, launch.template.name)
        if self._first("settings", *named, frozenset(launch.options)):
            yield from backend.faults(launch, around)
        if names_files(launch.options):
            yield from self._files(launch)
        if self._first("jinja", launch.template.name) and backend.takes_jinja:
            yield from _template_text(launch)

    def _first(self, *key: Hashable) -> bool:
        """Return whether something is looked at for the first time."""
        if key in self._seen:
            return False
        self._seen.add(key)
        return True

    def _files(self, launch: Launch) -> Iterator[Fault]:
        """Yield the files that options name and that are not there."""
        for fault in self._servers.meant(launch).missing():
            yield Fault(
                ways=(("models", launch.model, "options"), ("backends", launch.backend, "options")),
                name=fault.option,
                text=fault.text,
                message=fault.told,
                hint=fault.hint,
                gravity=Gravity.REFUSED,
            )

    def _program(self, launch: Launch) -> Iterator[Fault]:
        program = server_of(launch.spec).program(launch, self._servers.around)
        if program is None:
            return
        ways: tuple[Loc, ...] = (program.way, ("backends", launch.backend))
        gravity = Gravity.GIVEN_UP if program.by_path else Gravity.DOUBTFUL
        yield from _of_error(program.find, ways, gravity)

    def _model(self, launch: Launch) -> Iterator[Fault]:
        if not server_of(launch.spec).needs_file(launch.source):
            return
        source = launch.source
        key = next((key for key in ("gguf", "hf", "package") if getattr(source, key)), "gguf")
        ways: tuple[Loc, ...] = (("models", launch.model, key), ("models", launch.model))

        def whole() -> None:
            files = self._servers.located(launch)
            if source.gguf is not None and files is None:
                files = require_gguf(Path(source.gguf))
            if files is not None:
                check_magic(files.paths)
                check_whole(files.paths)

        yield from _of_error(whole, ways, Gravity.GIVEN_UP)


def _of_error(
    look: Callable[[], object], ways: tuple[Loc, ...], gravity: Gravity
) -> Iterator[Fault]:
    """Yield what is wrong where looking at something fails."""
    try:
        look()
    except (ServerError, ModelError) as error:
        yield Fault(ways=ways, message=told(error), hint=error.hint, gravity=gravity)
    except OSError as error:
        yield Fault(ways=ways, message=f"cannot be read: {error}", hint="", gravity=gravity)


def _template_text(launch: Launch) -> Iterator[Fault]:
    """Yield what is wrong with the text of a chat template, with the line that it stands in."""
    template = launch.template
    fault = None if template.text is None else template_fault(template.text)
    if fault is None:
        return
    hint = "correct that line: no server could render it"
    if not fault.certain:
        hint = "jinja2 refuses it; your server's own Jinja may know it: look at a try"
    yield Fault(
        ways=(("chat_templates", template.name),),
        name="file",
        message=f"the chat template {template.path}:{fault.line}: {fault.message}: {fault.text}",
        hint=hint,
        gravity=Gravity.REFUSED if fault.certain else Gravity.DOUBTFUL,
    )


def _placed(experiment: Experiment, found: Iterable[Fault]) -> Preflight:
    """Return findings with their places, each once, in the file's order."""
    several = list(dict.fromkeys(found))
    if not several:
        return Preflight()
    document = read_document(experiment.path, shown=_shown(experiment.path))
    placed = sorted(((_place(document, one), one) for one in several), key=lambda pair: pair[0])

    def of(gravity: Gravity) -> tuple[Problem, ...]:
        placed_here = (
            Problem(message=one.message, where=str(place), hint=one.hint)
            for place, one in placed
            if one.gravity is gravity
        )
        return tuple(dict.fromkeys(placed_here))

    return Preflight(
        refused=of(Gravity.REFUSED),
        given_up=of(Gravity.GIVEN_UP),
        warnings=of(Gravity.DOUBTFUL),
    )


def _shown(path: Path) -> str:
    """Return a path as it would be named from here."""
    try:
        return str(path.relative_to(Path.cwd()))
    except (ValueError, OSError):
        return str(path)


def _place(document: Document, found: Fault) -> Place:
    """Return the place of a key in the first of some grids that has it, or of a text under it.

    Without a name it is that of the first way that leads somewhere.
    """
    keys: list[Loc] = []
    for way in found.ways:
        node = document.node_at(way)
        if node is None:
            continue
        if not found.name:
            return document.place_of(way)
        grids: list[Loc] = [way]
        if isinstance(node.value, list):
            grids = [(*way, index) for index in range(len(node.value))]
        keys += [loc for grid in grids if document.node_at(loc := (*grid, found.name)) is not None]
    if found.text and (place := _place_of_text(document, keys, found.text)) is not None:
        return place
    return document.place_of(keys[0] if keys else found.ways[-1], key=bool(keys))


def _place_of_text(document: Document, keys: Iterable[Loc], text: str) -> Place | None:
    for key in keys:
        node = document.node_at(key)
        for one in node.strings() if node else ():
            if text in str(one.value):
                return one.place
    return None
