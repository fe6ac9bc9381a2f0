r"""Makes text of users, models and servers safe for where it goes; every output uses one of these.

| where it goes | what makes it safe |
| --- | --- |
| a terminal, a log: lines for people | `for_terminal`, of which one begins at the margin |
| the same, on one line | `for_line` |
| a reply that is read closely on a terminal | `visible` |
| a picture: Vega, SVG, PNG, PDF, a page | `for_picture`, and `all_for_picture` for whole data |
| a cell of a CSV file | `for_csv` |
| JSON that is written already | `for_json` |
| Markdown | `for_markdown` |
| a stream whose encoding lacks signs | the error handler `ESCAPES` |

What cannot stay becomes an escape in ASCII that says which sign it was (`\x1b`): nothing is
lost silently. Blanks and letters of all languages stay, and so do the joiners U+200C and U+200D,
without which some of them and many emoji are written wrongly, but for `for_json`.
"""

from __future__ import annotations

import codecs
import json
import re
from typing import Any

_CONTROLS = "\x00-\x08\x0b-\x1f\x7f-\x9f"
_DIRECTIONS = "\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069"
_UNSEEN = "\u200b\u2060-\u2065\u206a-\u206f\ufeff\ufff9-\ufffb\U000e0000-\U000e007f"
_NO_SIGNS = "\ud800-\udfff\ufdd0-\ufdef" + "".join(
    chr(plane << 16 | end) for plane in range(17) for end in (0xFFFE, 0xFFFF)
)
_UNSAFE = _CONTROLS + _DIRECTIONS + _UNSEEN + _NO_SIGNS

_IN_LINES = re.compile(f"[{_UNSAFE}]")
_AT_MARGIN = re.compile(r"\n(?=\S)")
_IN_A_LINE = re.compile(f"[\t\n{_UNSAFE}]")
_IN_JSON = re.compile(f"[\u200c\u200d{_UNSAFE}]")
_FORMULA = re.compile(r"[\t\r]|[\s\x00-\x20\u200b\ufeff]*[=+\-@\uff1d\uff0b\uff0d\uff20]")
_MARKS = re.compile(r"[\\`*_\[\]<>|]")

ESCAPES = "matrixbench.escapes"
"""Name of an error handler for streams: what an encoding cannot say is escaped as JSON does it."""


def for_terminal(text: str) -> str:
    """Return a message for people that no terminal obeys; line breaks and tabs stay.

    All its lines but the first are indented, so that a name with a line break in it cannot be
    taken for another message.
    """
    if text.isascii() and text.isprintable():
        return text
    return _AT_MARGIN.sub("\n  ", _IN_LINES.sub(_escape, text.replace("\r\n", "\n")))


def for_line(text: str) -> str:
    """Return a text that stays on one line of a terminal."""
    return _IN_A_LINE.sub(_escape, text)


def visible(text: str) -> str:
    """Return a text in which whatever is not printable is seen: blanks that look alike, joiners.

    Line breaks and tabs stay.
    """
    if text.isprintable():
        return text
    return "".join(
        sign if sign.isprintable() or sign in "\n\t" else _escaped(sign)
        for sign in text.replace("\r\n", "\n")
    )


def for_picture(text: str) -> str:
    """Return a text that a picture can show: one line, no sign that XML forbids.

    Two texts may become one; who tells things apart by it makes them differ again.
    """
    return _IN_A_LINE.sub(_escape, text)


def all_for_picture(value: Any) -> Any:
    """Return JSON data with every text in it, keys included, safe for a picture."""
    match value:
        case str():
            return for_picture(value)
        case dict():
            return {all_for_picture(key): all_for_picture(item) for key, item in value.items()}
        case list() | tuple():
            return [all_for_picture(item) for item in value]
        case _:
            return value


def for_csv(text: str) -> str:
    """Return a cell that no spreadsheet takes for a formula: an apostrophe stands before those.

    Line breaks stay, as CSV quotes them; other control characters are escaped.
    """
    safe = _IN_LINES.sub(_escape, text)
    return f"'{safe}" if _FORMULA.match(text) else safe


def for_json(written: str) -> str:
    """Return JSON text as the same JSON, without signs that a terminal or an editor obeys."""
    return _IN_JSON.sub(lambda found: json.dumps(found[0])[1:-1], written)


def for_markdown(text: str) -> str:
    """Return a text that Markdown shows as it is, on one line."""
    return for_line(_MARKS.sub(r"\\\g<0>", text.replace("\n", " ")))


def _escape(found: re.Match[str]) -> str:
    return _escaped(found[0])


def _escaped(sign: str) -> str:
    return sign.encode("unicode_escape").decode()


def _as_json(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    lacking = error.object[error.start : error.end]
    return json.dumps(lacking)[1:-1], error.end


codecs.register_error(ESCAPES, _as_json)
