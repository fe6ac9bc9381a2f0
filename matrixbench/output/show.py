"""Replies, transcripts, launches and status, as people and as programs read them."""

from __future__ import annotations

from datetime import datetime
from itertools import groupby
from math import isfinite
from typing import TYPE_CHECKING, Any

from rich.text import Text

from matrixbench.output.export import trial_record
from matrixbench.output.plan import plan_json
from matrixbench.output.tables import (
    at_most,
    bare_table,
    between,
    coordinates_text,
    counted,
    print_unverified,
    unverified,
)
from matrixbench.output.transcript import (
    NOTED,
    STYLES,
    excerpt,
    json_text,
    print_attempts,
    print_notes,
    print_pairs,
    print_reply,
    print_request,
    print_turns,
    print_verdicts,
    title,
    usage_facts,
    usage_json,
    usage_of_row,
)
from matrixbench.plan.launches import OPTION_FILES, changed_files, contents_of
from matrixbench.records import Outcome
from matrixbench.safe_text import visible
from matrixbench.spec.axes import varying_axes

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from rich.console import Console
    from rich.table import Table

    from matrixbench.records import (
        Attempt,
        Build,
        ChatReply,
        JsonObject,
        Note,
        ServerView,
        Turn,
        Verdict,
    )
    from matrixbench.results.replies import ShownCell, ShownLaunch, ShownReply, ShownTrial
    from matrixbench.results.status import LaunchStatus, Status
    from matrixbench.results.tally import ResultCell
    from matrixbench.run.prepare import Prepared
    from matrixbench.store.rows import Transcript, TrialRow

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
        out.print(Text(coordinates_text(shown.cell.coordinates), "bold"))
        flag = "  not greedy, yet the same" if shown.one_reply else ""
        line = f"{shown.cell.id}  {_headline(shown)}"
        out.print(Text.assemble(line, (flag, "yellow")))
        if doubt := shown.cell.unverified:
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
    out.print(Text(coordinates_text(shown.cell.coordinates), "bold"))
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
    if doubt := shown.cell.unverified:
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


def _print_one_reply(found: Sequence[tuple[ResultCell, int]], out: Console) -> None:
    """Say which cells may have been measured once, though their trials are many."""
    out.print()
    title = f"one reply to several seeds: {counted(len(found), 'cell')} (look with show --distinct)"
    out.print(title, style="bold")
    varying = varying_axes(cell.coordinates for cell, _ in found)
    for cell, trials in found[:_CELLS]:
        told = {axis: cell.coordinates.get(axis) for axis in varying or cell.coordinates}
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


def replies_json(experiment: str, cells: Iterable[ShownCell]) -> JsonObject:
    """Return the replies of cells: for each its counts, and `replies` with their `count`."""
    return {
        "experiment": experiment,
        "cells": [
            {
                **_cell(shown.cell),
                "trials": shown.trials,
                "outcomes": {str(outcome): count for outcome, count in shown.outcomes.items()},
                "distinct": shown.distinct,
                "one_reply": shown.one_reply,
                "seeds_ignored": shown.seeds_ignored or None,
                "left_out": shown.left_out,
                "replies": [_shown_reply(reply) for reply in shown.shown],
            }
            for shown in cells
        ],
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
        **_texts(shown.transcript),
        "server": shown.reproduction.server or None,
        "note": shown.reproduction.note or None,
        "request_line": shown.reproduction.request or None,
    }


def launches_json(experiment: str, launches: Iterable[ShownLaunch]) -> JsonObject:
    """Return the provenance of launches."""
    return {"experiment": experiment, "launches": [_launch(shown) for shown in launches]}


def status_json(prepared: Prepared, status: Status) -> JsonObject:
    """Return how far an experiment is: what `plan --json` says, and what came out so far."""
    told = plan_json(prepared, cells=False)
    launches: list[JsonObject] = told["launches"]
    return {
        **told,
        "outcomes": {str(outcome): count for outcome, count in status.outcomes.items()},
        "unmeasured": [
            {"kind": found.kind, "count": found.count, "example": found.example}
            for found in status.unmeasured
        ],
        "asked_again": {
            "trials": status.asked_again.trials,
            "kinds": dict(status.asked_again.kinds),
        },
        "one_reply": [
            {"cell": cell.id, "coordinates": cell.coordinates, "trials": trials}
            for cell, trials in status.one_reply
        ],
        "launches": [
            {
                **launch,
                "outcomes": {str(outcome): count for outcome, count in became.outcomes.items()},
                "given_up": became.given_up or None,
                "seeds_ignored": became.seeds_ignored or None,
            }
            for launch, became in zip(launches, status.launches, strict=True)
        ],
    }


def _plain(value: Any) -> Any:
    return (str(value) if isinstance(value, str) else value) if value != "" else None


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
        "kind": _plain(first.kind),
        "reason": first.reason or None,
        **_texts(reply.transcript),
    }


def _texts(transcript: Transcript) -> JsonObject:
    return {
        **reply_json(transcript.reply),
        **conversation_json(transcript.reply, transcript.earlier),
        "attempts": [
            attempt_json(attempt, turn)
            for turn, attempts in transcript.attempts.items()
            for attempt in attempts
        ],
        "verdicts": [verdict_json(verdict) for verdict in transcript.verdicts],
        "notes": [note_json(note) for note in transcript.notes],
    }


def reply_json(reply: ChatReply | None) -> JsonObject:
    """Return what a reply says: its text, its reasoning, its calls."""
    if reply is None:
        return {"content": None, "reasoning": None, "tool_calls": []}
    return {
        "content": reply.content,
        "reasoning": reply.reasoning,
        "tool_calls": [
            {"name": call.name, "arguments": call.arguments, "id": call.id}
            for call in reply.tool_calls
        ],
    }


def conversation_json(reply: ChatReply | None, earlier: Sequence[Turn]) -> JsonObject:
    """Return the turns before a reply or a refusal; `then` is what was said after each."""
    return {
        "earlier": [_turn(turn) for turn in earlier],
        "turn_limit": reply is not None and reply.turn_limit,
    }


def attempt_json(attempt: Attempt, turn: int) -> JsonObject:
    """Return an answer that is kept beside the replies, with what came over the wire."""
    return {
        "turn": turn,
        "kind": _plain(attempt.kind) if attempt.kind else None,
        "reason": attempt.reason,
        "latency_s": attempt.latency_s,
        "body": attempt.body,
    }


def _turn(turn: Turn) -> JsonObject:
    reply = turn.reply
    latency_s = reply.timing.latency_s
    return {
        **(view_json(reply.view) if reply.view is not None else {}),
        **reply_json(reply),
        "finish_reason": reply.finish_reason,
        "latency_s": latency_s if isfinite(latency_s) else None,
        "prompt_tokens": reply.prompt_tokens,
        "completion_tokens": reply.completion_tokens,
        "usage": usage_json(reply.usage),
        "then": list(turn.then),
    }


def view_json(view: ServerView) -> JsonObject:
    """Return how a server went about a request."""
    return {"rendered_prompt": view.prompt, "raw_output": view.output}


def verdict_json(verdict: Verdict) -> JsonObject:
    """Return what one check said."""
    return {
        "check": verdict.check,
        "passed": verdict.passed,
        "kind": _plain(verdict.kind),
        "reason": verdict.reason or None,
        "score": verdict.score,
    }


def note_json(note: Note) -> JsonObject:
    """Return what was noticed of a reply."""
    return {"kind": str(note.kind), "text": note.text}


def _launch(shown: ShownLaunch) -> JsonObject:
    launch, record = shown.launch, shown.launch.record
    return {
        "launch": launch.id,
        "experiment": record.experiment,
        "name": record.name,
        "trials": shown.trials,
        "build": None if record.build is None else _build(record.build),
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


def _build(build: Build) -> JsonObject:
    return {
        "id": build.id,
        "kind": build.kind,
        "server": build.server,
        "version": build.version,
        "model": build.model,
        "device": build.device,
        "details": build.details,
    }
