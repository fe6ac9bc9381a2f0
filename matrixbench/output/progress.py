"""A run's progress wherever Python runs: on a terminal, in a log, in a notebook's cell."""

from __future__ import annotations

import html
import sys
from abc import abstractmethod
from collections import Counter, deque
from dataclasses import dataclass, field
from importlib import import_module
from time import monotonic
from typing import TYPE_CHECKING, Any, Self

from rich.console import Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from matrixbench.execution.events import (
    Compared,
    Fetching,
    GateDecided,
    Interrupted,
    LaunchFailed,
    LaunchFinished,
    LaunchNoticed,
    LaunchReady,
    LaunchSkipped,
    LaunchStarting,
    Rejudged,
    RoundsStarted,
    RunStarted,
    ServerRestarted,
    TrialDone,
    TrialsSpared,
    Unverified,
    WarmingUp,
)
from matrixbench.output.text import console, duration
from matrixbench.records import Kind, Outcome
from matrixbench.safe_text import for_line, for_terminal
from matrixbench.spec.wording import counted

if TYPE_CHECKING:
    from collections.abc import Callable

    from rich.console import Console

    from matrixbench.execution.events import Event

_WINDOW_S = 60.0
"""The rate is taken over the last minute, so that it follows a slower model soon."""

_LINE_EVERY_S = 15.0
"""How often a log gets a line while nothing else happens."""

_REFRESH_PER_S = 4
_BAR = 30

UPDATE_EVERY_S = 0.25
"""How often a notebook's view is drawn again, at most."""

_LINES_SHOWN = 12
_WARMING = "warming up"


@dataclass(slots=True)
class ProgressCounts:
    """What the events add up to."""

    clock: Callable[[], float] = monotonic
    trials: int = 0
    ran: int = 0
    adaptive: bool = False
    stopped: int = 0
    launch: str = ""
    launch_index: int = 0
    launch_count: int = 0
    launch_trials: int = 0
    launch_ran: int = 0
    stage: str = ""
    outcomes: Counter[Outcome] = field(default_factory=Counter)
    waiting: int = 0
    recent: deque[tuple[float, int]] = field(default_factory=deque)

    def add(self, event: Event) -> None:  # noqa: C901  one case an event
        """Take an event into account."""
        match event:
            case RunStarted():
                self.trials, self.adaptive = event.trials, event.adaptive
            case LaunchStarting():
                self.launch, self.launch_index = event.name, event.index
                self.launch_count, self.launch_trials = event.count, event.trials
                self.launch_ran = 0
                self.stage = "starting the server"
            case Fetching():
                self.stage = f"fetching {event.what} {sizes(event.done_bytes, event.total_bytes)}"
            case LaunchReady():
                self.stage = ""
                self.trials += event.trials - self.launch_trials
                self.launch_trials = event.trials
                self.recent.clear()
            case WarmingUp():
                self.stage = _WARMING
            case Interrupted():
                self.stage = "stopping"
            case TrialDone():
                self.stage = "" if self.stage == _WARMING else self.stage
                self.ran += 1
                self.launch_ran += 1
                if event.kind is Kind.NO_REFERENCE:
                    self.waiting += 1
                else:
                    self.outcomes[event.outcome] += 1
                self._note()
            case TrialsSpared():
                self.trials -= event.trials
                self.launch_trials -= event.trials
                self.stopped += event.cells
            case LaunchSkipped() | GateDecided():
                self.trials -= event.trials
            case _:
                pass

    def _note(self) -> None:
        now = self.clock()
        if not self.recent or now - self.recent[-1][0] > 0.5:  # noqa: PLR2004  twice a second
            self.recent.append((now, self.ran))
        while len(self.recent) > 2 and now - self.recent[0][0] > _WINDOW_S:  # noqa: PLR2004
            self.recent.popleft()

    @property
    def rate(self) -> float | None:
        """Trials per second over the last minute, or None before it can be told."""
        if not self.recent:
            return None
        began, ran = self.recent[0]
        seconds = self.clock() - began
        return (self.ran - ran) / seconds if seconds > 0 and self.ran > ran else None

    @property
    def time_left_s(self) -> float | None:
        """Seconds until the last trial at the present rate."""
        rate = self.rate
        return None if rate is None else max(0.0, self.trials - self.ran) / rate

    @property
    def success_ratio(self) -> float | None:
        """Passed trials of those that count, in this run."""
        n = sum(self.outcomes.values()) - self.outcomes[Outcome.ERRORED]
        return self.outcomes[Outcome.PASSED] / n if n else None

    def numbers(self) -> str:
        """Return trials, rate, time left and success ratio on one line."""
        parts = [f"{self.ran:,}/{self.trials:,} trials"]
        if (rate := self.rate) is not None:
            parts.append(f"{rate:,.1f}/s")
        if (left := self.time_left_s) is not None and self.ran < self.trials:
            parts.append(f"{'at most ' if self.adaptive else ''}{duration(left)} left")
        if (ratio := self.success_ratio) is not None:
            parts.append(f"{ratio:.0%} passed")
        if self.stopped:
            parts.append(f"{counted(self.stopped, 'cell')} stopped early")
        if errored := self.outcomes[Outcome.ERRORED]:
            parts.append(f"{errored:,} errored")
        if self.waiting:
            parts.append(f"{self.waiting:,} to compare")
        return " · ".join(parts)


def sizes(done_bytes: int, total_bytes: int | None) -> str:
    """Return how much of a download is there, in megabytes."""
    if total_bytes:
        return f"{done_bytes / 1e6:,.0f} of {total_bytes / 1e6:,.0f} MB"
    return f"{done_bytes / 1e6:,.0f} MB"


def lasting_line(event: Event) -> str | None:  # noqa: C901, PLR0911, PLR0912  one line an event
    """Return the line that an event leaves behind, or None where it leaves none."""
    match event:
        case RunStarted():
            done = f" ({event.done:,} done before)" if event.done else ""
            most = "at most " if event.adaptive else ""
            return f"{event.experiment}: {most}{counted(event.trials, 'trial')} to run{done}"
        case RoundsStarted():
            return f"rounds to {event.rounds:,} of at most {event.most:,}"
        case GateDecided():
            rounds = f" after {event.rounds:,} of at most {event.most:,} rounds"
            return f"the gate is decided{rounds if event.rounds else ''}: {event.verdict}"
        case LaunchReady():
            return f"{event.name}: ready after {event.seconds:.1f} s, build {event.build[:8]}"
        case LaunchFinished():
            return f"{event.name}: done in {duration(event.seconds)}"
        case LaunchNoticed():
            hint = f"\n  {event.hint}" if event.hint else ""
            return f"{event.name}: {event.message}{hint}"
        case LaunchFailed():
            hint = f"\n  {event.hint}" if event.hint else ""
            return f"{event.name}: given up: {event.message}{hint}"
        case WarmingUp():
            prompts = counted(event.prompts, "prompt")
            return f"{event.name}: warming up, {prompts} computed before the trials"
        case ServerRestarted():
            return f"{event.name}: the server died and was started again"
        case Rejudged():
            return (
                f"checks changed: {event.replies:,} stored replies judged again, "
                f"{event.changed:,} verdicts changed"
            )
        case Compared():
            waiting = f"; {event.waiting:,} have none yet" if event.waiting else ""
            return f"{counted(event.replies, 'reply')} compared with those of other cells{waiting}"
        case Unverified():
            under = " under the build that ran last" if event.guessed else ""
            return (
                f"{event.name}: {counted(event.trials, 'trial')} counted as done{under} "
                f"(unverified): {event.note}"
            )
        case Interrupted():
            return "stopping: requests in flight may finish (Ctrl-C again: at once)"
        case LaunchSkipped():
            done = counted(event.trials, "trial")
            return f"{event.name}: nothing left to do: another experiment has run its {done}"
        case _:
            return None


class ProgressView:
    """A listener for `execute` and `run`, open as a context, that shows how far a run is.

    A view that fails shows nothing more, and the run goes on: a pipe that closes and a log's disk
    that fills up are no reason to stop measuring.
    """

    def __init__(self, clock: Callable[[], float] = monotonic) -> None:
        self._counts = ProgressCounts(clock=clock)
        self._clock = clock
        self._lost = False

    def __enter__(self) -> Self:
        self._unless_lost(self._begin)
        return self

    def __exit__(self, *_: object) -> None:
        self._unless_lost(self._end)

    def __call__(self, event: Event) -> None:
        """Take an event into account, and show it if anybody can still see it."""
        self._counts.add(event)
        self._unless_lost(lambda: self._show(event, lasting_line(event)))

    def _unless_lost(self, show: Callable[[], object]) -> None:
        if self._lost:
            return
        try:
            show()
        except (OSError, ValueError, SystemExit):  # rich leaves the process when its pipe breaks
            self._lost = True

    def _begin(self) -> None:
        """Begin to show."""

    def _end(self) -> None:
        """Show the end."""

    @abstractmethod
    def _show(self, event: Event, line: str | None) -> None:
        """Show an event that is counted already, with the line that it leaves behind."""


class LogProgress(ProgressView):
    """Plain lines, for files and pipes: what lasts, and the numbers now and then."""

    def __init__(self, out: Console, clock: Callable[[], float] = monotonic) -> None:
        super().__init__(clock)
        self._out = out
        self._last = clock()

    def _show(self, event: Event, line: str | None) -> None:
        if line is None:
            if self._clock() - self._last < _LINE_EVERY_S:
                return
            if isinstance(event, Fetching):
                line = self._counts.stage
            elif isinstance(event, TrialDone):
                line = self._counts.numbers()
            else:
                return
        self._last = self._clock()
        _print_lasting(line, self._out)


class TerminalProgress(ProgressView):
    """A live view: a bar for the run, one for the launch, the numbers, and lines that last."""

    def __init__(self, out: Console) -> None:
        super().__init__()
        self._out = out
        self._live = Live(
            console=out,
            get_renderable=self._render,
            refresh_per_second=_REFRESH_PER_S,
            transient=True,
        )

    def _begin(self) -> None:
        self._live.start()

    def _end(self) -> None:
        self._live.stop()

    def _show(self, event: Event, line: str | None) -> None:
        if line is not None:
            _print_lasting(line, self._out, "red" if isinstance(event, LaunchFailed) else "dim")

    def _render(self) -> Group:
        counts = self._counts
        if not counts.trials:
            return Group()
        grid = Table.grid(padding=(0, 1))
        grid.add_row(
            ProgressBar(total=counts.trials, completed=counts.ran, width=_BAR), counts.numbers()
        )
        if counts.launch:
            where = f"launch {counts.launch_index}/{counts.launch_count} {counts.launch}"
            stage = f"{where}: {counts.stage}" if counts.stage else where
            total = max(counts.launch_trials, 1)
            grid.add_row(
                ProgressBar(total=total, completed=counts.launch_ran, width=_BAR),
                Text(for_line(stage), overflow="ellipsis"),
            )
        return Group(grid)


def _print_lasting(line: str, out: Console, style: str = "") -> None:
    out.print(Text(for_terminal(line), style), soft_wrap=True)


class NotebookProgress(ProgressView):
    """One output of a notebook: a bar, the numbers, and the lines that last.

    Args:
        display: IPython's `display`.
        clock: Seconds, for the pace of updates.
    """

    def __init__(self, display: Callable[..., Any], clock: Callable[[], float] = monotonic) -> None:
        super().__init__(clock)
        self._display = display
        self._lines: list[str] = []
        self._handle: Any = None
        self._drawn = float("-inf")

    def _begin(self) -> None:
        self._draw()

    def _end(self) -> None:
        self._counts.stage = ""
        self._draw()

    def _show(self, event: Event, line: str | None) -> None:
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
        counts = self._counts
        lines = [for_terminal(line) for line in self._lines[-_LINES_SHOWN:]]
        if left_out := len(self._lines) - len(lines):
            lines.insert(0, f"… {left_out} lines before")
        lines.append(counts.numbers())
        if counts.stage:
            lines.append(for_line(f"{counts.launch}: {counts.stage}"))
        told = "\n".join(lines)
        bar = f'<progress value="{counts.ran}" max="{max(counts.trials, 1)}"></progress> '
        page = f'{bar}<pre style="white-space: pre-wrap">{html.escape(told)}</pre>'
        return {"text/plain": told, "text/html": page}


def progress_for(out: Console) -> ProgressView:
    """Return the view that suits a console: live on a terminal, lines elsewhere."""
    return TerminalProgress(out) if out.is_terminal else LogProgress(out)


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
