"""What a launch needs before it can run: its model, its build, its request to a backend."""

from __future__ import annotations

import os
import platform
import sys
import time
from functools import cache, cached_property
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING

from matrixbench.backends.build import FileHashes, device_name, gpus, hashing
from matrixbench.backends.managed import remove_left_over
from matrixbench.backends.registry import (
    LaunchRequest,
    ModelSource,
    Surroundings,
    file_name,
    origin_of,
    present_build,
    server_of,
)
from matrixbench.errors import StoreError
from matrixbench.models.sources import fetch, locate
from matrixbench.models.workers import FetchProgress
from matrixbench.store.rows import LaunchRecord

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractAsyncContextManager
    from pathlib import Path

    from matrixbench.backends.option_files import Meant
    from matrixbench.backends.registry import ServerKind, Session, SessionInfo
    from matrixbench.execution.settings import Settings
    from matrixbench.models.workers import ModelFiles
    from matrixbench.plan.cells import Launch, Origin, PresentBuild
    from matrixbench.records import Build, JsonObject
    from matrixbench.spec.load import Experiment


class Servers:
    """Knows the surroundings: the environment, the caches, the folder for logs."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._started = time.strftime("%Y%m%d-%H%M%S")

    @cached_property
    def around(self) -> Surroundings:
        """What kinds of backends may know of this machine."""
        return Surroundings(
            environ=self._settings.environ,
            hashes=FileHashes(self._settings.cache / "hashes.json"),
            here=self._settings.here,
            folder=self._settings.store.parent,
            located=self._model_there,
            trust=self._settings.trust,
        )

    def present_build(self, launch: Launch) -> PresentBuild:
        """Return the build that a launch would run now; starts nothing, fetches nothing.

        Where it cannot be told (no binary, a model that is not fetched, a server of somebody
        else's), the build is None and the note says why. Where only the running server knows the
        rest, the build is what can be known. Its origin is there in any case.
        """
        return present_build(launch, self.around)

    def origin(self, launch: Launch, build: Build | None = None) -> Origin:
        """Return where a launch's server comes from, as it is now; `build` is what it runs.

        No large file is read: what a build says of the content is taken from it.
        """
        return origin_of(launch, self.around, build)

    def meant(self, launch: Launch) -> Meant:
        """Return a launch's options as its server is given them, and the files that they name."""
        return server_of(launch.spec).meant(launch, self.around)

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
            sha256=files.sha256 or self.around.hashes.model_sha256(files.paths),
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
        backend = server_of(launch.spec)
        source = backend.source(launch.model, launch.source)
        if backend.needs_file(launch.source):
            files = await fetch(
                launch.source,
                cache=self._settings.cache,
                environ=self._settings.environ,
                report=fetching,
            )
            source = await hashing(self._source, launch, files)
        return LaunchRequest(
            name=file_name(launch.name),
            backend=backend,
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
        remove_left_over(folder.parent)
        return folder / self._started

    def open(self, order: LaunchRequest) -> AbstractAsyncContextManager[Session]:
        """Return the context in which an order's server answers."""
        backend: ServerKind = order.backend
        return backend.open(order, self.around)

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


def _report_to(
    fetching: Callable[[FetchProgress], None],
) -> Callable[[str, int, int | None], None]:
    """Return what tells of a server's own fetching as of ours."""
    return lambda what, done, total: fetching(
        FetchProgress(what=what, done_bytes=done, total_bytes=total)
    )


@cache
def host() -> JsonObject:
    """Return what is known of this machine; memory in bytes."""
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
