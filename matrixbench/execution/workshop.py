"""What a launch needs before it can run: its model, its build, its order to a backend."""

from __future__ import annotations

import os
import platform
import re
import sys
import time
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, assert_never

from matrixbench.backends.protocol import LaunchOrder, ModelSource
from matrixbench.errors import ServerError, StoreError
from matrixbench.models.sources import fetch, locate
from matrixbench.plan.cells import PresentBuild
from matrixbench.spec.backends import EndpointBackend, LlamaServerBackend, ScriptedBackend
from matrixbench.store.rows import LaunchRecord

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractAsyncContextManager
    from pathlib import Path

    from matrixbench.backends.build import FileHashes
    from matrixbench.backends.protocol import Session, SessionInfo
    from matrixbench.execution.settings import Settings
    from matrixbench.models.files import FetchProgress, ModelFiles
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
            case _:
                assert_never(launch.spec)

    def _present_llama_server(self, launch: Launch, backend: LlamaServerBackend) -> PresentBuild:
        from matrixbench.backends.build import llama_server_build  # noqa: PLC0415  only here
        from matrixbench.backends.executable import find_executable  # noqa: PLC0415  only here

        files = self._located(launch)
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

    def _located(self, launch: Launch) -> ModelFiles | None:
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
        if isinstance(launch.spec, LlamaServerBackend):
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

                return LlamaServerOpener(
                    environ=self._settings.environ, hashes=self.hashes
                )(order)
            case EndpointBackend():
                from matrixbench.backends.endpoint import EndpointOpener  # noqa: PLC0415

                return EndpointOpener(self._settings.environ)(order)
            case ScriptedBackend():
                from matrixbench.backends.scripted import open_scripted  # noqa: PLC0415

                return open_scripted(order)
            case _:
                assert_never(order.backend)

    def record(self, launch: Launch, info: SessionInfo, experiment: Experiment) -> LaunchRecord:
        """Return what the store should keep of a launch that answers."""
        return LaunchRecord(
            experiment=experiment.file.name,
            digest=launch.digest,
            name=launch.name,
            build=info.build,
            started_at=time.time(),
            request_timeout_s=experiment.file.timeouts.request_s,
            order_seed=experiment.file.seed,
            command=info.command,
            effective=info.effective,
            host=host(),
            versions=versions(),
            log=None if info.log is None else str(info.log),
        )


def file_name(text: str) -> str:
    """Return a text as part of a file name: letters, digits, dots and dashes."""
    return re.sub(r"[^A-Za-z0-9._=-]+", "-", text).strip("-.")[:_NAME_LENGTH] or "launch"


def host() -> JsonObject:
    """Return what is known of this machine; memory in bytes."""
    pages, page_size = os.sysconf("SC_PHYS_PAGES"), os.sysconf("SC_PAGE_SIZE")
    return {
        "system": platform.platform(),
        "machine": platform.machine(),
        "cpus": os.cpu_count(),
        "memory_bytes": pages * page_size,
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
