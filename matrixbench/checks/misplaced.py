"""What stands in a reply's content though it belongs elsewhere: reasoning, and calls of tools.

It is noted of every reply. Where it is why a check of the text says no, it is the verdict's kind.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from matrixbench.checks.calls_in_text import call_in_answer
from matrixbench.checks.excerpt import one_line
from matrixbench.checks.reasoning import split_content, taken_apart
from matrixbench.checks.verdicts import FaultError
from matrixbench.records import Kind, Note
from matrixbench.spec.reasoning import ALL_MARKS

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from matrixbench.checks.calls_in_text import Finder
    from matrixbench.checks.verdicts import Judging, Reference
    from matrixbench.records import ChatReply, Verdict

NOTE_CHARS = 200
"""How long a note may be."""


def unless_reasoning_is_there(judging: Judging) -> Judging:
    """Return a rule about texts whose no says so where reasoning in the content is to blame.

    That is where the rule would hold if reasoning and answer were taken apart, and where it misses
    a reasoning that stands in the content.
    """

    def judge(reply: ChatReply, reference: Reference) -> Verdict:
        verdict = judging(reply, reference)
        if verdict.passed or not _is_blamed(verdict, judging, reply, reference):
            return verdict
        reason = one_line(f"reasoning in the content: {verdict.reason}")
        return replace(verdict, kind=Kind.REASONING_IN_CONTENT, reason=reason)

    return judge


def _is_blamed(verdict: Verdict, judging: Judging, reply: ChatReply, reference: Reference) -> bool:
    seen = taken_apart(reply, ALL_MARKS)
    if (seen.content, seen.reasoning) == (reply.content, reply.reasoning):
        return False
    if verdict.kind is Kind.NO_REASONING and seen.reasoning:
        return True
    try:
        return judging(seen, reference).passed
    except FaultError:
        return False


def notes_of(reply: ChatReply, names: Sequence[str], find: Finder) -> tuple[Note, ...]:
    """Return what is noticed of a reply, and of those before it.

    Args:
        reply: The reply as it came.
        names: The marks of reasoning that are taken apart before the checks.
        find: Finds a call that was written into a text.
    """
    turns = [turn.reply for turn in reply.earlier]
    found: list[Note] = []
    for number, said in enumerate([*turns, reply], 1):
        turn = f"turn {number}: " if turns else ""
        content = said.content if isinstance(said.content, str) else ""
        for kind, text in (*_reasoning(content, names), *_call(content, find)):
            found.append(Note(kind=kind, text=one_line(turn + text, NOTE_CHARS)))
    return tuple(found)


def _reasoning(content: str, names: Sequence[str]) -> Iterator[tuple[Kind, str]]:
    split = split_content(content)
    if split is None:
        return
    marks = ", ".join(dict.fromkeys(marks.shown for marks in split.marks))
    missing = sorted({marks.name for marks in split.marks} - set(names))
    is_open = ", never closed" if split.is_open else ""
    size = f"{len(split.reasoning):,} of {len(content):,} characters"
    handled = "taken apart before the checks"
    if missing:
        setting = f"reasoning_in_content: [{', '.join(missing)}]"
        handled = f"the checks see it as content; {setting} takes it apart"
    yield Kind.REASONING_IN_CONTENT, f"{marks}{is_open}: {size}; {handled}"


def _call(content: str, find: Finder) -> Iterator[tuple[Kind, str]]:
    written = call_in_answer(content, find)
    if written is not None:
        text = f"{one_line(written.name, 60)}, as {written.notation} writes calls; it is no call to"
        yield Kind.CALL_IN_CONTENT, f"{text} whoever uses the server"
