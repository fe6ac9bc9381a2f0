"""Progress as a notebook shows it, without a notebook."""

from __future__ import annotations

from matrixbench.output.progress import (
    UPDATE_EVERY_S,
    LogProgress,
    NotebookProgress,
    show_progress,
)
from matrixbench.records import Outcome
from matrixbench.run.events import LaunchFailed, LaunchStarting, RunStarted, TrialDone

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
