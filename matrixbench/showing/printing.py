"""Replies, transcripts, launches and status, as people read them: at most 100 columns wide."""

from __future__ import annotations

from datetime import datetime
from itertools import groupby
from typing import TYPE_CHECKING

from rich.text import Text

from matrixbench.plan.option_files import OPTION_FILES, changed_files, contents_of
from matrixbench.plan.values import label
from matrixbench.records import Outcome
from matrixbench.safe_text import visible
from matrixbench.showing.counting import usage_facts, usage_of_row
from matrixbench.showing.transcript import (
    NOTED,
    STYLES,
    json_text,
    print_attempts,
    print_notes,
    print_pairs,
    print_reply,
    print_request,
    print_turns,
    print_verdicts,
    title,
)
from matrixbench.showing.wording import excerpt
from matrixbench.tables import (
    at_most,
    bare_table,
    between,
    coordinates_text,
    counted,
    print_unverified,
    unverified,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from rich.console import Console
    from rich.table import Table

    from matrixbench.frame import Square
    from matrixbench.records import Build
    from matrixbench.showing.provenance import ShownLaunch
    from matrixbench.showing.replies import ShownCell, ShownReply, ShownTrial
    from matrixbench.showing.status import LaunchStatus, Status
    from matrixbench.store.rows import TrialRow

_CELLS = 6
"""So many cells are named; there may be thousands."""

_EXCERPT = 84
_REASON = 92
_FACTS = (
    ("latency_s", "latency", " s"),
    ("time_to_first_token_s", "first token after", " s"),
    ("token_gap_p50_s", "time between tokens", " s"),
    ("token_gap_max_s", "longest of these", " s"),
    ("prompt_tokens", "prompt tokens", ""),
    ("completion_tokens", "completion tokens", ""),
    ("completion_tokens_per_s", "completion tokens/s", ""),
)


def print_replies(cells: Iterable[ShownCell], out: Console) -> None:
    """Print the replies of cells: what each is, its verdict, and why it did not pass."""
    for number, shown in enumerate(cells):
        if number:
            out.print()
        out.print(Text(coordinates_text(shown.cell.square.coordinates), "bold"))
        flag = "  not greedy, yet the same" if shown.one_reply else ""
        line = f"{shown.cell.square.cell}  {_headline(shown)}"
        out.print(Text.assemble(line, (flag, "yellow")))
        if doubt := shown.cell.square.unverified:
            out.print(Text(f"  {doubt}", "yellow"))
        if shows := shown.seeds_ignored:
            out.print(Text(f"  one draw: the launch ignores seeds ({shows})", "yellow"))
        for reply in shown.shown:
            _print_reply(reply, out)
        if shown.left_out:
            out.print(f"  … and {counted(shown.left_out, 'more', '')}: raise --limit", style="dim")


def _headline(shown: ShownCell) -> str:
    outcomes = ", ".join(f"{count:,} {outcome}" for outcome, count in shown.outcomes.items())
    replies = f"{shown.distinct:,} distinct {'reply' if shown.distinct == 1 else 'replies'}"
    told = replies if shown.replies else "no reply is known"
    return f"{counted(shown.trials, 'trial')}, {told}: {outcomes}"


def _print_reply(reply: ShownReply, out: Console) -> None:
    first = reply.trials[0]
    several = f"{len(reply.trials):,}×  " if len(reply.trials) > 1 else ""
    line = Text.assemble(
        f"  {several}",
        (first.outcome.value, STYLES[first.outcome]),
        f"  {first.kind}" if first.kind else "",
        (f"  {_trials_text(reply.trials)}", "dim"),
        (f"  {first.turns} turns" if first.turns > 1 else "", "dim"),
        (f"  asked again: {first.asked_again}" if first.asked_again else "", "dim"),
    )
    out.print(line)
    if first.reason:
        out.print(Text(f"      {visible(first.reason)}"))
    for kind in dict.fromkeys(note.kind for note in reply.transcript.notes):
        if kind is not first.kind:
            out.print(Text(f"      noted: {NOTED.get(kind, kind)}", "yellow"))
    earlier = [turn.reply for turn in reply.transcript.earlier]
    # What a refused conversation said last is the nearest thing to a reply that there is.
    if said := excerpt(reply.transcript.reply or next(reversed(earlier), None), _EXCERPT):
        out.print(Text(f"      {said}", "dim"))


def _trials_text(rows: Sequence[TrialRow]) -> str:
    """Return trials' indices with runs of them joined: `trials 0-3, 7`."""
    indices = sorted({row.trial for row in rows})
    runs = [
        [index for _, index in run]
        for _, run in groupby(enumerate(indices), key=lambda pair: pair[1] - pair[0])
    ]
    text = ", ".join(str(run[0]) if len(run) == 1 else f"{run[0]}-{run[-1]}" for run in runs)
    return f"{'trial' if len(indices) == 1 else 'trials'} {text}"


def print_trial(shown: ShownTrial, out: Console) -> None:
    """Print one trial whole, and the lines that do it again."""
    row = shown.row
    out.print(Text(coordinates_text(shown.cell.square.coordinates), "bold"))
    print_pairs(_trial_facts(shown), out)
    print_request(shown.transcript.body, out)
    if shown.transcript.reply is not None:
        print_reply(shown.transcript.reply, out)
    else:
        print_turns(shown.transcript.earlier, out)
    print_attempts(shown.transcript, out)
    title("verdict", out)
    out.print(
        Text.assemble((row.outcome.value, STYLES[row.outcome]), f"  {row.kind}" if row.kind else "")
    )
    if row.reason:
        out.print(Text(visible(row.reason)))
    print_verdicts(shown.transcript.verdicts, out)
    print_notes(shown.transcript.notes, out)
    _print_reproduction(shown, out)


def _trial_facts(shown: ShownTrial) -> Iterator[tuple[str, str]]:
    row = shown.row
    yield "cell", row.cell
    yield "trial", f"{row.trial}, seed {row.seed}, generation {row.generation}"
    yield "build", row.build
    if doubt := shown.cell.square.unverified:
        yield "unverified", doubt
    if shown.launch is not None:
        name = shown.launch.record.name
        imported = ", imported" if shown.launch.record.imported else ""
        yield "launch", f"{row.launch} ({name}{imported})"
    yield "sent", moment(row.started_at)
    for field, name, unit in _FACTS:
        if (value := getattr(row, field)) is not None:
            yield name, f"{value:.6g}{unit}"
    yield from usage_facts(usage_of_row(row))
    if row.concurrency is not None:
        yield "requests at a time", f"{row.concurrency:,}"
    if earlier := shown.transcript.earlier:
        yield "turns", f"{len(earlier) + 1} (seconds and completion tokens are of all)"
    if row.asked_again:
        yield "asked", f"{row.asked} times, again after: {row.asked_again.replace(' ', ', ')}"
    yield from _named_by_the_reply(row)


def _named_by_the_reply(row: TrialRow) -> Iterator[tuple[str, str]]:
    told = {
        "finish reason": row.finish_reason,
        "answered as": row.model,
        "fingerprint": row.fingerprint,
    }
    return ((name, visible(text)) for name, text in told.items() if text)


def _print_reproduction(shown: ShownTrial, out: Console) -> None:
    lines = shown.reproduction
    again = "its first request" if shown.row.turns > 1 else "it"
    title(f"to see {again} again", out)
    # Whole lines, so that they can be copied.
    if lines.note:
        out.print(Text(f"# {lines.note}"), soft_wrap=True)
    out.print(Text(lines.server or "# no server was started here"), soft_wrap=True)
    out.print(
        Text(lines.request or "# no request line: none is known that curl could send"),
        soft_wrap=True,
    )


def print_launches(launches: Iterable[ShownLaunch], out: Console) -> None:
    """Print where results come from, one launch run after another."""
    before: dict[str, ShownLaunch] = {}
    for number, shown in enumerate(launches):
        if number:
            out.print()
        record = shown.launch.record
        out.print(Text(f"launch {shown.launch.id}: {record.name}", "bold"))
        print_pairs(_launch_facts(shown, before.get(record.digest)), out)
        if record.build is not None:
            before[record.digest] = shown
        if record.command:
            out.print(Text("command"))
            for word in record.command:
                out.print(Text(f"    {visible(word)}"), soft_wrap=True)


def _launch_facts(shown: ShownLaunch, before: ShownLaunch | None) -> Iterator[tuple[str, str]]:
    launch, record, build = shown.launch, shown.launch.record, shown.launch.record.build
    yield "experiment", record.experiment + (" (imported)" if record.imported else "")
    yield "trials", f"{shown.trials:,} of the selected ones"
    yield "started", moment(record.started_at)
    yield "ended", "not, or it was killed" if launch.ended_at is None else moment(launch.ended_at)
    if launch.error:
        yield "given up", visible(launch.error)
    if build is not None:
        yield "build", build.id
        yield "kind", build.kind
        yield "server", build.server
        yield "version", build.version
        yield "model", build.model
        yield "device", build.device
        details = {key: value for key, value in build.details.items() if key != OPTION_FILES}
        yield from _nested("build", details)
        yield from _files(build, before)
    yield from _nested("effective", record.effective)
    if record.origin is not None:
        yield from _nested("origin", record.origin.to_json())
    yield from _nested("host", record.host)
    yield from _nested("versions", record.versions)
    yield from _nested("note", launch.notes)
    if not record.imported:
        yield "request timeout", f"{record.request_timeout_s:g} s"
    if record.log:
        yield "log", record.log


def _files(build: Build, before: ShownLaunch | None) -> Iterator[tuple[str, str]]:
    """Yield the files that options name, with what is in them, and whether that was so before."""
    last = None if before is None else before.launch.record.build
    changed = () if last is None else changed_files(build, last)
    for name, content in contents_of(build).items():
        since = f" (changed since launch {before.launch.id})" if before and name in changed else ""
        yield f"file {visible(name)}", f"{content}{since}"


def _nested(name: str, values: Mapping[str, object]) -> Iterator[tuple[str, str]]:
    for key, value in values.items():
        yield f"{name}.{key}", value if isinstance(value, str) else json_text(value, indent=None)


def print_status(status: Status, out: Console) -> None:
    """Print what is done, what remains, and what could not be measured."""
    plan = status.plan
    stopped = f"; {counted(plan.stopped, 'cell')} stopped early" if plan.stopped else ""
    told = ", ".join(f"{count:,} {outcome}" for outcome, count in status.outcomes.items())
    out.print(
        Text.assemble(
            (plan.experiment, "bold"),
            f": {plan.done:,} of {between(plan)} {'trial' if plan.trials == 1 else 'trials'} done"
            f"{unverified(plan)}, {at_most(plan)}{plan.remaining:,} remain{stopped}",
        )
    )
    out.print(Text(told or "nothing has been measured yet"))
    if status.launches:
        out.print()
        out.print(_launch_table(status.launches))
    print_unverified(plan, out)
    if status.unmeasured:
        out.print()
        out.print("not measured", style="bold")
        for found in status.unmeasured:
            example = visible(found.example)[:_REASON]
            out.print(Text(f"  {found.count:>7,}  {found.kind}, for example: {example}"))
    if again := status.asked_again.trials:
        out.print()
        out.print(f"asked more than once: {counted(again, 'trial')}", style="bold")
        for kind, times in status.asked_again.kinds.items():
            out.print(f"  {times:>7,}  {'times' if times > 1 else 'time'} after {kind}")
    if status.one_reply:
        _print_one_reply(status.one_reply, out)
    single = [(one, one.seeds_ignored) for one in status.launches]
    _print_launches("seeds ignored: all trials of a cell are one draw", single, out)
    given_up = [(one, visible(one.given_up)) for one in status.launches]
    _print_launches("given up", given_up, out)
    if plan.not_applicable:
        out.print()
        out.print(f"not applicable: {counted(len(plan.not_applicable), 'cell')} (see plan)")


def _print_launches(title: str, told: Sequence[tuple[LaunchStatus, str]], out: Console) -> None:
    """Say something of the launches of which there is something to say."""
    lines = [(launch.plan.launch.name, text) for launch, text in told if text]
    if lines:
        out.print()
        out.print(title, style="bold")
        for name, text in lines:
            out.print(Text(f"  {name}: {text}"))


def _print_one_reply(found: Sequence[tuple[Square, int]], out: Console) -> None:
    """Say which cells may have been measured once, though their trials are many."""
    out.print()
    title = f"one reply to several seeds: {counted(len(found), 'cell')} (look with show --distinct)"
    out.print(title, style="bold")
    points = [square.coordinates for square, _ in found]
    varying = [
        axis
        for axis in dict.fromkeys(axis for point in points for axis in point)
        if len({label(point.get(axis)) for point in points}) > 1
    ]
    for square, trials in found[:_CELLS]:
        told = {axis: square.coordinates.get(axis) for axis in varying or square.coordinates}
        out.print(Text(f"  {counted(trials, 'trial')}, 1 distinct reply: {coordinates_text(told)}"))
    if len(found) > _CELLS:
        out.print(f"  and {len(found) - _CELLS:,} more (--json lists all)")


def _launch_table(launches: Sequence[LaunchStatus]) -> Table:
    table = bare_table()
    table.add_column("launch", overflow="fold", min_width=20)
    for name in ("trials", "done", "remain", *Outcome):
        table.add_column(str(name), justify="right", no_wrap=True)
    for launch in launches:
        plan = launch.plan
        table.add_row(
            Text(plan.launch.name),
            between(plan),
            f"{plan.done:,}{'*' if plan.unverified else ''}",
            f"{at_most(plan, '≤ ')}{plan.remaining:,}",
            *(f"{launch.outcomes.get(outcome, 0):,}" for outcome in Outcome),
        )
    return table


def moment(seconds: float) -> str:
    """Return a point of time (Unix seconds) in this machine's zone."""
    return f"{datetime.fromtimestamp(seconds).astimezone():%Y-%m-%d %H:%M:%S %z}"
