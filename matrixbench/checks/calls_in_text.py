"""Tool calls that a model wrote into its text, and what else stands where it does not belong."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import islice
from typing import TYPE_CHECKING, Any, TypeAlias

from matrixbench.checks.json_values import read_json
from matrixbench.checks.reasoning import Code, split_content, taken_apart
from matrixbench.checks.verdicts import FaultError, one_line
from matrixbench.records import Kind, Note
from matrixbench.spec.checks import ALL_MARKS

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

    from matrixbench.checks.verdicts import Judging, Reference
    from matrixbench.records import ChatReply, Verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class WrittenCall:
    """A call that stands in a text."""

    notation: str
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Notation:
    """A way to write a call that has marks of its own.

    Args:
        name: What it is called, after the models or the mark.
        shown: How it begins, for people.
        mark: Its marks and the beginning of a call; the group `name` holds the tool where it is
            written there.
    """

    name: str
    shown: str
    mark: re.Pattern[str]


_NAME = r"(?P<name>[\w.:/-]{1,128})"


def _marked(name: str, shown: str, pattern: str) -> Notation:
    return Notation(name=name, shown=shown, mark=re.compile(pattern))


MARKED: tuple[Notation, ...] = (
    _marked(
        "Qwen3-Coder",
        "<function=NAME><parameter=X>…",
        rf"<function={_NAME}>\s*(?:<parameter=|</function>)",
    ),
    _marked("function tag", "<function=NAME>{…}</function>", rf"<function={_NAME}>\s*\{{"),
    _marked(
        "GLM",
        "<tool_call>NAME <arg_key>…",
        rf"<(?:longcat_)?tool_call>\s*{_NAME}\s*(?:<(?:longcat_)?arg_key>|</(?:longcat_)?tool_call>)",
    ),
    _marked(
        "Hermes",
        "<tool_call>{…}</tool_call>",
        r"<(?:\w+:)?(?:tool_calls?|function_?calls?|TOOLCALL|tool_use)>\s*[\[{]",
    ),
    _marked(
        "invoke",
        '<invoke name="NAME">',
        rf"<(?:\w+:|｜DSML｜)?invoke\s+name=[\"']?{_NAME}[\"']?\s*>",
    ),
    _marked("Llama 3", "<|python_tag|>", rf"<\|python_tag\|>\s*(?:\{{|{_NAME}\.call\()"),
    _marked(
        "Mistral",
        "[TOOL_CALLS]",
        rf"\[TOOL_CALLS\]\s*(?:\[\s*\{{|\{{|{_NAME}\s*(?:\[CALL_ID\]\w*\s*)?(?:\[ARGS\]|\{{))",
    ),
    _marked("LFM2", "<|tool_call_start|>[…]", rf"<\|tool_call_start\|>\s*\[\s*(?:\{{|{_NAME}\()"),
    _marked(
        "Kimi K2",
        "<|tool_calls_section_begin|>",
        r"<\|tool_call(?:s_section_begin\|>\s*<\|tool_call)?_begin\|>"
        rf"\s*(?:functions\.)?{_NAME}",
    ),
    _marked(
        "DeepSeek",
        "<｜tool▁calls▁begin｜>",
        r"<[｜|]tool[▁_]call(?:s[▁_]begin[｜|]>\s*<[｜|]tool[▁_]call)?[▁_]begin[｜|]>"
        rf"\s*(?:function<[｜|]tool[▁_]sep[｜|]>)?{_NAME}",
    ),
    _marked("Granite, Phi-4", "<|tool_call|>[…]", r"<\|tool_call\|>\s*[\[{]"),
    _marked(
        "Gemma 4",
        "<|tool_call>call:NAME{…}",
        rf"<(?:\|tool_call|start_function_call)>\s*call:{_NAME}\{{",
    ),
    _marked(
        "gpt-oss",
        "<|channel|>commentary to=functions.NAME",
        r"<\|channel\|>\w+ to=(?:functions\.)?(?P<name>[\w-]{1,128})"
        r"|\bto=functions\.(?P<other>[\w-]{1,128})\s*<\|(?:channel|message|constrain)\|>",
    ),
    _marked(
        "Command R",
        "Action: ```json […]```",
        r"Action:\s*```(?:json)?\s*\[\s*\{\s*\"tool_name\":\s*\"(?!directly[-_]answer)"
        r"(?P<name>[^\"]{1,128})\"",
    ),
    _marked("Command A", "<|START_ACTION|>[…]", r"<\|START_ACTION\|>\s*\[\s*\{"),
    _marked("Apertus", "<|tools_prefix|>[…]", r"<\|tools_prefix\|>\s*\[\s*\{"),
    _marked("InternLM", "<|action_start|><|plugin|>", r"<\|action_start\|>\s*<\|plugin\|>\s*\{"),
    _marked("functools", "functools[{…}]", r"\bfunctools\s*\[\s*\{"),
)
"""Notations that are known by their marks, in the order in which they are looked for."""

BARE: tuple[tuple[str, str], ...] = (
    ("JSON", '{"name": "NAME", "arguments": {…}}, alone, in a list, in text or in a code block'),
    ("Python", "[NAME(x=1)], or NAME(x=1) on a line, also in a code block such as tool_code"),
    ("name and JSON", 'NAME{"x": 1}, also with >>> or functions. before it, or on two lines'),
    ("ReAct", "Action: NAME, and Action Input: below it"),
)
"""Notations that count only where they name a tool that was offered, and how they look."""

_NAME_KEYS = ("name", "function", "tool", "tool_name", "function_name", "recipient_name", "action")
_ARGUMENT_KEYS = (
    *("arguments", "parameters", "args", "params", "kwargs"),
    *("input", "tool_input", "action_input"),
)
_BESIDE = frozenset({"type", "id", "index", "call_id", "tool_call_id"})
_WRITTEN_NAME = re.compile(
    rf"\b(?:{'|'.join(_NAME_KEYS)})[\"']?\s*[:=]\s*[\"']?(?P<name>[\w.:/-]{{1,128}})"
)
_NAME_WITHIN = 4_000
"""How far behind its mark a call's name is looked for."""

_INSIDE = r"(?:[^()\"']|\"(?:[^\"\\\n]|\\.)*\"|'(?:[^'\\\n]|\\.)*'|\([^()\"'\n]*\)){0,2000}"
"""What stands between the brackets of a call in Python; nothing of it can be read in two ways."""

_CANDIDATES = 64
"""How many beginnings of a notation are looked at: an answer has few, and a call is among them."""

_LARGEST = 1_000_000
"""Longer texts are looked at in their first part alone: a call is short."""

Finder: TypeAlias = Callable[[str], WrittenCall | None]


def call_finder(offered: Collection[str]) -> Finder:
    """Return a function that finds the first call in a text."""
    return _finder(tuple(sorted(set(offered))))


def call_in_answer(content: str, find: Finder) -> WrittenCall | None:
    """Return the call that stands in a content.

    Reasoning that was left in it is passed over: there a call is a thought. Where nothing follows
    it, it is all that the model said, and a call in it is one that got lost there.
    """
    split = split_content(content)
    return find(content if split is None or not split.answer.strip() else split.answer)


@lru_cache(maxsize=64)
def _finder(offered: tuple[str, ...]) -> Finder:
    names = "|".join(map(re.escape, sorted(filter(None, offered), key=len, reverse=True)))
    bare = _Bare(frozenset(offered), names) if names else None

    @lru_cache(maxsize=8)  # each check of a reply may ask, and what is noted of it
    def find(text: str) -> WrittenCall | None:
        text = text[:_LARGEST]
        found = _marked_call(text, frozenset(offered))
        return found or (bare.call(text) if bare is not None else None)

    return find


def _marked_call(text: str, offered: frozenset[str]) -> WrittenCall | None:
    code: Code | None = None
    for notation in MARKED:
        for found in islice(notation.mark.finditer(text), _CANDIDATES):
            groups = found.groupdict()
            name = groups.get("name") or groups.get("other") or _name_behind(text, found.end())
            name = re.sub(r":\d+\Z", "", name)
            if not name:
                continue
            if name not in offered:
                code = code or Code(text)
                if code.quotes(*found.span()):
                    continue
            return WrittenCall(notation=notation.name, name=name)
    return None


def _name_behind(text: str, at: int) -> str:
    end = text.find("</tool", at, at + _NAME_WITHIN)
    found = _WRITTEN_NAME.search(text, at, at + _NAME_WITHIN if end < 0 else end)
    return "" if found is None else found["name"]


class _Bare:
    """Finds calls without marks, of tools that were offered."""

    def __init__(self, offered: frozenset[str], names: str) -> None:
        self._offered = offered
        self._any = re.compile(names)
        keys, values = "|".join(_NAME_KEYS), "|".join(_ARGUMENT_KEYS)
        self._json = re.compile(
            rf"\{{\s*[\"'](?:{keys})[\"']\s*:\s*[\"'](?P<name>{names})[\"']\s*,"
            rf"\s*[\"'](?:{values})[\"']\s*:"
            r"(?!\s*\{\s*[\"'](?:type[\"']\s*:\s*[\"']object|properties|\$schema)[\"'])"
        )
        self._begin = re.compile(r"\{\s*\"")
        self._python = re.compile(
            rf"\[\s*(?:[\w.]+\.)?(?P<name>{names})\(\s*(?:\)|[A-Za-z_]\w*\s*=(?!=)|[\"'])"
        )
        self._line = re.compile(
            rf"^[ \t`]*(?:\w+\s*=\s*)?(?:print\(\s*)?(?:[\w.]+\.)?(?P<name>{names})"
            rf"\({_INSIDE}\)[ \t);`]*$",
            re.MULTILINE,
        )
        self._plain = re.compile(
            rf"(?:^[ \t>*`]*(?:functions?\.?)?|\bto=functions\.|\bfunctions\.)(?P<name>{names})"
            r"(?::\d+)?[ \t]*(?:\n\s*|<\|\w+\|>\s*)?(?:```)?(?:json)?\s*\{(?=\s*[\"}])"
            r"(?!\s*\"(?:type\"\s*:\s*\"object|properties|description|\$schema)\")",
            re.MULTILINE,
        )
        self._react = re.compile(
            rf"^\W{{0,4}}Action\W{{0,4}}:\W{{0,4}}(?P<name>{names})\b[^\n]{{0,20}}\n"
            r"\s*\W{0,4}Action Input",
            re.MULTILINE | re.IGNORECASE,
        )

    def call(self, text: str) -> WrittenCall | None:
        """Return the first call, or None."""
        if self._any.search(text) is None:
            return None
        if found := self._json.search(text):
            return WrittenCall(notation="JSON", name=found["name"])
        if name := next(filter(None, map(self._named, _values(text, self._begin))), ""):
            return WrittenCall(notation="JSON", name=name)
        for notation, pattern in (
            ("Python", self._python),
            ("Python", self._line),
            ("name and JSON", self._plain),
            ("ReAct", self._react),
        ):
            if found := pattern.search(text):
                return WrittenCall(notation=notation, name=found["name"])
        return None

    def _named(self, value: Any) -> str:
        """Return the tool that an object of a JSON value calls; empty where none does."""
        waiting = [value]
        while waiting:
            part = waiting.pop()
            if isinstance(part, dict):
                if name := self._called(part):
                    return name
                if not _defines(part):
                    waiting += part.values()
            elif isinstance(part, list):
                waiting += part
        return ""

    def _called(self, part: dict[str, Any]) -> str:
        for key in _NAME_KEYS:
            name = part.get(key)
            if isinstance(name, str) and (name := name.removeprefix("functions.")) in self._offered:
                given = [part[known] for known in _ARGUMENT_KEYS if known in part]
                alone = part.keys() <= _BESIDE | {key}
                if alone or (given and not _defines(part) and not any(map(_is_schema, given))):
                    return name
        if len(part) == 1:
            (name, arguments), *_ = part.items()
            if name in self._offered and isinstance(arguments, dict) and not _is_schema(arguments):
                return name
        return ""


def _defines(part: dict[str, Any]) -> bool:
    """Return whether an object describes a tool: what was offered is told, not called."""
    return "description" in part


def _is_schema(value: Any) -> bool:
    return isinstance(value, dict) and ("properties" in value or value.get("type") == "object")


def _values(text: str, begin: re.Pattern[str]) -> Iterator[Any]:
    """Yield the JSON objects of a text, and the whole of it where it is JSON."""
    stripped = text.strip()
    if stripped[:1] in {"{", "["}:
        try:
            yield read_json(stripped, constants=True)
        except ValueError:
            pass
        else:
            return
    decoder = json.JSONDecoder()
    at = 0
    for _ in range(_CANDIDATES):
        found = begin.search(text, at)
        if found is None:
            return
        try:
            value, at = decoder.raw_decode(text, found.start())
        except (ValueError, RecursionError):
            at = found.end()
        else:
            yield value


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
        names: The marks of reasoning that are taken apart before the checks.
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
