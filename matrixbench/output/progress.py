"""A terminal's view of a run's events, and a log's."""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import dataclass, field
from time import monotonic
from typing import TYPE_CHECKING, Self

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from matrixbench.output.tables import counted, duration
from matrixbench.records import Kind, Outcome
from matrixbench.run.events import (
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
    TrialsStored,
    Unverified,
    WarmingUp,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from matrixbench.run.events import Event

_WINDOW_S = 60.0
"""The rate is taken over the last minute, so that it follows a slower model soon."""

_LINE_EVERY_S = 15.0
"""How often a log gets a line while nothing else happens."""

_REFRESH_PER_S = 4
_WARMING = "warming up"


@dataclass(slots=True)
class ProgressCounts:
    """What the events add up to."""

    clock: Callable[[], float] = monotonic
    experiment: str = ""
    trials: int = 0
    before: int = 0
    ran: int = 0
    stored: int = 0
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

    def add(self, event: Event) -> None:  # noqa: C901, PLR0912  one case an event
        """Take an event into account."""
        match event:
            case RunStarted():
                self.experiment, self.trials = event.experiment, event.trials
                self.before, self.adaptive = event.done, event.adaptive
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
            case TrialsSpared() | LaunchSkipped():
                self._spare(event)
            case TrialsStored():
                self.stored = event.stored
            case GateDecided():
                self.trials -= event.trials
            case _:
                pass

    def _spare(self, event: TrialsSpared | LaunchSkipped) -> None:
        self.trials -= event.trials
        if isinstance(event, TrialsSpared):
            self.launch_trials -= event.trials
            self.stopped += event.cells

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
            replies = "1 reply" if event.replies == 1 else f"{event.replies:,} replies"
            return f"{replies} compared with those of other cells{waiting}"
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


class LogProgress:
    """Plain lines, for files and pipes: what lasts, and the numbers now and then."""

    def __init__(self, console: Console, clock: Callable[[], float] = monotonic) -> None:
        self._console = console
        self._tally = ProgressCounts(clock=clock)
        self._clock = clock
        self._last = clock()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def __call__(self, event: Event) -> None:
        """Print what an event leaves behind."""
        self._tally.add(event)
        line = lasting_line(event)
        if line is not None:
            self._print(line)
        elif isinstance(event, (TrialDone, Fetching)) and (
            self._clock() - self._last >= _LINE_EVERY_S
        ):
            stage = self._tally.stage
            self._print(stage if isinstance(event, Fetching) else self._tally.numbers())

    def _print(self, line: str) -> None:
        self._last = self._clock()
        self._console.print(Text(line), soft_wrap=True)


class TerminalProgress:
    """A live view: a bar for the run, one for the launch, the numbers, and lines that last."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._tally = ProgressCounts()
        self._live = Live(
            console=console,
            get_renderable=self._render,
            refresh_per_second=_REFRESH_PER_S,
            transient=True,
        )

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._live.stop()

    def __call__(self, event: Event) -> None:
        """Show an event."""
        self._tally.add(event)
        line = lasting_line(event)
        if line is not None:
            style = "red" if isinstance(event, LaunchFailed) else "dim"
            self._console.print(Text(line, style=style), soft_wrap=True)

    def _render(self) -> Group:
        tally = self._tally
        if not tally.trials:
            return Group()
        grid = Table.grid(padding=(0, 1))
        grid.add_row(
            ProgressBar(total=tally.trials, completed=tally.ran, width=30), tally.numbers()
        )
        if tally.launch:
            where = f"launch {tally.launch_index}/{tally.launch_count} {tally.launch}"
            grid.add_row(
                ProgressBar(
                    total=max(tally.launch_trials, 1), completed=tally.launch_ran, width=30
                ),
                Text(f"{where}: {tally.stage}" if tally.stage else where, overflow="ellipsis"),
            )
        return Group(grid)


class Patient:
    """A view that may fail: then nothing more is shown, and the run goes on.

    A pipe that closes and a log's disk that fills up are no reason to stop measuring.
    """

    def __init__(self, view: LogProgress | TerminalProgress) -> None:
        self._view = view
        self._lost = False

    def __enter__(self) -> Self:
        self._try(self._view.__enter__)
        return self

    def __exit__(self, *_: object) -> None:
        self._try(lambda: self._view.__exit__(None, None, None))

    def __call__(self, event: Event) -> None:
        """Show an event, if anybody can still see it."""
        self._try(lambda: self._view(event))

    def _try(self, show: Callable[[], object]) -> None:
        if self._lost:
            return
        try:
            show()
        except (OSError, ValueError, SystemExit):  # rich leaves the process when its pipe breaks
            self._lost = True


def progress_for(console: Console) -> Patient:
    """Return the view that suits a console: live on a terminal, lines elsewhere."""
    return Patient(TerminalProgress(console) if console.is_terminal else LogProgress(console))
