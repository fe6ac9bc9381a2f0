"""What can be known to be wrong before anything starts: flags and templates that a server lacks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from matrixbench.errors import Problem, ServerError, SpecError
from matrixbench.spec.backends import LlamaServerBackend

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from matrixbench.backends.executable import ServerHelp
    from matrixbench.execution.workshop import Workshop
    from matrixbench.plan.cells import Launch
    from matrixbench.spec.load import Experiment
    from matrixbench.spec.nodes import Document, Loc, Place


def check_options(experiment: Experiment, launches: Iterable[Launch], workshop: Workshop) -> None:
    """Hold llama-server's options and template names against what each binary's `--help` knows.

    Binaries that are not there are passed over: a run says that in its own words.

    Raises:
        SpecError: Every option and template that a binary lacks, with its place in the file.
    """
    lacking = {
        (ways, name): (message, hint)
        for launch in launches
        if (known := _help_of(launch, workshop)) is not None
        for ways, name, message, hint in _lacking(launch, known)
    }
    if not lacking:
        return
    from matrixbench.spec.source import read_document  # noqa: PLC0415  only for a wrong file

    document = read_document(experiment.path)
    found = sorted((_place(document, ways, name), *said) for (ways, name), said in lacking.items())
    raise SpecError(
        [Problem(message=message, where=str(place), hint=hint) for place, message, hint in found]
    )


def _help_of(launch: Launch, workshop: Workshop) -> ServerHelp | None:
    if not isinstance(launch.spec, LlamaServerBackend):
        return None
    try:
        return workshop.server_help(launch, launch.spec)
    except ServerError:
        return None


def _lacking(launch: Launch, known: ServerHelp) -> Iterator[tuple[tuple[Loc, ...], str, str, str]]:
    """Yield where it may stand, its name, what is wrong, and the way out."""
    from matrixbench.spec.wording import choose  # noqa: PLC0415  only for a wrong file

    flags = sorted(flag[2:] for flag in known.flags if flag.startswith("--"))
    for name in launch.options:
        if f"--{name}" not in known.flags:
            ways: tuple[Loc, ...] = (
                ("models", launch.model, "options"),
                ("backends", launch.backend, "options"),
            )
            message = f"the llama-server of {launch.backend} does not know the option «{name}»"
            yield ways, name, message, choose(name, flags, what="it knows")
    template = launch.template.known_as
    if template is not None and template not in known.templates:
        message = f"the llama-server of {launch.backend} knows no chat template «{template}»"
        hint = choose(template, sorted(known.templates), what="it knows")
        yield (("chat_templates", launch.template.name),), "name", message, f"{hint}; or use file:"


def _place(document: Document, ways: tuple[Loc, ...], name: str) -> Place:
    """Return the place of a key in the first of some grids that has it."""
    for way in ways:
        node = document.node_at(way)
        if node is None:
            continue
        grids: list[Loc] = [way]
        if isinstance(node.value, list):
            grids = [(*way, index) for index in range(len(node.value))]
        for grid in grids:
            if document.node_at((*grid, name)) is not None:
                return document.place_of((*grid, name), key=True)
    return document.place_of(ways[-1])
