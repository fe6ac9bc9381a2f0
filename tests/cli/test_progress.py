"""What the events of a run add up to."""

from __future__ import annotations

from matrixbench.output.progress import ProgressCounts, lasting_line
from matrixbench.records import Outcome
from matrixbench.run.events import LaunchReady, LaunchStarting, RunStarted, TrialDone, TrialsSpared


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
