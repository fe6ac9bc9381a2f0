"""`watch`: the report of a run that goes on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from matrixbench.cli.opening import OfFile
from matrixbench.cli.report import Against
from matrixbench.cli.shared import put, say
from matrixbench.errors import NothingSelectedError
from matrixbench.output.report.serving import Live, Server
from matrixbench.results.experiment import open_results
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
    """Serve the report of a run that goes on, to this machine alone.

    It ends with the run.
    """
    experiment = source.load()
    settings = source.to_look(experiment)
    place = settings.store
    lock = ExperimentLock(place, experiment.file.name)
    if not lock.is_held:
        raise NothingSelectedError(
            f"no run of {experiment.file.name} goes on",
            where=str(place),
            hint=f"start one in another terminal: matrixbench execute {source.file} --resume; what "
            "is there already is shown by matrixbench report",
        )

    def opened(use: Callable[[Source], None]) -> None:
        with open_results(experiment, settings, where=source.where or ()) as results:
            use(Against().source(str(source.file), results))

    def newest() -> int:
        with open_store(place, create=False) as store:
            return store.newest()

    live = Live(opened=opened, newest=newest, running=lambda: lock.is_held)
    with Server(live, title=f"{experiment.file.name}: report", port=port) as server:
        put(server.url)
        server.until_the_run_ends()
    say(f"the run has ended; to keep the report: matrixbench report {source.file}")
