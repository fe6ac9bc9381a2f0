"""One exchange whole: what was sent, what came back, what each check said; as text and as JSON."""

from __future__ import annotations

import json
from dataclasses import asdict
from math import isfinite
from typing import TYPE_CHECKING

from rich.cells import cell_len
from rich.table import Table
from rich.text import Text

from matrixbench.charts.metrics import percent
from matrixbench.checks.verdicts import one_line
from matrixbench.output.text import heading, whole, wrapped
from matrixbench.records import Kind, Outcome
from matrixbench.safe_text import for_line, visible

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from rich.console import Console

    from matrixbench.records import (
        Attempt,
        ChatReply,
        JsonObject,
        Note,
        ServerView,
        ToolCall,
        Turn,
        Usage,
        Verdict,
    )
    from matrixbench.store.rows import Transcript


def excerpt(reply: ChatReply | None, limit: int) -> str:
    """Return one short line that says what a reply is: its calls, else its text."""
    if reply is None:
        return ""
    if reply.tool_calls:
        return one_line(
            ", ".join(f"{call.name}({call.arguments})" for call in reply.tool_calls), limit
        )
    return one_line(json.dumps(reply.content, ensure_ascii=False), limit)


def arguments_text(call: ToolCall) -> str:
    """Return a call's arguments as indented JSON, or as they are where they are none."""
    try:
        return visible(json.dumps(json.loads(call.arguments), indent=2, ensure_ascii=False))
    except (ValueError, RecursionError):
        return visible(call.arguments)


def usage_json(usage: Usage) -> JsonObject:
    """Return all that a server counted, and the shares; what it does not tell is null."""
    return {
        **asdict(usage),
        "cached_share": usage.cached_share,
        "draft_accepted_share": usage.draft_accepted_share,
    }


def usage_facts(usage: Usage) -> Iterator[tuple[str, str]]:
    """Yield what people want to know of it: name and text, nothing of what is not told."""
    cached, computed = usage.cached_tokens, usage.computed_tokens
    if cached is not None:
        told = "" if usage.cached_share is None else f" ({percent(usage.cached_share, 1)})"
        of = "" if computed is None else f" of {cached + computed:,}"
        yield "from the cache", f"{cached:,}{of} prompt tokens{told}"
    elif computed is not None:
        yield "prompt tokens computed", f"{computed:,}"
    if usage.draft_tokens is not None:
        accepted, drafts = usage.draft_accepted_tokens, usage.draft_accepted_share
        taken = "" if accepted is None else f", {accepted:,} taken"
        told = "" if drafts is None else f" ({percent(drafts, 1)})"
        yield "tokens drafted", f"{usage.draft_tokens:,}{taken}{told}"
    if usage.reasoning_tokens is not None:
        yield "reasoning tokens", f"{usage.reasoning_tokens:,}"
    accepted, rejected = usage.accepted_prediction_tokens, usage.rejected_prediction_tokens
    if accepted or rejected:
        yield "tokens predicted", f"{accepted or 0:,} taken, {rejected or 0:,} not"


def measured_facts(values: Mapping[str, float | None]) -> Iterator[tuple[str, str]]:
    """Yield what was measured of a trial: name and text, nothing of what was not."""
    for field, name, unit in _MEASURES:
        if (value := values[field]) is not None:
            yield name, f"{value:.6g}{unit}"


STYLES = {
    Outcome.PASSED: "green",
    Outcome.FAILED: "red",
    Outcome.REJECTED: "magenta",
    Outcome.ERRORED: "yellow",
}
"""The colour of each outcome on a terminal; its name always stands beside it."""

NOTED: Mapping[Kind, str] = {
    Kind.REASONING_IN_CONTENT: "reasoning in the content",
    Kind.CALL_IN_CONTENT: "a call in the content",
}
"""What each kind of note is called."""

_NAMED = "messages", "tools"
_LONGEST_NAME = 30
_MEASURES = (
    ("latency_s", "latency", " s"),
    ("time_to_first_token_s", "first token after", " s"),
    ("token_gap_p50_s", "time between tokens", " s"),
    ("token_gap_max_s", "longest of these", " s"),
    ("prompt_tokens", "prompt tokens", ""),
    ("completion_tokens", "completion tokens", ""),
    ("prompt_tokens_per_s", "prompt tokens/s", ""),
    ("completion_tokens_per_s", "completion tokens/s", ""),
)


def print_request(body: JsonObject | None, out: Console) -> None:
    """Print what was sent: messages, tools, and the other fields; None: it is not known."""
    if body is None:
        title("request", out)
        out.print("its texts were not recorded")
        return
    for message in body.get("messages", ()):
        _print_message(message, out)
    for tool in body.get("tools", ()):
        title(f"tool {_tool_name(tool)}", out)
        print_block(json_text(tool), out)
    fields = {name: value for name, value in body.items() if name not in _NAMED}
    if fields:
        title("request fields", out)
        print_pairs(((name, json_text(value, indent=None)) for name, value in fields.items()), out)


def print_prompt(prompt: str | None, out: Console, *, before: str | None = None) -> None:
    """Print the prompt that a request was rendered to; None: it is not known.

    What it begins with is left out where that is the prompt before, which stands above.
    """
    if prompt is None:
        return
    if before and prompt.startswith(before):
        title("rendered prompt: the one before, and then", out)
        _print_raw(prompt.removeprefix(before), out)
    else:
        title("rendered prompt", out)
        _print_raw(prompt, out)


def _print_raw(text: str, out: Console) -> None:
    """Print what a server was given or gave: not wrapped, for each blank of it may matter."""
    for line in visible(text).split("\n"):
        whole(Text(f"  {line}"), out)


def _print_message(message: JsonObject, out: Console) -> None:
    role, name = message.get("role", "message"), message.get("name")
    title(f"result of {name}" if role == "tool" and name else str(role), out)
    # Results stand in the order of their calls: neither the ids nor more of the names is needed.
    told = {"role", "content", *(("name", "tool_call_id") if role == "tool" else ())}
    rest = {name: value for name, value in message.items() if name not in told}
    print_block(_content_text(message.get("content")), out)
    if rest:
        print_block(json_text(rest), out)


def print_turns(turns: Iterable[Turn], out: Console) -> None:
    """Print the turns of a conversation: each reply, and what was said after it."""
    before = None
    for number, turn in enumerate(turns, 1):
        _print_one_reply(turn.reply, f"reply {number}", out, before)
        before = _prompt_of(turn.reply)
        for message in turn.then:
            _print_message(message, out)


def print_reply(reply: ChatReply, out: Console) -> None:
    """Print what came back, the turns of a conversation first.

    A reply is its reasoning, its text, and its calls with their arguments. Where the server told
    them, the rendered prompt and the model's raw output come before that.
    """
    print_turns(reply.earlier, out)
    last = f"reply {len(reply.earlier) + 1}" if reply.earlier else "reply"
    name = f"{last} (stopped at max_turns)" if reply.turn_limit else last
    _print_one_reply(
        reply, name, out, _prompt_of(reply.earlier[-1].reply if reply.earlier else None)
    )


def _prompt_of(reply: ChatReply | None) -> str | None:
    return None if reply is None or reply.view is None else reply.view.prompt


def _print_one_reply(reply: ChatReply, name: str, out: Console, before: str | None) -> None:
    if reply.view is not None:
        print_prompt(reply.view.prompt, out, before=before)
        if reply.view.output is not None:
            title("raw output", out)
            _print_raw(reply.view.output, out)
    if reply.reasoning:
        title("reasoning", out)
        print_block(visible(reply.reasoning), out)
    title(name, out)
    print_block(visible(reply.content) if reply.content else "(no text)", out)
    for call in reply.tool_calls:
        title(f"calls {visible(str(call.name))}", out)
        print_block(arguments_text(call), out)


def print_attempts(transcript: Transcript, out: Console) -> None:
    """Print what came over the wire beside the replies: why it was asked again, and each body.

    Where there is no reply, the last of them is the refusal itself.
    """
    last = max(transcript.attempts, default=0)
    for turn, attempts in transcript.attempts.items():
        which = f" to request {turn + 1}" if last else ""
        for number, attempt in enumerate(attempts, 1):
            refused = transcript.reply is None and turn == last and attempt is attempts[-1]
            counts = refused and attempt.body is not None and attempt.kind == transcript.trial.kind
            what = "the answer, as it came" if counts else f"answer {number}{which}, asked again"
            title(f"{what}: {attempt.kind or 'reply'}", out)
            print_block(visible(attempt.reason), out)
            if attempt.body:
                _print_raw(attempt.body, out)


def print_judgement(outcome: Outcome, kind: str | None, reason: str, out: Console) -> None:
    """Print what became of a trial, and why."""
    title("verdict", out)
    whole(Text.assemble((outcome.value, STYLES[outcome]), f"  {kind}" if kind else ""), out)
    if reason:
        whole(visible(reason), out)


def print_verdicts(verdicts: Iterable[Verdict], notes: Iterable[Note], out: Console) -> None:
    """Print what each check said, and what was noticed of the reply whatever they said."""
    table = _grid(3)
    for verdict in verdicts:
        style = STYLES[Outcome.PASSED if verdict.passed else Outcome.FAILED]
        score = "" if verdict.score is None else f"score {verdict.score:.3g}"
        why = ": ".join(filter(None, [verdict.kind, visible(verdict.reason)]))
        table.add_row(
            Text("  ✓ passed" if verdict.passed else "  ✗ failed", style),
            Text(verdict.check),
            Text("  ".join(filter(None, [score, why]))),
        )
    noted = _grid(2)
    for note in notes:
        words = NOTED.get(note.kind, str(note.kind))
        noted.add_row(Text("  ! noted", "yellow"), Text(f"{words}: {visible(note.text)}"))
    for one in (table, noted):
        if one.row_count:
            out.print(one)


def _grid(columns: int) -> Table:
    """Return a table without lines whose first column is never wrapped."""
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True)
    for _ in range(columns - 1):
        table.add_column(overflow="fold")
    return table


def title(text: str, out: Console) -> None:
    """Print the heading of a part."""
    heading(visible(text), out, "bold cyan")


def print_block(text: str, out: Console) -> None:
    """Print a text that is safe already, indented and whole."""
    for line in _lines(text, out.width - 2):
        whole(Text(f"  {line}"), out)


def print_pairs(pairs: Iterable[tuple[str, str]], out: Console) -> None:
    """Print names with their values, those without a value left out."""
    named = [(for_line(visible(name)), visible(value)) for name, value in pairs if value]
    width = max((min(cell_len(name), _LONGEST_NAME) for name, _ in named), default=0)
    for name, value in named:
        first = Text(f"{name}{' ' * (width - cell_len(name))}  ", "dim")
        for line in _lines(value, out.width - width - 2):
            whole(first.append(line, "not dim"), out)
            first = Text(" " * (width + 2))


def _lines(text: str, width: int) -> list[str]:
    """Return the lines of a text, wrapped between words: a digest or a path can be copied."""
    return [part for line in text.split("\n") for part in wrapped(line, width)]


def _content_text(content: object) -> str:
    if content is None:
        return "(no text)"
    return visible(content) if isinstance(content, str) else json_text(content)


def _tool_name(tool: JsonObject) -> str:
    function = tool.get("function")
    return str(function.get("name", "")) if isinstance(function, dict) else ""


def json_text(value: object, *, indent: int | None = 2) -> str:
    """Return JSON that is safe for a terminal."""
    return visible(json.dumps(value, ensure_ascii=False, indent=indent))


def transcript_json(transcript: Transcript) -> JsonObject:
    """Return all texts of a stored trial: its reply, its conversation, and what checks said."""
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
        "kind": str(attempt.kind) if attempt.kind else None,
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
        "kind": None if verdict.kind is None else str(verdict.kind),
        "reason": verdict.reason or None,
        "score": verdict.score,
    }


def note_json(note: Note) -> JsonObject:
    """Return what was noticed of a reply."""
    return {"kind": str(note.kind), "text": note.text}
