"""Bodies of answers, whatever their headers say: JSON, or an event stream, or a web page. Pure.

Servers label JSON as text, streams as JSON, and either as nothing at all. So a body is read as what
it parses as.
"""

from __future__ import annotations

import codecs
import json
import re
import zlib
from typing import TYPE_CHECKING, Any

from matrixbench.backends.faults import fault_in
from matrixbench.backends.openai_stream import MalformedError, whole_reply

if TYPE_CHECKING:
    from collections.abc import Iterator

    from matrixbench.backends.openai_reply import Answer, Streamed
    from matrixbench.records import JsonObject

_LARGEST_UNPACKED = 32 * 1024 * 1024
_BOMS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_GZIP = b"\x1f\x8b"
_CHARSET = re.compile(r"charset=[\"']?([\w-]+)")
_EVENT = re.compile(rb"(?:data|event|error|id|retry)\s*:|:", re.IGNORECASE)
_HTML = re.compile(rb"<(?:!doctype\s+html|html|head|body|title|center|h1)\b", re.IGNORECASE)
_ERROR_WORDS = (b"error", b"detail", b"message", b"Error")
_REPLY_PARTS = (b'"delta"', b'"message"', b'"text"')
_DONE = b"[DONE]"


def decoded(answer: Answer) -> Any:  # noqa: ANN401  JSON from outside
    """Return a body's JSON; of an event stream, the reply that it adds up to or its error.

    Raises:
        ValueError: It is neither.
        MalformedError: It is a stream that is no chat.
    """
    body = answer.body
    if not body.startswith(b"{"):  # most replies begin so, and need none of this
        body = _plain(body, answer.content_type)
        if _EVENT.match(body):
            return storable(_of_stream(body, answer.streamed))
        if not body and "event-stream" in answer.content_type:
            raise MalformedError("a stream of no event")
    try:
        data = json.loads(body)
    except UnicodeDecodeError:
        body = _in_utf8(body, answer.content_type)
        data = json.loads(body)
    except json.JSONDecodeError:
        if (lines := _json_lines(body)) is None:
            raise
        return storable(_of_stream(lines, None))
    return storable(data) if b"\\ud" in body or b"\\uD" in body else data


def storable(data: Any) -> Any:  # noqa: ANN401  JSON from outside
    """Return JSON with its surrogates joined to characters, and `?` for those that have no mate.

    A lone surrogate is valid JSON, but no UTF-8 text, file or database can hold it.
    """
    joined = json.loads(json.dumps(data))
    return json.loads(json.dumps(joined, ensure_ascii=False).encode(errors="replace"))


def is_html(body: bytes) -> bool:
    """Return whether a body is a web page."""
    return _HTML.match(re.sub(rb"^(?:\s|\xef\xbb\xbf|<!--.*?-->)*", b"", body[:2048])) is not None


def is_cut(body: bytes) -> bool:
    """Return whether a body is the beginning of JSON or of a stream, or nothing at all."""
    text = body.strip()
    if not text:
        return True
    if _EVENT.match(text):
        return _DONE not in text[-64:]
    return text.startswith((b"{", b"[")) and not text.endswith((b"}", b"]"))


def _plain(body: bytes, content_type: str) -> bytes:
    """Return a body without what may stand before its first character, in UTF-8."""
    if body.startswith(_GZIP):  # packed, though nobody asked for it, and no header says so
        try:
            body = zlib.decompressobj(wbits=31).decompress(body, _LARGEST_UNPACKED)
        except zlib.error:
            raise MalformedError("gzip that cannot be unpacked") from None
    for mark, encoding in _BOMS:
        if body.startswith(mark):
            body = body.decode(encoding, errors="replace").encode(errors="replace")
            break
    stripped = body.lstrip()
    try:
        stripped.decode()
    except UnicodeDecodeError:
        return _in_utf8(stripped, content_type)
    return stripped


def _in_utf8(body: bytes, content_type: str) -> bytes:
    """Return a body that is not in UTF-8, in it: by its header, else as Latin-1."""
    named = _CHARSET.search(content_type)
    try:
        text = body.decode(named[1] if named else "latin-1")
    except (LookupError, UnicodeDecodeError):
        text = body.decode("latin-1")
    return text.encode(errors="replace")


def _of_stream(body: bytes, streamed: Streamed | None) -> Any:  # noqa: ANN401  JSON from outside
    """Return the error that a stream holds, else the reply that it adds up to.

    Args:
        body: The stream.
        streamed: The same, put together as it came; None where nobody listened.
    """
    if any(word in body for word in _ERROR_WORDS):
        for event in _suspects(body):
            if fault_in(200, event) is not None:
                return event
    if not any(part in body for part in _REPLY_PARTS):
        raise MalformedError("a stream that holds nothing of a reply")
    return whole_reply(body) if streamed is None else streamed.whole()


def _suspects(body: bytes) -> Iterator[JsonObject]:
    """Yield the events that may be an error: those that say so, or are no part of a chat.

    Some servers name the event `error` and send a bare text.
    """
    named = False
    for line in body.splitlines():
        name, _, rest = line.partition(b":")
        text = rest.strip()
        match name.strip().lower():
            case b"event":
                named = text.lower() == b"error"
            case b"error" if text:
                yield {"error": _json_or_text(text)}
            case b"data" if named and text and text != _DONE:
                data = _json_or_text(text)
                yield data if isinstance(data, dict) and "error" in data else {"error": data}
            case b"data" if any(word in text for word in _ERROR_WORDS):
                data = _json_or_text(text)
                if isinstance(data, dict):
                    yield data
            case b"":
                named = named and bool(line.strip())


def _json_or_text(text: bytes) -> Any:  # noqa: ANN401  JSON from outside
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text.decode(errors="replace")


def _json_lines(body: bytes) -> bytes | None:
    """Return objects that stand one on each line as the events that they are; None for others."""
    lines = [line for line in body.splitlines() if line.strip()]
    if len(lines) < 2 or not all(line.lstrip().startswith(b"{") for line in lines):  # noqa: PLR2004  several
        return None
    return b"".join(b"data: " + line.strip() + b"\n\n" for line in lines)
