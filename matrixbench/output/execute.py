"""What `execute` prints at its end: what was measured, and what could not be."""

from __future__ import annotations

from typing import TYPE_CHECKING

from matrixbench.output.text import counts_text, duration, prose, whole
from matrixbench.spec.wording import counted

if TYPE_CHECKING:
    from rich.console import Console

    from matrixbench.execution.settings import RunSummary
    from matrixbench.records import JsonObject

_REJECTIONS_SHOWN = 3


def print_summary(summary: RunSummary, out: Console) -> None:
    """Print what a run measured, and what could not be measured."""
    counts = counts_text(summary.outcomes)
    text = f"{summary.experiment}: {counted(summary.ran, 'trial')} in {duration(summary.seconds)}"
    prose(f"{text}: {counts}" if counts else text, out)
    saved = f": {counted(summary.spared, 'trial')} of at most {summary.most:,} not needed"
    if summary.decided:
        prose(f"the gate is decided: {summary.decided}{saved if summary.spared else ''}", out)
    elif summary.undecided:
        prose(f"the gate is undecided: {summary.undecided}", out, "yellow")
    elif summary.stopped:
        prose(f"{counted(summary.stopped, 'cell')} stopped early{saved}", out)
    for kind, (count, reason) in summary.errors.items():
        whole(f"not measured: {counted(count, 'trial')}, {kind}, such as: {reason}", out, "red")
    for one in summary.rejections[:_REJECTIONS_SHOWN]:
        trials = counted(one.trials, "trial")
        whole(f"rejected: {trials}, {one.kind}, such as: {one.reason}", out, "yellow")
    if len(summary.rejections) > _REJECTIONS_SHOWN:
        more = counted(len(summary.rejections) - _REJECTIONS_SHOWN, "more reason")
        whole(f"rejected: {more}", out, "yellow")
    for name, reason in summary.failed_launches.items():
        whole(f"given up: {name}: {reason}", out, "red")
    if summary.store is not None:
        whole(f"stored in {summary.store}", out)


def summary_json(summary: RunSummary) -> JsonObject:
    """Return a run's summary as data.

    `stopped` counts cells that had enough trials before they had all, `spared` the trials that were
    not sent for that; `decided` is what the gate that ends the run says, null as long as it is
    undecided and where there is none, `undecided` why the run ended all the same; `rejections`
    lists why trials were rejected, the most frequent first; `seconds` is the run's length.
    """
    return {
        "experiment": summary.experiment,
        "store": None if summary.store is None else str(summary.store),
        "ran": summary.ran,
        "outcomes": {str(outcome): count for outcome, count in summary.outcomes.items()},
        "remaining": summary.remaining,
        "stopped": summary.stopped,
        "spared": summary.spared,
        "decided": summary.decided or None,
        "undecided": summary.undecided or None,
        "failed_launches": dict(summary.failed_launches),
        "errors": {
            kind: {"trials": count, "reason": reason}
            for kind, (count, reason) in summary.errors.items()
        },
        "rejections": [
            {"kind": one.kind, "reason": one.reason, "trials": one.trials}
            for one in summary.rejections
        ],
        "interrupted": summary.interrupted,
        "seconds": round(summary.seconds, 3),
    }
