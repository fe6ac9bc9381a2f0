"""What a launch needs before it can run: its model, its build, its request to a backend."""

from __future__ import annotations

import contextlib
import os
import platform
import re
import sys
import time
from dataclasses import replace
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any, assert_never
from urllib.parse import urlsplit

from matrixbench.backends.protocol import LaunchRequest, ModelSource
from matrixbench.errors import ServerError, StoreError
from matrixbench.identity import digest
from matrixbench.models.sources import fetch, locate
from matrixbench.models.workers import FetchProgress
from matrixbench.plan.applicability import takes_file
from matrixbench.plan.cells import Origin, PresentBuild
from matrixbench.plan.launches import with_contents
from matrixbench.spec.backends import (
    CommandBackend,
    EndpointBackend,
    LlamaServerBackend,
    OllamaBackend,
    ScriptedBackend,
)
from matrixbench.store.rows import LaunchRecord

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from contextlib import AbstractAsyncContextManager

    from matrixbench.backends.build import FileHashes
    from matrixbench.backends.llama.executable import ServerHelp
    from matrixbench.backends.llama.option_files import Meant, PathOptions
    from matrixbench.backends.protocol import Session, SessionInfo
    from matrixbench.errors import MatrixbenchError
    from matrixbench.models.workers import ModelFiles
    from matrixbench.plan.cells import Launch
    from matrixbench.records import Build, JsonObject
    from matrixbench.run.settings import Settings
    from matrixbench.spec.load import Experiment


def origin_in_file(launch: Launch) -> Origin:
    """Return what the file alone says of where a launch's server comes from."""
    spec = launch.spec
    origin = Origin(kind=spec.kind, replica=spec.replica)
    match spec:
        case LlamaServerBackend() | CommandBackend():
            return replace(origin, env=_digests(spec.env))
        case OllamaBackend():
            from matrixbench.backends.http.address import root_of  # noqa: PLC0415  only here

            origin = replace(origin, env=_digests(spec.env))
            return origin if spec.url is None else _attached(origin, root_of(spec.url))
        case EndpointBackend():
            return _attached(origin, spec.url)
        case ScriptedBackend():
            return origin
        case _:
            assert_never(spec)


def _attached(origin: Origin, url: str) -> Origin:
    from matrixbench.backends.http.address import shown_url  # noqa: PLC0415  only where a server runs

    parts = urlsplit(url)
    rest = [parts.username, parts.password, parts.query or None]
    hidden = digest(rest) if any(part is not None for part in rest) else ""
    return replace(origin, url=shown_url(url), url_rest=hidden)


def _digests(env: dict[str, str]) -> dict[str, str]:
    """Return variable → digest of its value: somebody may have written a secret into the file."""
    return {name: digest([name, value]) for name, value in env.items()}


def at_file(origin: Origin, path: Path) -> Origin:
    """Return an origin whose server is this executable."""
    with contextlib.suppress(OSError):
        real = path.resolve(strict=True)
        found = real.stat()
        return replace(origin, binary=str(real), size=found.st_size, modified_ns=found.st_mtime_ns)
    return replace(origin, binary=str(path))


def lacking(origin: Origin, what: str | MatrixbenchError | OSError) -> Origin:
    """Return an origin of which something is not on this machine."""
    named = getattr(what, "where", "")
    note = str(what).partition("\n")[0]
    return replace(origin, binary=origin.binary or named, missing=note)


_NAME_LENGTH = 80
"""File names stay well below the 255 bytes that file systems allow."""


class Servers:
    """Knows the surroundings: the environment, the caches, the folder for logs."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._started = time.strftime("%Y%m%d-%H%M%S")
        self._hashes: FileHashes | None = None
        self._present: dict[tuple[str, ...], PresentBuild] = {}
        self._helps: dict[tuple[str, str | None], ServerHelp | None] = {}

    @property
    def hashes(self) -> FileHashes:
        """The digests of files, remembered in the cache folder."""
        if self._hashes is None:
            from matrixbench.backends.build import FileHashes  # noqa: PLC0415  only where needed

            self._hashes = FileHashes(self._settings.cache / "hashes.json")
        return self._hashes

    def present_build(self, launch: Launch) -> PresentBuild:
        """Return the build that a launch would run now; starts nothing, fetches nothing.

        Where it cannot be told (no binary, a model that is not fetched, a server of somebody
        else's), the build is None and the note says why. Where only the running server knows the
        rest, the build is what can be known. Its origin is there in any case.
        """
        match launch.spec:
            case ScriptedBackend():
                from matrixbench.backends.scripted import SCRIPTED_BUILD  # noqa: PLC0415

                return PresentBuild(
                    build=SCRIPTED_BUILD, verified=True, origin=origin_in_file(launch)
                )
            case EndpointBackend():
                return _unknown(origin_in_file(launch), "an endpoint is asked only when it runs")
            case LlamaServerBackend():
                files = self.meant(launch).files if names_files(launch.options) else ()
                source = launch.source.model_dump_json()
                key = (launch.backend, launch.binary or "", source, *(file.name for file in files))
                if key not in self._present:
                    self._present[key] = self._present_llama_server(launch, launch.spec)
                return self._present[key]
            case CommandBackend():
                return self._present_command(launch, launch.spec)
            case OllamaBackend():
                return self._present_ollama(launch, launch.spec)
            case _:
                assert_never(launch.spec)

    def origin(self, launch: Launch, build: Build | None = None) -> Origin:
        """Return where a launch's server comes from, as it is now; `build` is what it runs.

        No large file is read: what a build says of the content is taken from it.
        """
        origin = origin_in_file(launch)
        try:
            origin = self._placed(launch, origin)
        except (ServerError, OSError) as error:
            origin = lacking(origin, error)
        return origin if build is None else origin.of_build(build)

    def _placed(self, launch: Launch, origin: Origin) -> Origin:
        """Return an origin with the executable and the command line of what is started here."""
        spec, environ = launch.spec, self._settings.environ
        match spec:
            case LlamaServerBackend():
                from matrixbench.backends.llama.executable import find_executable  # noqa: PLC0415

                executable = find_executable(spec, launch.binary, environ=environ)
                if executable.embedded:
                    return replace(origin, binary=executable.found_by)
                return at_file(origin, executable.path)
            case CommandBackend():
                from matrixbench.backends.command import located  # noqa: PLC0415  only here

                arguments, path = located(self._command_order(launch, spec), environ)
                return at_file(replace(origin, argv=arguments), path)
            case OllamaBackend(url=None):
                from matrixbench.backends.ollama.server import find_ollama  # noqa: PLC0415

                return at_file(origin, find_ollama(spec, launch.binary, environ=environ))
            case _:
                return origin

    def _present_llama_server(self, launch: Launch, backend: LlamaServerBackend) -> PresentBuild:
        from matrixbench.backends.build import llama_server_build, server_sha256  # noqa: PLC0415
        from matrixbench.backends.llama.executable import find_executable  # noqa: PLC0415  only here

        origin = self.origin(launch)
        try:
            source = self._model_there(launch)
            if source is not None:
                origin = replace(origin, model=source.sha256 or "")
            executable = find_executable(backend, launch.binary, environ=self._settings.environ)
            contents = self._contents(launch)
            if source is None:
                program = with_contents(server_sha256(executable, self.hashes), contents)
                origin = replace(origin, program=program)
                return _unknown(origin, f"model {launch.model} is not on this machine", gone=True)
            build = llama_server_build(executable, source, self.hashes, contents)
        except (ServerError, OSError) as error:
            return _unknown(origin, error, gone=True)
        return PresentBuild(build=build, verified=True, origin=origin.of_build(build))

    def _present_command(self, launch: Launch, backend: CommandBackend) -> PresentBuild:
        from matrixbench.backends.command import prepare  # noqa: PLC0415  only here

        origin, takes = self.origin(launch), takes_file(backend, launch.source)
        try:
            source = self._model_there(launch) if takes else None
            order = self._command_order(launch, backend, source)
            build = prepare(order, self._settings.environ, self.hashes).build({})
        except (ServerError, OSError) as error:
            return _unknown(origin, error, gone=True)
        origin = origin.of_build(build)
        if takes and source is None:
            return _unknown(origin, f"model {launch.model} is not on this machine", gone=True)
        note = "what the server says of itself is known only when it runs"
        return PresentBuild(build=build, verified=False, note=note, origin=origin)

    def _command_order(
        self, launch: Launch, backend: CommandBackend, source: ModelSource | None = None
    ) -> LaunchRequest:
        return LaunchRequest(
            name=file_name(launch.name),
            backend=backend,
            options=launch.options,
            model=source or ModelSource(name=launch.model, id=launch.source.id),
            template=launch.template,
            folder=self._settings.store.parent,
            here=self._settings.here,
        )

    def _present_ollama(self, launch: Launch, backend: OllamaBackend) -> PresentBuild:
        from matrixbench.backends.ollama.server import present_build  # noqa: PLC0415  only here

        origin = self.origin(launch)
        if backend.url is not None:
            return _unknown(origin, "a server that runs is asked only by a run")
        tag, sha256 = launch.source.ollama, None
        try:
            if tag is None and (source := self._model_there(launch)) is not None:
                sha256 = source.sha256
                origin = replace(origin, model=sha256 or "")
            build = present_build(
                backend,
                launch.binary,
                ModelSource(name=launch.model, id=tag, sha256=sha256),
                environ=self._settings.environ,
                hashes=self.hashes,
                contents=self._contents(launch),
            )
        except (ServerError, OSError) as error:
            return _unknown(origin, error, gone=True)
        return PresentBuild(build=build, verified=True, origin=origin.of_build(build))

    def server_help(self, launch: Launch, backend: LlamaServerBackend) -> ServerHelp:
        """Return what the `--help` of a launch's llama-server says, asked once for each build.

        Raises:
            ServerError: There is no such binary, or it cannot be asked.
        """
        from matrixbench.backends.build import server_help  # noqa: PLC0415  only where needed
        from matrixbench.backends.llama.executable import find_executable  # noqa: PLC0415  the same

        executable = find_executable(backend, launch.binary, environ=self._settings.environ)
        return server_help(executable, self.hashes)

    def meant(self, launch: Launch) -> Meant:
        """Return a launch's options as its server is given them, and the files that they name.

        Where a llama-server's `--help` cannot be read, what is known of llama.cpp tells which
        options take a path.
        """
        from matrixbench.backends.llama.option_files import llama_server_options, marked_only, meant  # noqa: PLC0415

        kinds: PathOptions = marked_only
        if isinstance(launch.spec, LlamaServerBackend):
            kinds = llama_server_options(self._help(launch, launch.spec))
        base = self._settings.here or Path.cwd()
        return meant(launch.options, kinds, base=base, environ=self._settings.environ)

    def _help(self, launch: Launch, backend: LlamaServerBackend) -> ServerHelp | None:
        key = launch.backend, launch.binary
        if key not in self._helps:
            try:
                self._helps[key] = self.server_help(launch, backend)
            except ServerError:
                self._helps[key] = None
        return self._helps[key]

    def _contents(self, launch: Launch) -> Mapping[str, str]:
        """Return the digests of the files that a launch's options name.

        Raises:
            ServerError: A path stands for nothing, or a file is missing or cannot be read.
        """
        from matrixbench.backends.llama.option_files import file_contents  # noqa: PLC0415  the same

        if not names_files(launch.options):
            return {}
        found = self.meant(launch)
        for fault in found.missing():
            raise fault.error
        return file_contents(found.files, self.hashes)

    def program_of(self, launch: Launch) -> Callable[[], object] | None:
        """Return what looks for the program of a launch's server; None where none is started here.

        What it returns raises ServerError where the program is not there.
        """
        from matrixbench.backends.build import find_program  # noqa: PLC0415  the same
        from matrixbench.backends.llama.executable import find_executable  # noqa: PLC0415  only here
        from matrixbench.backends.ollama.server import find_ollama  # noqa: PLC0415  the same
        from matrixbench.backends.process import server_environment  # noqa: PLC0415  the same

        spec, environ = launch.spec, self._settings.environ
        match spec:
            case LlamaServerBackend():
                return lambda: find_executable(spec, launch.binary, environ=environ)
            case OllamaBackend() if spec.url is None:
                return lambda: find_ollama(spec, launch.binary, environ=environ)
            case CommandBackend() if "{" not in spec.argv[0]:
                return lambda: find_program(spec.argv[0], server_environment(environ, spec.env))
            case _:
                return None

    def located(self, launch: Launch) -> ModelFiles | None:
        """Return the files of a launch's model where they are on this machine, else None."""
        return locate(launch.source, cache=self._settings.cache, environ=self._settings.environ)

    def _model_there(self, launch: Launch) -> ModelSource | None:
        """Return a launch's model where its file is on this machine."""
        files = self.located(launch)
        return None if files is None else self._source(launch, files)

    def _source(self, launch: Launch, files: ModelFiles) -> ModelSource:
        return ModelSource(
            name=launch.model,
            path=files.paths[0],
            id=launch.source.id,
            sha256=files.sha256 or self.hashes.model_sha256(files.paths),
        )

    async def order(
        self,
        launch: Launch,
        experiment: Experiment,
        fetching: Callable[[FetchProgress], None],
    ) -> LaunchRequest:
        """Return the order for a launch, its model fetched where it is not on this machine.

        Raises:
            ModelError: The model cannot be had.
            StoreError: The folder for logs cannot be made.
        """
        source = ModelSource(name=launch.model, id=launch.source.id)
        if isinstance(launch.spec, OllamaBackend):
            source = ModelSource(name=launch.model, id=launch.source.ollama)
        if needs_file(launch):
            files = await fetch(
                launch.source,
                cache=self._settings.cache,
                environ=self._settings.environ,
                report=fetching,
            )
            source = self._source(launch, files)
        return LaunchRequest(
            name=file_name(launch.name),
            backend=launch.spec,
            binary=launch.binary,
            options=launch.options,
            model=source,
            template=launch.template,
            faithful=experiment.file.faithful,
            start_timeout_s=experiment.file.timeouts.start_s,
            folder=self._folder(experiment),
            report=_report_to(fetching),
            here=experiment.path.parent,
        )

    def _folder(self, experiment: Experiment) -> Path:
        from matrixbench.backends.managed import remove_left_over  # noqa: PLC0415  only to run

        folder = self._settings.store.parent / "logs" / file_name(experiment.file.name)
        try:
            (folder / self._started).mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StoreError(
                f"the folder for logs cannot be made: {error.strerror}",
                where=str(folder),
                hint="make it writable, or move the store with --store",
            ) from error
        remove_left_over(folder.parent)
        return folder / self._started

    def open(self, order: LaunchRequest) -> AbstractAsyncContextManager[Session]:
        """Return the context in which an order's server answers."""
        match order.backend:
            case LlamaServerBackend():
                from matrixbench.backends.llama.server import LlamaServerOpener  # noqa: PLC0415

                return LlamaServerOpener(environ=self._settings.environ, hashes=self.hashes)(order)
            case CommandBackend():
                from matrixbench.backends.command import CommandOpener  # noqa: PLC0415

                return CommandOpener(environ=self._settings.environ, hashes=self.hashes)(order)
            case OllamaBackend():
                from matrixbench.backends.ollama.backend import OllamaOpener  # noqa: PLC0415  only here

                return OllamaOpener(environ=self._settings.environ, hashes=self.hashes)(order)
            case EndpointBackend():
                from matrixbench.backends.endpoint import EndpointOpener  # noqa: PLC0415

                return EndpointOpener(self._settings.environ)(order)
            case ScriptedBackend():
                from matrixbench.backends.scripted import open_scripted  # noqa: PLC0415

                return open_scripted(order)
            case _:
                assert_never(order.backend)

    def record(
        self, launch: Launch, info: SessionInfo | None, experiment: Experiment
    ) -> LaunchRecord:
        """Return what the store should keep of a launch; without `info` it never answered."""
        return LaunchRecord(
            experiment=experiment.file.name,
            digest=launch.digest,
            name=launch.name,
            build=None if info is None else info.build,
            started_at=time.time(),
            request_timeout_s=experiment.file.timeouts.request_s,
            order_seed=experiment.file.seed,
            command=() if info is None else info.command,
            effective={} if info is None else info.effective,
            host=host(),
            versions=versions(),
            log=None if info is None or info.log is None else str(info.log),
            origin=self.origin(launch, None if info is None else info.build),
        )


def names_files(options: Mapping[str, Any]) -> bool:
    """Return whether options may name files: whether any holds a text, a list or a mapping."""
    return any(isinstance(value, str | list | tuple | dict) for value in options.values())


def _unknown(
    origin: Origin, why: str | MatrixbenchError | OSError, *, gone: bool = False
) -> PresentBuild:
    """Return that a build is not known; `gone` says that something is not on this machine."""
    note = str(why).partition("\n")[0]
    origin = lacking(origin, why) if gone else origin
    return PresentBuild(build=None, verified=False, note=note, origin=origin)


def needs_file(launch: Launch) -> bool:
    """Return whether a launch's server is given the model as a file, which must be here first."""
    match launch.spec:
        case LlamaServerBackend():
            return True
        case OllamaBackend():
            return launch.source.ollama is None
        case CommandBackend():
            return takes_file(launch.spec, launch.source)
        case _:
            return False


def _report_to(
    fetching: Callable[[FetchProgress], None],
) -> Callable[[str, int, int | None], None]:
    """Return what tells of a server's own fetching as of ours."""
    return lambda what, done, total: fetching(
        FetchProgress(what=what, done_bytes=done, total_bytes=total)
    )


def file_name(text: str) -> str:
    """Return a text as part of a file name: letters, digits, dots and dashes."""
    return re.sub(r"[^A-Za-z0-9._=-]+", "-", text).strip("-.")[:_NAME_LENGTH] or "launch"


@cache
def host() -> JsonObject:
    """Return what is known of this machine; memory in bytes."""
    from matrixbench.backends.build import device_name, gpus  # noqa: PLC0415  only for a record

    pages, page_size = os.sysconf("SC_PHYS_PAGES"), os.sysconf("SC_PAGE_SIZE")
    return {
        "system": platform.platform(),
        "machine": platform.machine(),
        "cpus": os.cpu_count(),
        "memory_bytes": pages * page_size,
        "device": device_name(),
        "gpus": gpus(),
    }


def versions() -> JsonObject:
    """Return name → version of the software that takes part."""
    found: JsonObject = {"python": sys.version.split()[0]}
    for name in ("matrixbench", "xllamacpp"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
