"""What can be known to be wrong before anything starts: options, templates, files."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto
from pathlib import Path
from typing import TYPE_CHECKING

from matrixbench.backends.llama.arguments import OWNED
from matrixbench.errors import MatrixbenchError, ModelError, Problem, ServerError, SpecError
from matrixbench.models.gguf import check_magic, check_whole, require_gguf
from matrixbench.plan.launches import launches
from matrixbench.run.servers import names_files, needs_file
from matrixbench.spec.backends import CommandBackend, LlamaServerBackend, OllamaBackend
from matrixbench.spec.slips import is_short, long_name, said_elsewhere

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterable, Iterator

    from matrixbench.backends.llama.executable import ServerHelp
    from matrixbench.plan.cells import Launch
    from matrixbench.run.servers import Servers
    from matrixbench.spec.load import Experiment
    from matrixbench.spec.yaml_source import Document, Loc, Place


class Gravity(Enum):
    """What follows from a finding."""

    REFUSED = auto()
    """No server could do what the file says: `execute` does not begin."""
    GIVEN_UP = auto()
    """The launch would be given up, the others run: `validate` refuses the file."""
    DOUBTFUL = auto()
    """It may be meant so, or be there when it runs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Found:
    """Something that was found.

    Args:
        ways: Where it may stand in the file; the first that is there counts.
        name: The key under that way; empty for what stands at the way itself.
        message: What is wrong.
        hint: The way out.
        gravity: What follows from it.
        text: The value's text that is wrong; empty where the key itself is.
    """

    ways: tuple[Loc, ...]
    name: str = ""
    text: str = ""
    message: str
    hint: str
    gravity: Gravity


@dataclass(frozen=True, slots=True, kw_only=True)
class Inspection:
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


def inspect(experiment: Experiment, chosen: Iterable[Launch], workshop: Servers) -> Inspection:
    """Look for everything that can be known to be wrong; nothing is started or fetched.

    A llama-server is asked for its `--help`, once for each build; of models the headers are read.

    Args:
        experiment: The experiment.
        chosen: The launches that count.
        workshop: Knows the surroundings.
    """
    looking = _Looking(workshop)
    return _placed(experiment, [found for launch in chosen for found in looking.at(launch)])


def check_options(experiment: Experiment, chosen: Iterable[Launch], workshop: Servers) -> None:
    """Hold llama-server's options and template names against what each binary's `--help` knows.

    Chat templates are parsed too. Binaries and models that are not there are passed over: a run
    says that of the launch in its own words, and goes on with the others.

    Raises:
        SpecError: Every option and template that no server could take, with its place in the file.
    """
    looking = _Looking(workshop)
    found = [one for launch in chosen for one in looking.at_settings(launch)]
    refused = _placed(experiment, found).refused
    if refused:
        raise SpecError(refused)


class _Looking:
    """Looks at launches; what several of them share is looked at once."""

    def __init__(self, workshop: Servers) -> None:
        self._workshop = workshop
        self._helps: dict[Hashable, ServerHelp | None] = {}
        self._seen: set[Hashable] = set()

    def at(self, launch: Launch) -> Iterator[_Found]:
        """Yield all that is wrong with a launch."""
        yield from self.at_settings(launch)
        if self._first("program", launch.backend, launch.binary):
            yield from self._program(launch)
        if self._first("model", launch.model, launch.source.model_dump_json()):
            yield from self._model(launch)

    def at_settings(self, launch: Launch) -> Iterator[_Found]:
        """Yield what a launch asks of its server that no server could do."""
        if isinstance(launch.spec, LlamaServerBackend):
            named = (launch.backend, launch.binary, launch.model, frozenset(launch.options))
            if self._first("options", *named):
                yield from _options(launch, self._help(launch, launch.spec))
            if self._first("template", launch.backend, launch.binary, launch.template.name):
                yield from _template_name(launch, self._help(launch, launch.spec))
        if names_files(launch.options):
            yield from self._files(launch)
        if self._first("jinja", launch.template.name) and _is_given(launch):
            yield from _template_text(launch)

    def _first(self, *key: Hashable) -> bool:
        """Return whether something is looked at for the first time."""
        if key in self._seen:
            return False
        self._seen.add(key)
        return True

    def _help(self, launch: Launch, backend: LlamaServerBackend) -> ServerHelp | None:
        key = (launch.backend, launch.binary)
        if key not in self._helps:
            try:
                self._helps[key] = self._workshop.server_help(launch, backend)
            except ServerError:
                self._helps[key] = None
        return self._helps[key]

    def _files(self, launch: Launch) -> Iterator[_Found]:
        """Yield the files that options name and that are not there."""
        for fault in self._workshop.meant(launch).missing():
            yield _Found(
                ways=_option_grids(launch),
                name=fault.option,
                text=fault.text,
                message=fault.told,
                hint=fault.hint,
                gravity=Gravity.REFUSED,
            )

    def _program(self, launch: Launch) -> Iterator[_Found]:
        look, named = self._workshop.program_of(launch), _named_program(launch)
        if look is None:
            return
        key = "argv" if isinstance(launch.spec, CommandBackend) else "binary"
        way: Loc = ("backends", launch.backend, key)
        for label in _labels(launch):
            way = (*way, label)
        gravity = Gravity.GIVEN_UP if named else Gravity.DOUBTFUL
        ways: tuple[Loc, ...] = (way, ("backends", launch.backend))
        yield from _of_error(look, ways, gravity)

    def _model(self, launch: Launch) -> Iterator[_Found]:
        if not needs_file(launch):
            return
        source = launch.source
        key = next((key for key in ("gguf", "hf", "package") if getattr(source, key)), "gguf")
        ways: tuple[Loc, ...] = (("models", launch.model, key), ("models", launch.model))

        def whole() -> None:
            files = self._workshop.located(launch)
            if source.gguf is not None and files is None:
                files = require_gguf(Path(source.gguf))
            if files is not None:
                check_magic(files.paths)
                check_whole(files.paths)

        yield from _of_error(whole, ways, Gravity.GIVEN_UP)


def _of_error(
    look: Callable[[], object], ways: tuple[Loc, ...], gravity: Gravity
) -> Iterator[_Found]:
    """Yield what is wrong where looking at something fails."""
    try:
        look()
    except (ServerError, ModelError) as error:
        yield _Found(ways=ways, message=_told(error), hint=error.hint, gravity=gravity)
    except OSError as error:
        yield _Found(ways=ways, message=f"cannot be read: {error}", hint="", gravity=gravity)


def _told(error: MatrixbenchError) -> str:
    return f"{error.where}: {error.message}" if error.where else error.message


def _labels(launch: Launch) -> tuple[str | int, ...]:
    if isinstance(launch.spec, CommandBackend):
        return (0,)
    label = launch.coordinates.get("binary")
    return () if label is None else (str(label),)


def _named_program(launch: Launch) -> bool:
    """Return whether the file names a program by its path, so that it must be there."""
    match launch.spec:
        case LlamaServerBackend() | OllamaBackend():
            return launch.binary is not None
        case CommandBackend():
            return "/" in launch.spec.argv[0]
        case _:
            return False


def _is_given(launch: Launch) -> bool:
    """Return whether a launch's server is given its chat template as Jinja."""
    if isinstance(launch.spec, CommandBackend):
        return launch.spec.chat_template
    return isinstance(launch.spec, LlamaServerBackend)


def _options(launch: Launch, known: ServerHelp | None) -> Iterator[_Found]:
    """Yield the options that a llama-server does not know, or that are not the file's to set.

    Without a binary at hand only the short names are known to be none.
    """
    ways = _option_grids(launch)
    for name in launch.options:
        if name in OWNED:
            message, hint = f"the option «{name}» is not given here", OWNED[name]
        elif _is_known(name, known):
            continue
        else:
            message = f"the llama-server of {launch.backend} does not know the option «{name}»"
            hint = _meant(name, known)
        yield _Found(ways=ways, name=name, message=message, hint=hint, gravity=Gravity.REFUSED)


def _option_grids(launch: Launch) -> tuple[Loc, ...]:
    return ("models", launch.model, "options"), ("backends", launch.backend, "options")


def _is_known(name: str, known: ServerHelp | None) -> bool:
    if known is None:
        return not (is_short(name) or said_elsewhere(name))
    return f"--{name}" in known.flags


def _meant(name: str, known: ServerHelp | None) -> str:
    """Return what is written for an option that a llama-server does not know."""
    from matrixbench.spec.wording import choose  # noqa: PLC0415  only for a wrong file

    own = None if known is None else known.long_names
    meant = long_name(name, own)
    if meant is not None and _is_known(meant, known):
        return f"write {meant}"
    flags = {flag[2:] for flag in known.flags if flag.startswith("--")} if known else set()
    hint = said_elsewhere(name) or choose(name, sorted(flags - OWNED.keys()), what="it knows")
    return hint if meant is None else f"{name} is {meant} in other builds; {hint}"


def _template_name(launch: Launch, known: ServerHelp | None) -> Iterator[_Found]:
    from matrixbench.spec.wording import choose  # noqa: PLC0415  only for a wrong file

    template = launch.template.known_as
    if template is None or known is None or template in known.templates:
        return
    hint = choose(template, sorted(known.templates), what="it knows")
    yield _Found(
        ways=(("chat_templates", launch.template.name),),
        name="name",
        message=f"the llama-server of {launch.backend} knows no chat template «{template}»",
        hint=f"{hint}; or use file:",
        gravity=Gravity.REFUSED,
    )


def _template_text(launch: Launch) -> Iterator[_Found]:
    """Yield what is wrong with the text of a chat template, with the line that it stands in."""
    from matrixbench.spec.templating import template_fault  # noqa: PLC0415  heavy: jinja2

    template = launch.template
    fault = None if template.text is None else template_fault(template.text)
    if fault is None:
        return
    hint = "correct that line: no server could render it"
    if not fault.certain:
        hint = "jinja2 refuses it; your server's own Jinja may know it: look at a try"
    yield _Found(
        ways=(("chat_templates", template.name),),
        name="file",
        message=f"the chat template {template.path}:{fault.line}: {fault.message}: {fault.text}",
        hint=hint,
        gravity=Gravity.REFUSED if fault.certain else Gravity.DOUBTFUL,
    )


def _placed(experiment: Experiment, found: Iterable[_Found]) -> Inspection:
    """Return findings with their places, each once, in the file's order."""
    several = list(dict.fromkeys(found))
    if not several:
        return Inspection()
    from matrixbench.spec.yaml_source import read_document  # noqa: PLC0415  only for a wrong file

    document = read_document(experiment.path, shown=_shown(experiment.path))
    placed = sorted(((_place(document, one), one) for one in several), key=lambda pair: pair[0])

    def of(gravity: Gravity) -> tuple[Problem, ...]:
        told = (
            Problem(message=one.message, where=str(place), hint=one.hint)
            for place, one in placed
            if one.gravity is gravity
        )
        return tuple(dict.fromkeys(told))

    return Inspection(
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


def _place(document: Document, found: _Found) -> Place:
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
