"""`execute` for code that is no coroutine, whether or not an event loop runs around it."""

from __future__ import annotations

import asyncio
from asyncio import CancelledError
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from queue import SimpleQueue
from threading import Lock
from typing import TYPE_CHECKING

from matrixbench.execution.summary import Mode
from matrixbench.gated import execute

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from matrixbench.execution.events import Event, Listener
    from matrixbench.execution.settings import Settings
    from matrixbench.execution.summary import RunSummary
    from matrixbench.spec.load import Experiment


def run(
    experiment: Experiment,
    settings: Settings | None = None,
    *,
    mode: Mode | str = Mode.NEW,
    where: str | Sequence[str] = (),
    trials: int | None = None,
    any_build: bool = False,
    listener: Listener | None = None,
) -> RunSummary:
    """Run what an experiment still lacks, and return when it is done.

    It is `execute` with an event loop of its own in another thread, so that it works in a
    notebook's cells and in functions that they call. Arguments and errors are those of `execute`;
    the listener is called in the thread that calls this. A KeyboardInterrupt (Ctrl-C, or a
    notebook's stop button) ends the run in an orderly way: what was measured is stored, and the
    summary says `interrupted`. A second one does not wait for replies that are on their way.
    """
    events: SimpleQueue[Event | None] = SimpleQueue()
    stop = _Stop()

    async def running() -> RunSummary:
        return await execute(
            experiment,
            settings,
            mode=mode,
            where=where,
            trials=trials,
            any_build=any_build,
            listener=events.put,
            interrupted=stop.here(),
        )

    with ThreadPoolExecutor(1, thread_name_prefix="matrixbench") as thread:
        done = thread.submit(lambda: asyncio.run(running()))
        done.add_done_callback(lambda _: events.put(None))
        _tell_until_done(events, listener, stop)
        try:
            return done.result()
        except CancelledError:
            raise KeyboardInterrupt from None


class _Stop:
    """Lets one thread stop what runs in another's event loop, also before that began."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._asked = 0
        self._loop: asyncio.AbstractEventLoop | None = None
        self._ways: tuple[Callable[[], object], ...] = ()

    def here(self) -> asyncio.Event:
        """Return the event of the running loop that is set once somebody asks to stop.

        Who asks again cancels the task that calls this.
        """
        interrupted, task = asyncio.Event(), asyncio.current_task()
        with self._lock:
            self._loop = asyncio.get_running_loop()
            self._ways = (interrupted.set, *([task.cancel] if task else []))
            if self._asked:
                interrupted.set()
        return interrupted

    def ask(self) -> None:
        """Ask to stop, from any thread; the second time, at once."""
        with self._lock:
            self._asked += 1
            if self._loop is not None:
                way = self._ways[min(self._asked, len(self._ways)) - 1]
                with suppress(RuntimeError):  # its loop is closed: there is nothing to stop
                    self._loop.call_soon_threadsafe(way)


def _tell_until_done(
    events: SimpleQueue[Event | None], listener: Listener | None, stop: _Stop
) -> None:
    """Hand on a run's events until there are no more."""
    while True:
        try:
            if (event := events.get()) is None:
                return
            if listener is not None:
                listener(event)
        except KeyboardInterrupt:
            stop.ask()
        except BaseException:  # the listener's own fault: the run must not go on unseen
            stop.ask()
            raise
