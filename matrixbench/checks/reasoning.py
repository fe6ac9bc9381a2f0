"""Reasoning that a server left in a reply's content; and where code stands in a text."""

from __future__ import annotations

import re
from bisect import bisect_right
from dataclasses import dataclass, replace
from enum import Enum, auto
from functools import lru_cache
from typing import TYPE_CHECKING

from matrixbench.spec.checks import ALL_MARKS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from matrixbench.records import ChatReply

FENCED = re.compile(
    r"^[ \t]*(?P<fence>`{3,}|~{3,})[^`\n]*\n(?P<body>.*?)(?:^[ \t]*(?P=fence)[`~]*[ \t\r]*$|\Z)",
    re.MULTILINE | re.DOTALL,
)
"""A fenced code block as in CommonMark: it is closed by a fence at least as long, or by the end."""

_SPAN = re.compile(r"(?<!`)(`{1,3})(?!`)[^`\n]+(?<!`)\1(?!`)")
_QUOTES = {'"': '"', "'": "'", "«": "»", "“": "”", "‘": "’", "„": "“"}


class Code:
    """The parts of a text that are code, or that stand in quotes."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._spans = sorted(_spans(text))
        self._begins = [begin for begin, _ in self._spans]

    def quotes(self, begin: int, end: int) -> bool:
        """Return whether a part of the text is in code, or has quotation marks right around it."""
        place = bisect_right(self._begins, begin) - 1
        if place >= 0 and end <= self._spans[place][1]:
            return True
        before, after = self._text[begin - 1 : begin], self._text[end : end + 1]
        return bool(after) and _QUOTES.get(before) == after


def _spans(text: str) -> Iterator[tuple[int, int]]:
    if "`" not in text and "~~~" not in text:
        return
    at = 0
    for block in FENCED.finditer(text):
        yield from _spans_of_lines(text, at, block.start())
        yield block.span()
        at = block.end()
    yield from _spans_of_lines(text, at, len(text))


def _spans_of_lines(text: str, begin: int, end: int) -> Iterator[tuple[int, int]]:
    for span in _SPAN.finditer(text, begin, end):
        yield span.span()


@dataclass(frozen=True, slots=True, kw_only=True)
class Marks:
    """What stands around the reasoning of some models.

    Args:
        name: By which the file names them.
        shown: How a block looks, for people.
        models: Whose templates have them, or which models write them.
        begin: What opens a block.
        end: What closes it.
        end_alone: What closes a block whose beginning is in the prompt; None: nothing does.
        begin_alone: Whether a block may be open to the end of the text.
        answer: What opens the answer after a block, and is no part of it.
        stop: What closes the answer.
    """

    name: str
    shown: str
    models: str
    begin: re.Pattern[str]
    end: re.Pattern[str]
    end_alone: re.Pattern[str] | None = None
    begin_alone: bool = True
    answer: re.Pattern[str] | None = None
    stop: re.Pattern[str] | None = None


def _compiled(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern, re.IGNORECASE)


def _between(
    name: str,
    begin: str,
    end: str,
    models: str,
    *,
    answer: re.Pattern[str] | None = None,
    stop: re.Pattern[str] | None = None,
) -> Marks:
    closing = _compiled(re.escape(end))
    return Marks(
        name=name,
        shown=f"{begin}…{end}",
        models=models,
        begin=_compiled(re.escape(begin)),
        end=closing,
        end_alone=closing,
        answer=answer,
        stop=stop,
    )


_FINAL = r"(?:<\|start\|>assistant)?<\|channel\|>final(?: ?<\|constrain\|>\w+)?<\|message\|>"

TABLE: tuple[Marks, ...] = (
    _between("think", "<think>", "</think>", "DeepSeek R1, Qwen3, GLM, Nemotron, SmolLM3, …"),
    _between("thinking", "<thinking>", "</thinking>", "Claude's style, many finetunes"),
    Marks(
        name="thought",
        shown="<thought>…</thought>",
        models="EXAONE Deep, Marco-o1; also <thoughts>",
        begin=_compiled(r"<thoughts?>"),
        end=_compiled(r"</thoughts?>"),
        end_alone=_compiled(r"</thoughts?>"),
    ),
    _between("reasoning", "<reasoning>", "</reasoning>", "Reka Flash"),
    Marks(
        name="pipes",
        shown="<|thinking|>…<|/thinking|>",
        models="finetunes; also <|think|> and <|thought|>",
        begin=_compiled(r"<\|(?:think|thinking|thoughts?)\|>"),
        end=_compiled(r"<(?:/\||\|/)(?:think|thinking|thoughts?)\|>"),
        end_alone=_compiled(r"<(?:/\||\|/)(?:think|thinking|thoughts?)\|>"),
    ),
    _between("mistral", "[THINK]", "[/THINK]", "Magistral, Ministral"),
    Marks(
        name="harmony",
        shown="<|channel|>analysis<|message|>…<|end|>",
        models="gpt-oss",
        begin=_compiled(r"(?:<\|start\|>assistant)?<\|channel\|>analysis<\|message\|>"),
        end=_compiled(rf"(?:<\|end\|>\s*)?{_FINAL}|<\|end\|>"),
        end_alone=_compiled(rf"(?:<\|end\|>\s*)?{_FINAL}"),
        answer=_compiled(_FINAL),
        stop=_compiled(r"<\|(?:return|end)\|>\s*\Z"),
    ),
    Marks(  # what is left of it where a server drops the special tokens
        name="harmony",
        shown="analysis…assistantfinal",
        models="gpt-oss, its special tokens dropped",
        begin=re.compile(r"analysis(?=\S)"),
        end=re.compile(r"assistant ?final"),
        begin_alone=False,
    ),
    _between("seed", "<seed:think>", "</seed:think>", "Seed-OSS"),
    _between("kimi", "◁think▷", "◁/think▷", "Kimi-VL"),
    _between(
        "cohere",
        "<|START_THINKING|>",
        "<|END_THINKING|>",
        "Command A, Command R7B",
        answer=_compiled(r"<\|START_(?:RESPONSE|TEXT)\|>"),
        stop=_compiled(r"<\|END_(?:RESPONSE|TEXT)\|>\s*\Z"),
    ),
    Marks(
        name="gemma",
        shown="<|channel>thought…<channel|>",
        models="Gemma 4",
        begin=_compiled(r"<\|channel>thought\b"),
        end=_compiled(r"<channel\|>"),
        end_alone=_compiled(r"<channel\|>"),
    ),
    Marks(
        name="medgemma",
        shown="<unused94>thought…<unused95>",
        models="MedGemma",
        begin=_compiled(r"<unused94>(?:thought\b)?"),
        end=_compiled(r"<unused95>"),
        end_alone=_compiled(r"<unused95>"),
    ),
    _between("apertus", "<|inner_prefix|>", "<|inner_suffix|>", "Apertus"),
    _between(
        "open-thoughts",
        "<|begin_of_thought|>",
        "<|end_of_thought|>",
        "OpenThinker, Sky-T1",
        answer=_compiled(r"<\|begin_of_solution\|>"),
        stop=_compiled(r"<\|end_of_solution\|>\s*\Z"),
    ),
    _between("minicpm", "<|thought_start|>", "<|thought_end|>", "MiniCPM"),
    _between("longcat", "<longcat_think>", "</longcat_think>", "LongCat"),
    Marks(
        name="granite",
        shown="Here is my thought process:…Here is my response:",
        models="Granite 3.2",
        begin=_compiled(r"Here(?: is|'s|’s) my thought process:"),
        end=_compiled(r"Here(?: is|'s|’s) my response:"),
        begin_alone=False,
    ),
)
"""The marks that are known. Each of `ReasoningMarks` has a row, `harmony` has two."""


class Role(Enum):
    """What a piece of a content is: the answer, the reasoning, or a mark with the space beside."""

    ANSWER = auto()
    REASONING = auto()
    MARK = auto()


@dataclass(frozen=True, slots=True, kw_only=True)
class Split:
    """A content taken apart. Its pieces, joined, are the content.

    Args:
        marks: The rows of the table that were found, each once.
        is_open: The last block was never closed.
    """

    pieces: tuple[tuple[Role, str], ...]
    marks: tuple[Marks, ...]
    is_open: bool = False

    @property
    def answer(self) -> str:
        """What is left without the reasoning."""
        return "".join(text for role, text in self.pieces if role is Role.ANSWER)

    @property
    def reasoning(self) -> str:
        """The reasoning of all blocks; empty where they hold none."""
        blocks = (text.strip() for role, text in self.pieces if role is Role.REASONING)
        return "\n\n".join(filter(None, blocks))


def split_content(content: str, names: Iterable[str] = ALL_MARKS) -> Split | None:
    """Return a content taken apart, or None where no reasoning stands in it.

    Args:
        names: Which marks are looked for.
    """
    return _split(content, frozenset(names))


@lru_cache(maxsize=8)  # judging one reply asks several times
def _split(content: str, wanted: frozenset[str]) -> Split | None:
    table = [marks for marks in TABLE if marks.name in wanted]
    return _Splitter(content, table).split()


def taken_apart(reply: ChatReply, names: Sequence[str]) -> ChatReply:
    """Return a reply, and the replies before it, with reasoning where it belongs.

    Args:
        names: Which marks are looked for in its content.
    """
    if not names:
        return reply
    earlier = tuple(replace(turn, reply=taken_apart(turn.reply, names)) for turn in reply.earlier)
    split = split_content(reply.content, names) if isinstance(reply.content, str) else None
    if split is None:
        return replace(reply, earlier=earlier)
    own = reply.reasoning if isinstance(reply.reasoning, str) else ""
    reasoning = "\n\n".join(filter(None, [own, split.reasoning]))
    return replace(
        reply, earlier=earlier, content=split.answer, reasoning=reasoning or reply.reasoning
    )


_LEADING = re.compile(r"\s*")


class _Splitter:
    """Takes one content apart, from its beginning on."""

    def __init__(self, content: str, table: Sequence[Marks]) -> None:
        self._text = content
        self._table = table
        self._code: Code | None = None
        self._at = 0
        self._pieces: list[tuple[Role, str]] = []
        self._found: list[Marks] = []
        self._open = False

    def split(self) -> Split | None:
        self._blocks()
        if not self._found and self._end_alone():
            self._blocks()
        if not self._found:
            return None
        self._answer()
        return Split(
            pieces=tuple((role, text) for role, text in self._pieces if text),
            marks=tuple(dict.fromkeys(self._found)),
            is_open=self._open,
        )

    def _blocks(self) -> None:
        """Take the blocks that stand at the beginning of what is left."""
        while not self._open and any(self._block(marks) for marks in self._table):
            pass

    def _block(self, marks: Marks) -> bool:
        start = self._skipped()
        begin = marks.begin.match(self._text, start)
        if begin is None:
            # A closing mark that stands twice closes nothing.
            again = marks.end_alone and self._found and marks.end_alone.match(self._text, start)
            if again:
                self._take(Role.MARK, again.end())
            return bool(again)
        end = self._end_of(marks, begin.end())
        if end is None and not marks.begin_alone:
            return False
        self._found.append(marks)
        self._take(Role.MARK, begin.end())
        if end is None:
            self._take(Role.REASONING, len(self._text))
            self._open = True
        else:
            self._take(Role.REASONING, end.start())
            self._take(Role.MARK, end.end())
        return True

    def _end_of(self, marks: Marks, at: int) -> re.Match[str] | None:
        """Return what closes a block: the first mark that is not quoted, else the first."""
        first = None
        for end in marks.end.finditer(self._text, at):
            if not self._is_quoted(end):
                return end
            first = first or end
        return first

    def _end_alone(self) -> bool:
        """Take what stands before the first closing mark, where no opening one is before it."""
        ends = [
            (end.start(), -end.end(), place)
            for place, marks in enumerate(self._table)
            if marks.end_alone is not None
            for end in marks.end_alone.finditer(self._text)
            if not self._is_quoted(end)
        ]
        if not ends:
            return False
        start, end, place = min(ends)
        marks = self._table[place]
        begins = marks.begin.finditer(self._text, 0, start)
        if any(not self._is_quoted(begin) for begin in begins):
            return False
        self._found.append(marks)
        self._take(Role.REASONING, start)
        self._take(Role.MARK, -end)
        return True

    def _answer(self) -> None:
        """Take the rest: the answer, less the marks and the white space around it."""
        if not self._open:
            self._take(Role.MARK, self._skipped())
        last = self._found[-1]
        if last.answer is not None and (begin := last.answer.match(self._text, self._at)):
            self._take(Role.MARK, begin.end())
            self._take(Role.MARK, self._skipped())
        stop = None if last.stop is None else last.stop.search(self._text, self._at)
        self._take(Role.ANSWER, len(self._text) if stop is None else stop.start())
        self._take(Role.MARK, len(self._text))

    def _skipped(self) -> int:
        found = _LEADING.match(self._text, self._at)
        return self._at if found is None else found.end()

    def _take(self, role: Role, end: int) -> None:
        self._pieces.append((role, self._text[self._at : end]))
        self._at = end

    def _is_quoted(self, found: re.Match[str]) -> bool:
        if self._code is None:
            self._code = Code(self._text)
        return self._code.quotes(*found.span())
