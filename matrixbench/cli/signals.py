"""What Ctrl-C means while servers run."""

from __future__ import annotations

import asyncio
import signal
from contextlib import contextmanager
from typing import TYPE_CHECKING

from matrixbench.checks.workers import at_ease, hurry
from matrixbench.cli.shared import InterruptedByUser
from matrixbench.execution.interruption import is_breakable

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def stopping() -> Iterator[asyncio.Event]:
    """Yield an event that the first Ctrl-C or SIGTERM sets; the second one ends the run at once.

    «At once» cancels everything, which still stops the servers, without waiting for replies. The
    first one does so while files are hashed or stored replies judged again: nothing is in flight.
    """
    loop = asyncio.get_running_loop()
    running = asyncio.current_task()
    stop = asyncio.Event()

    def on_signal() -> None:
        if stop.is_set() and running is not None:
            running.cancel()
        stop.set()

    # Not `loop.add_signal_handler`: that waits for the loop, which somebody's check may hold up.
    def handle(_signal: int, _frame: object) -> None:
        if is_breakable():
            raise InterruptedByUser
        loop.call_soon_threadsafe(on_signal)
        hurry()

    signals = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    at_ease()  # not at the end: a function may run until then
    before = {number: signal.getsignal(number) for number in signals}
    for number in signals:
        signal.signal(number, handle)
    try:
        yield stop
    except asyncio.CancelledError:
        raise InterruptedByUser from None
    finally:
        for number in signals:
            signal.signal(number, before[number])
