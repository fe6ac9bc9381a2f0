"""What Ctrl-C means while servers run."""

from __future__ import annotations

import asyncio
import signal
from contextlib import contextmanager
from typing import TYPE_CHECKING

from matrixbench.cli.shared import Interrupted

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def stopping() -> Iterator[asyncio.Event]:
    """Yield an event that the first Ctrl-C or SIGTERM sets; the second one ends the run at once.

    «At once» cancels everything, which still stops the servers, without waiting for replies.
    """
    loop = asyncio.get_running_loop()
    running = asyncio.current_task()
    stop = asyncio.Event()

    def on_signal() -> None:
        if stop.is_set() and running is not None:
            running.cancel()
        stop.set()

    signals = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = {number: signal.getsignal(number) for number in signals}
    for number in signals:
        loop.add_signal_handler(number, on_signal)
    try:
        yield stop
    except asyncio.CancelledError:
        raise Interrupted from None
    finally:
        for number in signals:
            loop.remove_signal_handler(number)
            signal.signal(number, before[number])
