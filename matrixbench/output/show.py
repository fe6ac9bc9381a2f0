"""What `show` prints: replies, one trial whole, and what ran."""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime
from itertools import groupby
from typing import TYPE_CHECKING

from rich.text import Text

from matrixbench.output.export import trial_record
from matrixbench.output.text import coordinates_text, counts_text, whole
from matrixbench.output.transcript import (
    NOTED,
    STYLES,
    excerpt,
    json_text,
    measured_facts,
    print_attempts,
    print_judgement,
    print_pairs,
    print_reply,
    print_request,
    print_turns,
    print_verdicts,
    title,
    transcript_json,
    usage_facts,
)
from matrixbench.plan.launches import OPTION_FILES, changed_files, contents_of
from matrixbench.records import Usage
from matrixbench.safe_text import for_line, visible
from matrixbench.spec.wording import counted

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from rich.console import Console

    from matrixbench.records import Build, JsonObject
    from matrixbench.results.replies import ShownCell, ShownLaunch, ShownReply, ShownTrial
    from matrixbench.results.tally import ResultCell
    from matrixbench.store.rows import TrialRow

_EXCERPT = 84


def print_replies(cells: Iterable[ShownCell], out: Console) -> None:
    """Print the replies of cells: what each is, its verdict, and why it did not pass."""
    for number, shown in enumerate(cells):
        if number:
            out.print()
        whole(coordinates_text(shown.cell.coordinates), out, "bold")
        flag = "  not greedy, yet the same" if shown.one_reply else ""
        whole(Text.assemble(f"{shown.cell.id}  {_headline(shown)}", (flag, "yellow")), out)
        if doubt := shown.cell.unverified:
            whole(f"  {doubt}", out, "yellow")
        if shows := shown.seeds_ignored:
            whole(f"  one draw: the launch ignores seeds ({shows})", out, "yellow")
        for reply in shown.shown:
            _print_reply(reply, out)
        if shown.left_out:
            whole(f"  … and {shown.left_out:,} more: raise --limit", out, "dim")


def _headline(shown: ShownCell) -> str:
    told = counted(shown.distinct, "distinct reply") if shown.replies else "no reply is known"
    return f"{counted(shown.trials, 'trial')}, {told}: {counts_text(shown.outcomes)}"


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
    whole(line, out)
    if first.reason:
        whole(f"      {for_line(visible(first.reason))}", out)
    for kind in dict.fromkeys(note.kind for note in reply.transcript.notes):
        if kind is not first.kind:
            whole(f"      noted: {NOTED.get(kind, kind)}", out, "yellow")
    earlier = [turn.reply for turn in reply.transcript.earlier]
    # What a refused conversation said last is the nearest thing to a reply that there is.
    if said := excerpt(reply.transcript.reply or next(reversed(earlier), None), _EXCERPT):
        whole(f"      {said}", out, "dim")


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
    whole(coordinates_text(shown.cell.coordinates), out, "bold")
    print_pairs(_trial_facts(shown), out)
    print_request(shown.transcript.body, out)
    if shown.transcript.reply is not None:
        print_reply(shown.transcript.reply, out)
    else:
        print_turns(shown.transcript.earlier, out)
    print_attempts(shown.transcript, out)
    print_judgement(row.outcome, row.kind, row.reason, out)
    print_verdicts(shown.transcript.verdicts, shown.transcript.notes, out)
    _print_reproduction(shown, out)


def _trial_facts(shown: ShownTrial) -> Iterator[tuple[str, str]]:
    row = shown.row
    yield "cell", row.cell
    yield "trial", f"{row.trial}, seed {row.seed}, generation {row.generation}"
    yield "build", row.build
    if doubt := shown.cell.unverified:
        yield "unverified", doubt
    if shown.launch is not None:
        name = shown.launch.record.name
        imported = ", imported" if shown.launch.record.imported else ""
        yield "launch", f"{row.launch} ({name}{imported})"
    yield "sent", moment(row.started_at)
    values = {name: getattr(row, name) for name in row.__slots__}
    yield from measured_facts(values)
    yield from usage_facts(Usage(**{name: values[name] for name in Usage.__slots__}))
    if row.concurrency is not None:
        yield "requests at a time", f"{row.concurrency:,}"
    if earlier := shown.transcript.earlier:
        yield "turns", f"{len(earlier) + 1} (seconds and completion tokens are of all)"
    if row.asked_again:
        yield "asked", f"{row.asked} times, again after: {row.asked_again.replace(' ', ', ')}"
    yield "finish reason", row.finish_reason or ""
    yield "answered as", row.model or ""
    yield "fingerprint", row.fingerprint or ""


def _print_reproduction(shown: ShownTrial, out: Console) -> None:
    lines = shown.reproduction
    again = "its first request" if shown.row.turns > 1 else "it"
    title(f"to see {again} again", out)
    # Whole lines, so that they can be copied.
    if lines.note:
        whole(f"# {lines.note}", out)
    whole(lines.server or "# no server was started here", out)
    whole(lines.request or "# no request line: none is known that curl could send", out)


def print_launches(launches: Iterable[ShownLaunch], out: Console) -> None:
    """Print where results come from, one launch run after another."""
    before: dict[str, ShownLaunch] = {}
    for number, shown in enumerate(launches):
        if number:
            out.print()
        record = shown.launch.record
        whole(f"launch {shown.launch.id}: {record.name}", out, "bold")
        print_pairs(_launch_facts(shown, before.get(record.digest)), out)
        if record.build is not None:
            before[record.digest] = shown
        if record.command:
            whole("command", out)
            for word in record.command:
                whole(f"    {visible(word)}", out)


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


def moment(seconds: float) -> str:
    """Return a point of time (Unix seconds) in this machine's zone."""
    return f"{datetime.fromtimestamp(seconds).astimezone():%Y-%m-%d %H:%M:%S %z}"


def replies_json(experiment: str, cells: Iterable[ShownCell]) -> JsonObject:
    """Return the replies of cells: for each its counts, and `replies` with their `count`.

    Lists are iterators, for `print_json` writes what comes before the next reply is read.
    """
    return {
        "experiment": experiment,
        "cells": (
            {
                **_cell(shown.cell),
                "trials": shown.trials,
                "outcomes": {str(outcome): count for outcome, count in shown.outcomes.items()},
                "distinct": shown.distinct,
                "one_reply": shown.one_reply,
                "seeds_ignored": shown.seeds_ignored or None,
                "left_out": shown.left_out,
                "replies": map(_shown_reply, shown.shown),
            }
            for shown in cells
        ),
    }


def trial_json(experiment: str, shown: ShownTrial) -> JsonObject:
    """Return one trial whole; `server` and `request_line` are shell command lines."""
    return {
        "experiment": experiment,
        **_cell(shown.cell),
        **trial_record(shown.cell, shown.row),
        "generation": shown.row.generation,
        "started_at": shown.row.started_at,
        "finish_reason": shown.row.finish_reason,
        "request": shown.transcript.body,
        **transcript_json(shown.transcript),
        "server": shown.reproduction.server or None,
        "note": shown.reproduction.note or None,
        "request_line": shown.reproduction.request or None,
    }


def launches_json(experiment: str, launches: Iterable[ShownLaunch]) -> JsonObject:
    """Return the provenance of launches."""
    return {"experiment": experiment, "launches": [_launch(shown) for shown in launches]}


def _cell(cell: ResultCell) -> JsonObject:
    return {
        "cell": cell.id,
        "coordinates": cell.coordinates,
        "build": cell.build,
        "unverified": cell.unverified or None,
    }


def _shown_reply(reply: ShownReply) -> JsonObject:
    first = reply.trials[0]
    return {
        "count": len(reply.trials),
        "trials": [row.trial for row in reply.trials],
        "outcome": str(first.outcome),
        "kind": str(first.kind) if first.kind else None,
        "reason": first.reason or None,
        **transcript_json(reply.transcript),
    }


def _launch(shown: ShownLaunch) -> JsonObject:
    launch, record = shown.launch, shown.launch.record
    return {
        "launch": launch.id,
        "experiment": record.experiment,
        "name": record.name,
        "trials": shown.trials,
        "build": None if record.build is None else asdict(record.build),
        "command": list(record.command),
        "effective": record.effective,
        "host": record.host,
        "versions": record.versions,
        "log": record.log,
        "started_at": record.started_at,
        "ended_at": launch.ended_at,
        "error": launch.error,
        "notes": dict(launch.notes),
        "request_timeout_s": record.request_timeout_s,
        "imported": record.imported,
        "origin": None if record.origin is None else record.origin.to_json(),
    }
