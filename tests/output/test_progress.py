"""What the events of a run add up to, and how a notebook and a log show it."""

from __future__ import annotations

from io import StringIO

from matrixbench.execution.events import (
    LaunchFailed,
    LaunchReady,
    LaunchStarting,
    RunStarted,
    TrialDone,
    TrialsSpared,
)
from matrixbench.output.progress import (
    UPDATE_EVERY_S,
    LogProgress,
    NotebookProgress,
    ProgressCounts,
    lasting_line,
    show_progress,
)
from matrixbench.output.text import console
from matrixbench.records import Outcome

Bundle = dict[str, str]


class Frontend:
    """Stands for a notebook: keeps what it was given to show, and the time."""

    def __init__(self) -> None:
        self.shown: list[Bundle] = []
        self.now = 0.0

    def display(self, bundle: Bundle, *, raw: bool, display_id: bool) -> Frontend:
        """Show something new."""
        assert raw
        assert display_id
        assert not self.shown
        self.shown.append(bundle)
        return self

    def update(self, bundle: Bundle, *, raw: bool) -> None:
        """Show something else in its place."""
        assert raw
        self.shown.append(bundle)


def test_one_output_is_kept_up_to_date() -> None:
    """A bar, the numbers and the lines that last; what others wrote is no HTML."""
    frontend = Frontend()
    with NotebookProgress(frontend.display, clock=lambda: frontend.now) as progress:
        progress(RunStarted(experiment="demo", trials=4, done=0, launches=1))
        progress(LaunchStarting(name="<b>a</b>", index=1, count=1, trials=4))
        frontend.now += UPDATE_EVERY_S
        progress(TrialDone(launch="a", outcome=Outcome.PASSED))
        assert '<progress value="1" max="4">' in frontend.shown[-1]["text/html"]
        assert "&lt;b&gt;a&lt;/b&gt;: starting the server" in frontend.shown[-1]["text/html"]
        progress(LaunchFailed(name="a", message="died", hint=""))
        assert "⚠ a: given up: died" in frontend.shown[-1]["text/plain"]
    assert frontend.shown[-1]["text/plain"].endswith("1/4 trials · 100% passed")


def test_updates_are_spared() -> None:
    """A thousand trials in a moment are drawn once, and at the end."""
    frontend = Frontend()
    with NotebookProgress(frontend.display, clock=lambda: frontend.now) as progress:
        progress(RunStarted(experiment="demo", trials=1000, done=0, launches=1))
        for _ in range(1000):
            progress(TrialDone(launch="a", outcome=Outcome.PASSED))
        assert len(frontend.shown) == 2
    assert len(frontend.shown) == 3
    assert "1,000/1,000 trials" in frontend.shown[-1]["text/plain"]


def test_without_a_notebook_it_is_the_command_lines_view() -> None:
    """On a terminal live, else in lines, on standard error."""
    assert isinstance(show_progress(), LogProgress)


def test_the_total_shrinks_as_cells_stop() -> None:
    """What need not be sent is not waited for: the time left is that of what is left at most."""
    now = 0.0
    tally = ProgressCounts(clock=lambda: now)
    started = RunStarted(experiment="e", trials=100, done=0, launches=1, adaptive=True)
    assert lasting_line(started) == "e: at most 100 trials to run"
    tally.add(started)
    tally.add(LaunchStarting(name="l", index=1, count=1, trials=100))
    tally.add(LaunchReady(name="l", trials=100, build="b", concurrency=1, log=None, seconds=0.0))
    for now in (0.0, 1.0, 2.0):  # noqa: B007  the clock
        tally.add(TrialDone(launch="l", outcome=Outcome.PASSED))
    assert tally.time_left_s == 97.0
    tally.add(TrialsSpared(launch="l", cells=1, trials=47))
    assert (tally.trials, tally.launch_trials) == (53, 53)
    assert tally.time_left_s == 50.0
    assert tally.numbers() == (
        "3/53 trials · 1.0/s · at most 50 s left · 100% passed · 1 cell stopped early"
    )
    tally.add(TrialsSpared(launch="l", cells=-1, trials=-47))
    assert (tally.trials, tally.stopped) == (100, 0)


def test_what_a_server_said_begins_no_line_of_a_log() -> None:
    """A message of several lines is one message, and its hint belongs to it."""
    out = StringIO()
    log = LogProgress(console(out))
    log(LaunchFailed(name="a", message="died\nstored in /", hint="look"))
    assert out.getvalue() == "a: given up: died\n  stored in /\n  look\n"


def test_a_view_that_fails_is_silent() -> None:
    """A closed stream ends what is shown, and no run."""
    out = StringIO()
    log = LogProgress(console(out))
    out.close()
    with log:
        log(RunStarted(experiment="demo", trials=1, done=0, launches=1))
        log(TrialDone(launch="a", outcome=Outcome.PASSED))
