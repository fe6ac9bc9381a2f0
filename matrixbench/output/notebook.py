"""A run's progress wherever Python runs: in a notebook's cell, on a terminal, in a log."""

from __future__ import annotations

import html
import sys
from importlib import import_module
from time import monotonic
from typing import TYPE_CHECKING, Any, Protocol, Self

from matrixbench.output.progress import ProgressCounts, lasting_line, progress_for
from matrixbench.output.tables import console
from matrixbench.run.events import LaunchFailed
from matrixbench.safe_text import for_terminal

if TYPE_CHECKING:
    from collections.abc import Callable

    from matrixbench.run.events import Event

UPDATE_EVERY_S = 0.25
"""How often a notebook's view is drawn again, at most."""

_LINES_SHOWN = 12


class ProgressView(Protocol):
    """A listener for `execute` and `run`, open as a context."""

    def __enter__(self) -> Self:
        """Begin to show."""

    def __exit__(self, *_: object) -> None:
        """Show the end."""

    def __call__(self, event: Event) -> None:
        """Show an event."""


def show_progress() -> ProgressView:
    """Return what shows a run's progress here, as a context and as a listener.

    In a notebook it is one output that is kept up to date, on a terminal a live view on standard
    error, elsewhere plain lines there.

    Examples:
        with show_progress() as listener:
            summary = await execute(experiment, mode="resume", listener=listener)
    """
    display = _notebook_display()
    return progress_for(console(sys.stderr)) if display is None else NotebookProgress(display)


def _notebook_display() -> Callable[..., Any] | None:
    """Return IPython's `display` where its shell has a frontend that can update what it shows."""
    module = sys.modules.get("IPython")
    shell = None if module is None else module.get_ipython()
    if shell is None or not hasattr(shell, "kernel"):
        return None
    found: Callable[..., Any] = import_module("IPython.display").display
    return found


class NotebookProgress:
    """One output of a notebook: a bar, the numbers, and the lines that last.

    Args:
        display: IPython's `display`.
        clock: Seconds, for the pace of updates.
    """

    def __init__(self, display: Callable[..., Any], clock: Callable[[], float] = monotonic) -> None:
        self._display = display
        self._clock = clock
        self._tally = ProgressCounts()
        self._lines: list[str] = []
        self._handle: Any = None
        self._drawn = float("-inf")

    def __enter__(self) -> Self:
        self._draw()
        return self

    def __exit__(self, *_: object) -> None:
        self._tally.stage = ""
        self._draw()

    def __call__(self, event: Event) -> None:
        """Take an event into account, and show it soon."""
        self._tally.add(event)
        line = lasting_line(event)
        if line is not None:
            self._lines.append(f"⚠ {line}" if isinstance(event, LaunchFailed) else line)
        if line is not None or self._clock() - self._drawn >= UPDATE_EVERY_S:
            self._draw()

    def _draw(self) -> None:
        self._drawn = self._clock()
        if self._handle is None:
            self._handle = self._display(self._bundle(), raw=True, display_id=True)
        else:
            self._handle.update(self._bundle(), raw=True)

    def _bundle(self) -> dict[str, str]:
        """Return what is shown, as text and as HTML."""
        tally = self._tally
        lines = self._lines[-_LINES_SHOWN:]
        if left_out := len(self._lines) - len(lines):
            lines = [f"… {left_out} lines before", *lines]
        now = [tally.numbers(), *([f"{tally.launch}: {tally.stage}"] if tally.stage else [])]
        lines, now = list(map(for_terminal, lines)), list(map(for_terminal, now))
        bar = f'<progress value="{tally.ran}" max="{max(tally.trials, 1)}"></progress> '
        told = "\n".join(html.escape(line) for line in [*lines, *now])
        return {
            "text/plain": "\n".join([*lines, *now]),
            "text/html": f'{bar}<pre style="white-space: pre-wrap">{told}</pre>',
        }
