"""Errors as servers write them: whatever the shape, a status and the text that says why. Pure.

Every family has a shape of its own: `error` is a text, an object or a list; FastAPI says `detail`;
proxies put the words of the server behind them into a text, as JSON or as Python writes it.
"""

from __future__ import annotations

import ast
import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

    from matrixbench.records import JsonObject

SEARCHED = 4096
"""So many characters of an error's text are looked at: what it means stands at its beginning."""

_OK = range(200, 300)
_ERROR = range(400, 600)
_DEEPEST = 8
_MOST = 16
_LONGEST_INSIDE = 32 * 1024
"""Longer texts are not looked into for an error inside them."""

_WORDS = (
    *("message", "msg", "error", "errors", "detail", "details", "error_message", "exception"),
    *("error_description", "description", "reason", "title", "cause", "raw", "metadata", "body"),
)
"""Where an error's words stand, at any depth, in the order in which they are told."""

_NAMES = ("type", "error_type", "code", "status", "error_code")
"""Where the kind of an error is named."""

_BESIDE = ("message", "detail", "reason", "type", "error_type")
"""What may stand beside an `error`, and tell more than it does."""

_SIGNS = ("code", "type", "status", "statusCode", "status_code", "error_type", "success")
"""What stands beside a `message` that is an error's, in an answer that calls itself a success."""

_STATUSES = ("code", "status", "status_code", "statusCode", "error_code")

_STATUS_OF_TYPE = {
    "invalid_request_error": 400,
    "exceed_context_size_error": 400,
    "authentication_error": 401,
    "permission_error": 403,
    "not_found_error": 404,
    "rate_limit_error": 429,
    "rate_limit_exceeded": 429,
    "not_supported_error": 501,
    "unavailable_error": 503,
    "overloaded_error": 503,
}

_LOAD = frozenset({408, 429, 502, 503, 504})
"""Statuses that a proxy gives of its own, whatever the server behind it said."""

_LOCATED = "in the request, at"
"""How the text of an error begins that names the place in the request where it is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """An error as the body tells it.

    Args:
        status: The body's own status where it names one, else the header's.
        text: What it says, with the names of its kind in brackets.
        named: Whether the body said it, and not the status alone.
        html: Whether it is a web page: most often the words of a proxy.
        guessed: Whether nobody named the status: the answer was a 200.
    """

    status: int
    text: str
    named: bool = True
    html: bool = False
    guessed: bool = False


def fault_in(status: int, data: Any) -> Fault | None:
    """Return the error that JSON is, or None where it is none.

    An `error` that says nothing (null, false, an empty object, code 0 without words) is none.
    """
    if isinstance(data, dict):
        if status in _OK and "choices" in data and not data.get("error"):
            return _in_choice(data["choices"])
        error = data.get("error") or data.get("errors")
        if error is True or not _says_something(error):
            error = data if _is_error_itself(status, data) else None
    else:
        error = _in_list(status, data)
    if not error:
        return None
    return _fault(status, error, data if isinstance(data, dict) else {})


def fault_of_text(status: int, body: bytes, *, html: bool = False) -> Fault:
    """Return the error that is a body without a structure, or none at all."""
    text = body[: 2 * SEARCHED].decode(errors="replace").strip()
    if html:
        text = re.sub(r"<[^>]*>", " ", text)
    words = " ".join(text.split())
    return Fault(status=status, text=words or "no further word", named=bool(words), html=html)


def _in_choice(choices: object) -> Fault | None:
    """Return the error that a proxy puts into the choice that it broke off."""
    first = choices[0] if isinstance(choices, list) and choices else None
    if not isinstance(first, dict) or not _says_something(error := first.get("error")):
        return None
    # What the server behind a proxy called it, such as MALFORMED_FUNCTION_CALL.
    return _fault(500, error, {"reason": first.get("native_finish_reason")})


def _in_list(status: int, data: object) -> object:
    if isinstance(data, list) and data and isinstance(data[0], dict) and data[0].get("error"):
        return data[0]["error"]
    return data if status in _ERROR and isinstance(data, str | list) else None


def _is_error_itself(status: int, data: JsonObject) -> bool:
    """Return whether an object without an `error` is one: vLLM's older shape, FastAPI's, others."""
    if status in _ERROR or data.get("object") == "error" or data.get("type") == "error":
        return bool(data)
    if "choices" in data or isinstance(data.get("message"), dict):
        return False
    signs = data.get("error") is True or any(name in data for name in _SIGNS)
    told = signs and isinstance(data.get("message"), str)
    return told or _says_something(data.get("detail"))


def _says_something(error: object) -> bool:
    match error:
        case dict():
            return any(
                _says_something(value) if isinstance(value, dict | list) else bool(value)
                for value in error.values()
            )
        case list():
            return any(map(_says_something, error))
        case _:
            return bool(error)


def _fault(status: int, error: object, around: JsonObject) -> Fault:
    words, names = _Said(), list[str]()
    words.collect(error, names)
    if error is not around:
        beside = {name: around[name] for name in _BESIDE if isinstance(around.get(name), str)}
        words.collect(beside, names)
    found = _status_in(error) or _status_in(around)
    guessed = found is None and status not in _ERROR
    if (found or status) in _LOAD and words.inner_status is not None:
        status = words.inner_status  # what the server behind the proxy said
    elif found is not None:
        status = found
    elif guessed:
        status = next((_STATUS_OF_TYPE[name] for name in names if name in _STATUS_OF_TYPE), 500)
    texts = words.texts or [json.dumps(error, ensure_ascii=False)[:SEARCHED]]
    told = dict.fromkeys([*texts, *(f"({name})" for name in names)])
    return Fault(status=status, text=" ".join(told), guessed=guessed)


def _status_in(error: object) -> int | None:
    if not isinstance(error, dict):
        return None
    for name in _STATUSES:
        value = error.get(name)
        if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) == 3:  # noqa: PLR2004  a status
            value = int(value)
        if isinstance(value, int) and value in _ERROR:
            return value
    return None


class _Said:
    """The words of an error, gathered from wherever they stand."""

    def __init__(self) -> None:
        self.texts: list[str] = []
        self.inner_status: int | None = None

    def collect(self, value: object, names: list[str], depth: int = 0) -> None:
        """Add what an error says, and to `names` what it calls itself."""
        if depth > _DEEPEST or len(self.texts) >= _MOST:
            return
        match value:
            case str():
                self._collect_text(value, names, depth)
            case dict():
                names += [
                    found
                    for name in _NAMES
                    if isinstance(found := value.get(name), str) and _is_name(found)
                ]
                if "loc" in value:
                    self.texts.append(_located(value))
                    return
                for name in _WORDS:
                    if name in value:
                        self.collect(value[name], names, depth + 1)
            case list() | tuple():
                for item in value[:_MOST]:
                    self.collect(item, names, depth + 1)

    def _collect_text(self, text: str, names: list[str], depth: int) -> None:
        """Add a text; an error inside it is taken apart, so that its quotes hide nothing."""
        place, inside = _inside(text)
        before = len(self.texts)
        if inside is not None:
            head = text[:place].strip()
            if head:
                self.texts.append(head)
            told = len(self.texts)
            self._note_status(inside)
            self.collect(inside, names, depth + 1)
            if len(self.texts) > told:
                return
        del self.texts[before:]
        if text.strip():
            self.texts.append(text.strip()[:SEARCHED])

    def _note_status(self, inside: object) -> None:
        """Keep the status of an error that stands as text within another one."""
        error = inside.get("error") if isinstance(inside, dict) else None
        found = _status_in(inside) or _status_in(error)
        if found is not None and found not in _LOAD:
            self.inner_status = found


def _located(entry: JsonObject) -> str:
    loc = entry["loc"] if isinstance(entry["loc"], list | tuple) else (entry["loc"],)
    kind = f" ({entry['type']})" if isinstance(entry.get("type"), str) else ""
    where = _LOCATED if not loc or loc[0] != "response" else "in the response, at"
    return f"{where} {'.'.join(map(str, loc))}: {entry.get('msg', 'not accepted')}{kind}"


def _is_name(text: str) -> bool:
    """Return whether a text names a kind of error; `error` and a status say nothing."""
    return 0 < len(text) <= 80 and text != "error" and not text.isdigit()  # noqa: PLR2004  a name


def _inside(text: str) -> tuple[int, object]:
    """Return where in a text JSON, or what Python prints for it, begins, and what that is."""
    if len(text) > _LONGEST_INSIDE:
        return 0, None
    for place in _beginnings(text):
        rest = text[place:]
        try:
            found, _ = json.JSONDecoder().raw_decode(rest)
        except (ValueError, RecursionError):
            found = _python_value(rest)
        if isinstance(found, dict) or (isinstance(found, list) and found):
            return place, found
    return 0, None


def _beginnings(text: str) -> Iterator[int]:
    """Yield the first places where an object or a list of objects may begin."""
    for number, match in enumerate(re.finditer(r"\[?\{(?=\s*['\"])", text)):
        if number == 2:  # noqa: PLR2004  an error's own, and one that stands before it
            return
        yield match.start()


def _python_value(text: str) -> object:
    end = max(text.rfind("}"), text.rfind("]")) + 1
    try:
        return ast.literal_eval(text[:end])
    except (ValueError, SyntaxError, MemoryError, RecursionError, TypeError):
        return None


_QUOTED = re.compile(
    r"""(?<!\w)(?:"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'|`[^`]*`|«[^»]*»)(?!\w)""", re.DOTALL
)
_INPUT = re.compile(r"input_value=.*?(?=, input_type=|\]|$)", re.DOTALL)
_WHOLE = re.compile(
    r"""((?:[\w.]*(?:error|exception)\b[\s:-]*)*)(["'])(.*)\2[.\s]*((?:\(\w+\)\s*)*)""",
    re.DOTALL | re.IGNORECASE,
)
"""An error that stands in quotes as a whole, as Python prints some: these quotes hide nothing."""

_SHORT_QUOTE = 40
_A_PROMPT = 12
_FEW_WORDS = 3


def without_quotes(text: str) -> str:
    """Return an error's text without what it quotes: prompts and replies may say anything.

    Short quotes are names of fields and values, and stay.
    """
    text = _INPUT.sub("input_value=…", text[:SEARCHED])
    if (whole := _WHOLE.fullmatch(text)) is not None:
        text = f"{whole[1]}{whole[3]}{whole[4]}"
    return _QUOTED.sub(_name_or_nothing, text)


def _name_or_nothing(match: re.Match[str]) -> str:
    quoted = match[0]
    short = len(quoted) <= _SHORT_QUOTE and len(quoted.split()) <= _FEW_WORDS
    return quoted if short else "…"


def without_prompt(text: str, request: JsonObject | None) -> str:
    """Return an error's text without the messages that were sent, where it repeats them."""
    for message in (request or {}).get("messages") or ():
        content = message.get("content") if isinstance(message, dict) else None
        parts = content if isinstance(content, list) else [{"text": content}]
        for part in parts:
            said = part.get("text") if isinstance(part, dict) else None
            if isinstance(said, str) and len(said) >= _A_PROMPT:
                text = text.replace(said, "…")
    return text


_CHANGES = re.compile(r"[a-z_]*\d\w*(?:-\w+)*", re.IGNORECASE)


def alike(one: str, other: str) -> bool:
    """Return whether two errors are the same one: numbers and ids may differ from time to time."""
    return _CHANGES.sub("#", one) == _CHANGES.sub("#", other)
