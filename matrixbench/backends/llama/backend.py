"""llama-server as a kind of backend: its part of the file, and what is to be known to run it."""

from __future__ import annotations

import contextlib
import importlib.util
from dataclasses import replace
from importlib.metadata import version
from typing import TYPE_CHECKING, ClassVar, Literal

from matrixbench.backends.llama.arguments import CONTEXT_STEP, OWNED
from matrixbench.backends.llama.build import llama_server_build, server_help, server_sha256
from matrixbench.backends.llama.executable import find_executable, install_line
from matrixbench.backends.llama.option_files import LOADS_CODE, llama_server_options
from matrixbench.backends.llama.server import open_llama_server
from matrixbench.backends.registry import (
    Examined,
    Fault,
    Gravity,
    ServerKind,
    ServerProgram,
    Severity,
    at_file,
    binary_at,
    grids_of,
    jinja_obstacle,
    names_files,
    ok,
    problem,
    told,
    unknown,
    warning,
)
from matrixbench.errors import ServerError
from matrixbench.plan.cells import PresentBuild
from matrixbench.plan.launches import with_contents
from matrixbench.spec.axes import label
from matrixbench.spec.backends import Binary, Obstacle, PositiveInt
from matrixbench.spec.base import GridOrGrids, axis_values
from matrixbench.spec.rules import flag_findings
from matrixbench.spec.slips import is_short, long_name, said_elsewhere, usual_flags
from matrixbench.spec.trust import Use, UseKind, program
from matrixbench.spec.wording import choose

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from contextlib import AbstractAsyncContextManager
    from pathlib import Path

    from matrixbench.backends.llama.executable import Executable, ServerHelp
    from matrixbench.backends.option_files import PathOptions
    from matrixbench.backends.registry import LaunchRequest, Session, Surroundings
    from matrixbench.plan.cells import Launch, Origin
    from matrixbench.records import JsonObject
    from matrixbench.spec.models import Model, Template
    from matrixbench.spec.yaml_source import Entry, Finding, Node


_BUILD_DIGITS = 12


class LlamaServerBackend(ServerKind):
    """llama.cpp's `llama-server`, started, watched and stopped for each launch."""

    kind: Literal["llama-server"]
    """How the server is obtained: started here, from a binary."""

    binary: Binary | None = None
    """The executable; `{label: PATH, …}` makes builds an axis. Default: `$LLAMA_SERVER_BIN_PATH`,
    then `llama-server` on PATH, then the embedded server of the extra `local`."""

    context: PositiveInt = 4096
    """Tokens that one request may use, prompt and reply together."""

    slots: PositiveInt = 4
    """Requests that the server works on at a time."""

    env: dict[str, str] = {}
    """Environment variables for the server."""

    options: GridOrGrids = {}
    """llama-server's own long flags without the dashes; a list is an axis, `{value: [...]}` a list
    that is one value. A list of mappings means their union. Paths are relative to the file."""

    page: ClassVar[str] = "docs/servers.md#llama-server"
    is_llama_cpp: ClassVar[bool] = True

    @classmethod
    def rule_findings(cls, name: str, entry: Entry, root: Node) -> Iterator[Finding]:
        """Yield the options that are not llama-server's long flags without their dashes."""
        return flag_findings(entry.node.child("options"))

    @classmethod
    def option_meant(cls, key: str) -> str | None:
        """Return the long flag that a key stands for."""
        name = long_name(key) or key
        return name if name in usual_flags() or name != key else None

    def held_context(self, context: int) -> int:
        """Return the context of a slot, which llama.cpp rounds up."""
        return -(-context // CONTEXT_STEP) * CONTEXT_STEP

    def launch_obstacle(
        self, model_name: str, model: Model, template: Template, *, faithful: bool
    ) -> Obstacle | None:
        """Return that a model has no file, or that a template is not in Jinja."""
        if not model.has_file:
            return Obstacle(
                f"model {model_name} has no source for a llama-server",
                "give it gguf:, hf: or package:, or say backends: in the model",
            )
        return jinja_obstacle(template)

    def identity(self, model: Model, template: Template) -> JsonObject:
        """Return what the file says beside options; the program's content is in the build."""
        usual = type(self).model_fields["context"].default
        return {
            "context": None if self.context == usual else self.context,
            "env": self.env or None,
            "model": model.file_reference,
        }

    def place(self, binary: str | None) -> tuple[str | None, ...]:
        """Return its executable, as the file names it."""
        return (binary,)

    @property
    def starts_server(self) -> bool:
        """It is started for each launch."""
        return True

    def needs_file(self, model: Model) -> bool:
        """It always is."""
        return True

    def _executable(self, binary: str | None, around: Surroundings) -> Executable:
        """Return the executable as it may be asked: with the file's variables, without, or not."""
        named, trust = self.binary_of(binary), around.trust
        env = self.env if trust.allows(self.env_uses) else {}
        executable = find_executable(named, env, environ=around.environ)
        if named is None or trust.allows([program(named)]):
            return executable
        return replace(executable, closed=trust.leave)

    def uses(self, models: Sequence[Model], around: Surroundings) -> Iterator[Use]:
        """Yield the program that is found where the file names none, and what loads code too."""
        yield from super().uses(models, around)
        if self.binary is None:
            with contextlib.suppress(ServerError):
                found = find_executable(None, self.env, environ=around.environ)
                path = str(found.path) if not found.embedded else "the embedded llama-server"
                yield program(path, free=f"found by {found.found_by}")
        for grid in grids_of(self, models):
            for name in grid.keys() & LOADS_CODE:
                for value in axis_values(grid[name]):
                    yield Use(kind=UseKind.OPTION, name=f"{name} {label(value)}")

    def placed(self, launch: Launch, origin: Origin, around: Surroundings) -> Origin:
        """Return an origin with the executable."""
        executable = self._executable(launch.binary, around)
        if executable.embedded:
            return replace(origin, binary=executable.found_by)
        return at_file(origin, executable.path)

    def present(self, launch: Launch, origin: Origin, around: Surroundings) -> PresentBuild:
        """Return the executable with its libraries, the model and this machine, by content."""
        files = self.meant(launch, around).files if names_files(launch.options) else ()
        source = launch.source.model_dump_json()
        key = ("build", launch.backend, launch.binary, source, *(file.name for file in files))
        return around.once(key, lambda: self._present(launch, origin, around))

    def _present(self, launch: Launch, origin: Origin, around: Surroundings) -> PresentBuild:
        try:
            source = around.located(launch)
            if source is not None:
                origin = replace(origin, model=source.sha256 or "")
            executable = self._executable(launch.binary, around)
            contents = around.contents(launch)
            if source is None:
                program = with_contents(server_sha256(executable, around.hashes), contents)
                origin = replace(origin, program=program)
                return unknown(origin, f"model {launch.model} is not on this machine", gone=True)
            build = llama_server_build(executable, source, around.hashes, contents)
            unasked = executable.closed and names_files(launch.options)
            unasked = unasked and self._help(launch, around) is None
        except (ServerError, OSError) as error:
            return unknown(origin, error, gone=True)
        origin = origin.of_build(build)
        if unasked:  # what it calls its options' values decides whether they are files
            note = "it is not trusted, and was not asked which of its options name files"
            return PresentBuild(build=build, verified=False, note=note, origin=origin)
        return PresentBuild(build=build, verified=True, origin=origin)

    def _help(self, launch: Launch, around: Surroundings) -> ServerHelp | None:
        """Return what the binary's `--help` says; None where it cannot be asked."""

        def asked() -> ServerHelp | None:
            try:
                return server_help(self._executable(launch.binary, around), around.hashes)
            except ServerError:
                return None

        return around.once(("help", launch.backend, launch.binary), asked)

    def path_options(self, launch: Launch, around: Surroundings) -> PathOptions:
        """Return what `--help` says, else what is known of llama.cpp."""
        return llama_server_options(self._help(launch, around))

    def program(self, launch: Launch, around: Surroundings) -> ServerProgram | None:
        """Return the executable."""

        def find() -> Path:
            return self._executable(launch.binary, around).path

        return ServerProgram(find, binary_at(launch), by_path=launch.binary is not None)

    @property
    def takes_jinja(self) -> bool:
        """It is given every template as Jinja."""
        return True

    def faults(self, launch: Launch, around: Surroundings) -> Iterator[Fault]:
        """Yield the options and the template's name that its `--help` does not know."""
        known = self._help(launch, around)
        yield from _option_faults(launch, known)
        yield from _template_faults(launch, known)

    def open(
        self, order: LaunchRequest, around: Surroundings
    ) -> AbstractAsyncContextManager[Session]:
        """Return a context in which the server answers, and after which nothing of it is left."""
        return open_llama_server(order, around.environ, around.hashes)

    def examine(
        self, what: str, ids: Mapping[str, str], around: Surroundings
    ) -> Iterator[Examined]:
        """Yield for each binary which build it is."""
        for name, binary in self.builds:
            yield self._examined(what if name is None else f"{what} {name}", binary, around)

    def _examined(self, what: str, binary: str | None, around: Surroundings) -> Examined:
        try:
            executable = self._executable(binary, around)
            build = llama_server_build(executable, None, around.hashes)
        except ServerError as error:
            return problem(what, told(error), error.hint)
        place = "the embedded server" if executable.embedded else str(executable.path)
        found = f"{place} (by {executable.found_by}), build {build.server[:_BUILD_DIGITS]}"
        if not build.version and executable.closed:
            todo = "it was not run: --trust asks it for its version"
            return warning(what, f"{found}, version unknown", todo)
        if not build.version:
            todo = "is it a llama-server? the program does not answer --version as one"
            return warning(what, f"{found}, version unknown", todo)
        return ok(what, f"{found}, version {build.version}")

    @classmethod
    def examine_machine(cls, around: Surroundings, *, named: bool) -> Iterator[Examined]:
        """Yield whether the embedded server is there; without a file, also which one is found."""
        if not named:
            one = next(cls(kind="llama-server").examine("llama-server", {}, around))
            # Nothing says that it is needed.
            minor = one.level is Severity.PROBLEM
            yield replace(one, level=Severity.WARNING) if minor else one
        if importlib.util.find_spec("xllamacpp") is None:
            todo = f"only needed without a binary: {install_line()}"
            yield warning("embedded server", "not installed", todo)
        else:
            yield ok("embedded server", f"xllamacpp {version('xllamacpp')}")


def _option_faults(launch: Launch, known: ServerHelp | None) -> Iterator[Fault]:
    """Yield the options that a llama-server does not know, or that are not the file's to set.

    Without a binary at hand only the short names are known to be none.
    """
    ways = (("models", launch.model, "options"), ("backends", launch.backend, "options"))
    for name in launch.options:
        if name in OWNED:
            message, hint = f"the option «{name}» is not given here", OWNED[name]
        elif _is_known(name, known):
            continue
        else:
            message = f"the llama-server of {launch.backend} does not know the option «{name}»"
            hint = _meant(name, known)
        yield Fault(ways=ways, name=name, message=message, hint=hint, gravity=Gravity.REFUSED)


def _is_known(name: str, known: ServerHelp | None) -> bool:
    if known is None:
        return not (is_short(name) or said_elsewhere(name))
    return f"--{name}" in known.flags


def _meant(name: str, known: ServerHelp | None) -> str:
    """Return what is written for an option that a llama-server does not know."""
    own = None if known is None else known.long_names
    meant = long_name(name, own)
    if meant is not None and _is_known(meant, known):
        return f"write {meant}"
    flags = {flag[2:] for flag in known.flags if flag.startswith("--")} if known else set()
    hint = said_elsewhere(name) or choose(name, sorted(flags - OWNED.keys()), what="it knows")
    return hint if meant is None else f"{name} is {meant} in other builds; {hint}"


def _template_faults(launch: Launch, known: ServerHelp | None) -> Iterator[Fault]:
    template = launch.template.known_as
    if template is None or known is None or template in known.templates:
        return
    hint = choose(template, sorted(known.templates), what="it knows")
    yield Fault(
        ways=(("chat_templates", launch.template.name),),
        name="name",
        message=f"the llama-server of {launch.backend} knows no chat template «{template}»",
        hint=f"{hint}; or use file:",
        gravity=Gravity.REFUSED,
    )
