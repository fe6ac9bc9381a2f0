"""Whether a chat template is Jinja at all, found by parsing it: nothing is rendered or run.

llama.cpp, vLLM and others each have a Jinja of their own, and none is quite jinja2. What is no
template in any of them is an error here; what only jinja2 may refuse is a doubt.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from difflib import get_close_matches
from typing import TYPE_CHECKING

from jinja2 import TemplateSyntaxError, nodes
from jinja2.ext import Extension
from jinja2.sandbox import ImmutableSandboxedEnvironment

if TYPE_CHECKING:
    from collections.abc import Iterator

    from jinja2.parser import Parser

LINE_SHOWN = 100

_ENDINGS = {
    "if": "endif",
    "for": "endfor",
    "macro": "endmacro",
    "call": "endcall",
    "filter": "endfilter",
    "set": "endset",
    "raw": "endraw",
    "generation": "endgeneration",
    "block": "endblock",
    "with": "endwith",
    "autoescape": "endautoescape",
}
_TAGS = frozenset(
    {*_ENDINGS, *_ENDINGS.values(), "else", "elif", "include", "import", "from", "extends", "do"}
    | {"break", "continue", "trans", "endtrans", "debug"}
)

_UNKNOWN_TAG = re.compile(r"Encountered unknown tag '([^']*)'")
_UNCLOSED = re.compile(r"[Uu]nexpected end of template")
_DIALECT = re.compile(r"non-default argument follows default")
"""What jinja2 refuses and another Jinja may well take."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TemplateFault:
    """What is wrong with a chat template.

    Args:
        line: Which line, from 1.
        text: What stands in it.
        message: What is wrong with it.
        certain: Whether no server could take it; else only some refuse it.
    """

    line: int
    text: str
    message: str
    certain: bool


class _Generation(Extension):
    """`{% generation %}` marks what the assistant writes, for those who train; it says nothing."""

    tags = {"generation"}  # noqa: RUF012  as jinja2 declares it

    def parse(self, parser: Parser) -> list[nodes.Node]:
        """Return what stands in the block."""
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


def template_fault(text: str) -> TemplateFault | None:
    """Return the first thing that is wrong with a chat template; None where it can be parsed."""
    environment = ImmutableSandboxedEnvironment(
        extensions=["jinja2.ext.loopcontrols", "jinja2.ext.do", _Generation],
        trim_blocks=True,
        lstrip_blocks=True,
        autoescape=False,
    )
    try:
        # Not compiled: that works out constants, and 9**9**9 is one.
        tree = environment.parse(text)
        return _unknown_name(text, tree, environment)
    except TemplateSyntaxError as error:
        return _told(text, error)
    except RecursionError:
        message = "nested too deeply to be looked at"
        return TemplateFault(line=1, text=_shown(text, 1), message=message, certain=False)


def _unknown_name(
    text: str, tree: nodes.Template, environment: ImmutableSandboxedEnvironment
) -> TemplateFault | None:
    """Return the first filter or test that jinja2 lacks; a server may have more of its own."""
    for node in tree.find_all((nodes.Filter, nodes.Test)):
        what, known = (
            ("filter", environment.filters)
            if isinstance(node, nodes.Filter)
            else ("test", environment.tests)
        )
        if node.name not in known:
            near = get_close_matches(node.name, known, n=1)
            message = f"no {what} is called «{node.name}»{f'; perhaps «{near[0]}»' if near else ''}"
            shown = _shown(text, node.lineno)
            return TemplateFault(line=node.lineno, text=shown, message=message, certain=False)
    return None


def _told(text: str, error: TemplateSyntaxError) -> TemplateFault:
    message = " ".join((error.message or "it cannot be parsed").split())
    line = error.lineno
    if (unknown := _UNKNOWN_TAG.search(message)) is not None:
        return _of_tag(text, line, unknown[1], message)
    opened = _unclosed(text) if _UNCLOSED.search(message) else None
    if opened is not None:
        tag, line = opened
        message = f"{{% {tag} %}} is never closed: {{% {_ENDINGS[tag]} %}} is missing"
    certain = _DIALECT.search(message) is None
    return TemplateFault(line=line, text=_shown(text, line), message=message, certain=certain)


def _of_tag(text: str, line: int, tag: str, message: str) -> TemplateFault:
    """Return what is wrong with a tag that jinja2 does not know, or not there.

    One that is nearly a known one is a slip, and an end without its beginning is one everywhere;
    another one may be some server's own.
    """
    near = get_close_matches(tag, _TAGS, n=1)
    brief = message.partition(". ")[0].rstrip(".")
    opened = _unclosed("\n".join(text.split("\n")[: line - 1]))
    if tag in _ENDINGS.values() and opened is not None:
        due, begun = _ENDINGS[opened[0]], opened[1]
        brief = f"{{% {tag} %}} stands where {{% {due} %}} is due, for line {begun}"
    elif tag in _ENDINGS.values():
        brief = f"{{% {tag} %}} closes nothing that is open"
    elif near and near[0] != tag:
        brief = f"{brief}; perhaps «{near[0]}»"
    return TemplateFault(line=line, text=_shown(text, line), message=brief, certain=bool(near))


def _unclosed(text: str) -> tuple[str, int] | None:
    """Return the innermost block that is open at the end, and the line in which it begins."""
    opened: list[tuple[str, int]] = []
    for tag, line in _tags(text):
        if tag in _ENDINGS:
            opened.append((tag, line))
        elif opened and tag == _ENDINGS[opened[-1][0]]:
            opened.pop()
    return opened[-1] if opened else None


_TAG = re.compile(r"\{#.*?#\}|\{%[-+]?\s*(?P<name>[A-Za-z_]+)(?P<rest>.*?)%\}", re.DOTALL)


def _tags(text: str) -> Iterator[tuple[str, int]]:
    """Yield each tag with its line; a `set` with a value opens no block."""
    for found in _TAG.finditer(text):
        name = found["name"]
        if name is None or (name == "set" and "=" in found["rest"]):
            continue
        yield name, text.count("\n", 0, found.start()) + 1


def _shown(text: str, line: int) -> str:
    """Return a line as it can be shown."""
    lines = text.split("\n")
    shown = " ".join(lines[min(line, len(lines)) - 1].split()) if lines else ""
    return shown if len(shown) <= LINE_SHOWN else f"{shown[: LINE_SHOWN - 1]}…"
