"""What can be known to be wrong before anything starts: flags, templates and files that lack."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from matrixbench.errors import Problem, ServerError, SpecError
from matrixbench.execution.workshop import names_files
from matrixbench.spec.backends import LlamaServerBackend

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from matrixbench.backends.executable import ServerHelp
    from matrixbench.execution.workshop import Workshop
    from matrixbench.plan.cells import Launch
    from matrixbench.spec.load import Experiment
    from matrixbench.spec.nodes import Document, Loc, Place


class _Wrong(NamedTuple):
    """Something wrong.

    `ways` are the mappings or lists of mappings in which it may stand, `name` is its key there and
    `text` the value's text that is wrong, empty where the key itself is.
    """

    ways: tuple[Loc, ...]
    name: str
    message: str
    hint: str
    text: str = ""


def check_options(experiment: Experiment, launches: Iterable[Launch], workshop: Workshop) -> None:
    """Hold what launches ask for against what each binary's `--help` knows, and what is there.

    Those are llama-server's options and template names, and the files that options of any server
    name. Binaries that are not there are passed over: a run says that in its own words.

    Raises:
        SpecError: Every option and template that a binary lacks and every file that is missing,
            with its place in the file.
    """
    lacking: dict[tuple[object, ...], _Wrong] = {}
    for launch in launches:
        known = _help_of(launch, workshop)
        for wrong in (*_lacking(launch, known), *_missing(launch, workshop)):
            lacking[wrong.ways, wrong.name, wrong.text] = wrong
    if not lacking:
        return
    from matrixbench.spec.source import read_document  # noqa: PLC0415  only for a wrong file

    document = read_document(experiment.path)
    # Launches that share a part of the file tell the same of it.
    found = {(_place(document, wrong), wrong.message, wrong.hint) for wrong in lacking.values()}
    told = sorted(found)
    raise SpecError(
        [Problem(message=message, where=str(place), hint=hint) for place, message, hint in told]
    )


def _help_of(launch: Launch, workshop: Workshop) -> ServerHelp | None:
    if not isinstance(launch.spec, LlamaServerBackend):
        return None
    try:
        return workshop.server_help(launch, launch.spec)
    except ServerError:
        return None


def _lacking(launch: Launch, known: ServerHelp | None) -> Iterator[_Wrong]:
    """Yield the options and the template of a launch that its server lacks."""
    if known is None:
        return
    from matrixbench.spec.wording import choose  # noqa: PLC0415  only for a wrong file

    flags = sorted(flag[2:] for flag in known.flags if flag.startswith("--"))
    for name in launch.options:
        if f"--{name}" not in known.flags:
            message = f"the llama-server of {launch.backend} does not know the option «{name}»"
            hint = choose(name, flags, what="it knows")
            yield _Wrong(_option_grids(launch), name, message, hint)
    template = launch.template.known_as
    if template is not None and template not in known.templates:
        message = f"the llama-server of {launch.backend} knows no chat template «{template}»"
        hint = choose(template, sorted(known.templates), what="it knows")
        ways = (("chat_templates", launch.template.name),)
        yield _Wrong(ways, "name", message, f"{hint}; or use file:")


def _missing(launch: Launch, workshop: Workshop) -> Iterator[_Wrong]:
    """Yield the files that a launch's options name and that are not there."""
    if not names_files(launch.options):
        return
    for fault in workshop.meant(launch).missing():
        yield _Wrong(_option_grids(launch), fault.option, fault.told, fault.hint, fault.text)


def _option_grids(launch: Launch) -> tuple[Loc, ...]:
    return ("models", launch.model, "options"), ("backends", launch.backend, "options")


def _place(document: Document, wrong: _Wrong) -> Place:
    """Return the place of a key in the first of some grids that has it, or of a text under it."""
    keys: list[Loc] = []
    for way in wrong.ways:
        node = document.node_at(way)
        if node is None:
            continue
        grids: list[Loc] = [way]
        if isinstance(node.value, list):
            grids = [(*way, index) for index in range(len(node.value))]
        keys += [loc for grid in grids if document.node_at(loc := (*grid, wrong.name)) is not None]
    if wrong.text:
        for key in keys:
            node = document.node_at(key)
            for text in node.strings() if node else ():
                if wrong.text in str(text.value):
                    return text.place
    return document.place_of(keys[0] if keys else wrong.ways[-1], key=bool(keys))
