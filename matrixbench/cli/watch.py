"""`watch`: the report of a run that goes on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from matrixbench.cli.opening import OfFile, OfFileOrStore, settings_of
from matrixbench.cli.report import Against
from matrixbench.cli.shared import put, say
from matrixbench.errors import NothingSelectedError
from matrixbench.output.report.serving import Live, Server
from matrixbench.store.database import open_store
from matrixbench.store.locks import ExperimentLock

if TYPE_CHECKING:
    from collections.abc import Callable

    from matrixbench.output.report.content import Source


def watch(
    *,
    source: OfFile,
    port: Annotated[
        int,
        typer.Option("--port", min=0, max=65535, help="Of loopback. Default: one that is free."),
    ] = 0,
) -> None:
    """Serve the report of a run that goes on, to this machine alone; ends with the run."""
    experiment = source.load()
    place = settings_of(experiment, source.store).store
    lock = ExperimentLock(place, experiment.file.name)
    if not lock.is_held:
        raise NothingSelectedError(
            f"no run of {experiment.file.name} goes on",
            where=str(place),
            hint=f"start one in another terminal: matrixbench execute {source.file} --resume; what "
            "is there already is shown by matrixbench report",
        )
    whole = OfFileOrStore(
        target=str(source.file),
        where=source.where,
        seed_offset=source.seed_offset,
        store=source.store,
    )

    def opened(use: Callable[[Source], None]) -> None:
        with whole.results() as results:
            use(Against().source(whole.target, results))

    def newest() -> int:
        with open_store(place, create=False) as store:
            return store.newest()

    live = Live(opened=opened, newest=newest, running=lambda: lock.is_held)
    with Server(live, title=f"{experiment.file.name}: report", port=port) as server:
        put(server.url)
        server.until_the_run_ends()
    say(f"the run has ended; to keep the report: matrixbench report {source.file}")
