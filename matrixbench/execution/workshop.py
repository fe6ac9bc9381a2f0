"""What a launch needs before it can run: its model, its build, its order to a backend."""

from __future__ import annotations

import os
import platform
import re
import sys
import time
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, assert_never

from matrixbench.backends.protocol import LaunchOrder, ModelSource
from matrixbench.errors import ServerError, StoreError
from matrixbench.models.files import FetchProgress
from matrixbench.models.sources import fetch, locate
from matrixbench.plan.applicability import takes_file
from matrixbench.plan.cells import PresentBuild
from matrixbench.spec.backends import (
    CommandBackend,
    EndpointBackend,
    LlamaServerBackend,
    OllamaBackend,
    ScriptedBackend,
)
from matrixbench.store.rows import LaunchRecord

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractAsyncContextManager
    from pathlib import Path

    from matrixbench.backends.build import FileHashes
    from matrixbench.backends.executable import ServerHelp
    from matrixbench.backends.protocol import Session, SessionInfo
    from matrixbench.execution.settings import Settings
    from matrixbench.models.files import ModelFiles
    from matrixbench.plan.cells import Launch
    from matrixbench.records import JsonObject
    from matrixbench.spec.load import Experiment

_NAME_LENGTH = 80
"""File names stay well below the 255 bytes that file systems allow."""


class Workshop:
    """Knows the surroundings: the environment, the caches, the folder for logs."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._started = time.strftime("%Y%m%d-%H%M%S")
        self._hashes: FileHashes | None = None
        self._present: dict[tuple[str, ...], PresentBuild] = {}

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
        else's), the build is None and the note says why.
        """
        match launch.spec:
            case ScriptedBackend():
                from matrixbench.backends.scripted import SCRIPTED_BUILD  # noqa: PLC0415

                return PresentBuild(build=SCRIPTED_BUILD, verified=True)
            case EndpointBackend():
                return PresentBuild(
                    build=None, verified=False, note="an endpoint is asked only when it runs"
                )
            case LlamaServerBackend():
                key = (launch.backend, launch.binary or "", launch.source.model_dump_json())
                if key not in self._present:
                    self._present[key] = self._present_llama_server(launch, launch.spec)
                return self._present[key]
            case CommandBackend():
                return self._present_command(launch, launch.spec)
            case OllamaBackend():
                return self._present_ollama(launch, launch.spec)
            case _:
                assert_never(launch.spec)

    def _present_llama_server(self, launch: Launch, backend: LlamaServerBackend) -> PresentBuild:
        from matrixbench.backends.build import llama_server_build  # noqa: PLC0415  only here
        from matrixbench.backends.executable import find_executable  # noqa: PLC0415  only here

        files = self.located(launch)
        if files is None:
            return PresentBuild(
                build=None, verified=False, note=f"model {launch.model} is not on this machine"
            )
        try:
            executable = find_executable(backend, launch.binary, environ=self._settings.environ)
            build = llama_server_build(executable, self._source(launch, files), self.hashes)
        except (ServerError, OSError) as error:
            return PresentBuild(build=None, verified=False, note=str(error).partition("\n")[0])
        return PresentBuild(build=build, verified=True)

    def _present_command(self, launch: Launch, backend: CommandBackend) -> PresentBuild:
        from matrixbench.backends.command import prepare  # noqa: PLC0415  only here

        source = ModelSource(name=launch.model, id=launch.source.id)
        if takes_file(backend, launch.source):
            if (files := self.located(launch)) is None:
                return PresentBuild(
                    build=None, verified=False, note=f"model {launch.model} is not on this machine"
                )
            source = self._source(launch, files)
        order = LaunchOrder(
            name=file_name(launch.name),
            backend=backend,
            options=launch.options,
            model=source,
            template=launch.template,
            folder=self._settings.store.parent,
            here=self._settings.here,
        )
        try:
            recipe = prepare(order, self._settings.environ, self.hashes)
        except (ServerError, OSError) as error:
            return PresentBuild(build=None, verified=False, note=str(error).partition("\n")[0])
        return PresentBuild(
            build=recipe.build({}),
            verified=False,
            note="what the server says of itself is known only when it runs",
        )

    def _present_ollama(self, launch: Launch, backend: OllamaBackend) -> PresentBuild:
        from matrixbench.backends.ollama_server import present_build  # noqa: PLC0415  only here

        if backend.url is not None:
            return PresentBuild(
                build=None, verified=False, note="a server that runs is asked only by a run"
            )
        tag, sha256 = launch.source.ollama, None
        if tag is None and (files := self.located(launch)) is not None:
            sha256 = self._source(launch, files).sha256
        try:
            build = present_build(
                backend,
                launch.binary,
                ModelSource(name=launch.model, id=tag, sha256=sha256),
                environ=self._settings.environ,
                hashes=self.hashes,
            )
        except (ServerError, OSError) as error:
            return PresentBuild(build=None, verified=False, note=str(error).partition("\n")[0])
        return PresentBuild(build=build, verified=True)

    def server_help(self, launch: Launch, backend: LlamaServerBackend) -> ServerHelp:
        """Return what the `--help` of a launch's llama-server says, asked once for each build.

        Raises:
            ServerError: There is no such binary, or it cannot be asked.
        """
        from matrixbench.backends.build import server_help  # noqa: PLC0415  only where needed
        from matrixbench.backends.executable import find_executable  # noqa: PLC0415  the same

        executable = find_executable(backend, launch.binary, environ=self._settings.environ)
        return server_help(executable, self.hashes)

    def program_of(self, launch: Launch) -> Callable[[], object] | None:
        """Return what looks for the program of a launch's server; None where none is started here.

        What it returns raises ServerError where the program is not there.
        """
        from matrixbench.backends.executable import find_executable  # noqa: PLC0415  only here
        from matrixbench.backends.ollama_server import find_ollama  # noqa: PLC0415  the same
        from matrixbench.backends.process import server_environment  # noqa: PLC0415  the same
        from matrixbench.backends.program import find_program  # noqa: PLC0415  the same

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
    ) -> LaunchOrder:
        """Return the order for a launch, its model fetched where it is not on this machine.

        Raises:
            ModelError: The model cannot be had.
            StoreError: The folder for logs cannot be made.
        """
        source = ModelSource(name=launch.model, id=launch.source.id)
        if isinstance(launch.spec, OllamaBackend):
            source = ModelSource(name=launch.model, id=launch.source.ollama)
        if _needs_file(launch):
            files = await fetch(
                launch.source,
                cache=self._settings.cache,
                environ=self._settings.environ,
                report=fetching,
            )
            source = self._source(launch, files)
        return LaunchOrder(
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
        folder = self._settings.store.parent / "logs" / file_name(experiment.file.name)
        try:
            (folder / self._started).mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StoreError(
                f"the folder for logs cannot be made: {error.strerror}",
                where=str(folder),
                hint="make it writable, or move the store with --store",
            ) from error
        return folder / self._started

    def open(self, order: LaunchOrder) -> AbstractAsyncContextManager[Session]:
        """Return the context in which an order's server answers."""
        match order.backend:
            case LlamaServerBackend():
                from matrixbench.backends.llama_server import LlamaServerOpener  # noqa: PLC0415

                return LlamaServerOpener(environ=self._settings.environ, hashes=self.hashes)(order)
            case CommandBackend():
                from matrixbench.backends.command import CommandOpener  # noqa: PLC0415

                return CommandOpener(environ=self._settings.environ, hashes=self.hashes)(order)
            case OllamaBackend():
                from matrixbench.backends.ollama import OllamaOpener  # noqa: PLC0415  only here

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
        )


def _needs_file(launch: Launch) -> bool:
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
