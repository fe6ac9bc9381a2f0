"""The small language of `{{ … }}`, Jinja2 in a sandbox; and chat templates, parsed and never run.

The sandbox bounds what a template reaches. Its limits of cost stop mistakes, and nobody who means
it (docs/safety.md#templates).
"""

from __future__ import annotations

import json
import re
from collections.abc import Sized
from dataclasses import dataclass
from difflib import get_close_matches
from itertools import islice
from math import isfinite
from typing import TYPE_CHECKING, Any

from jinja2 import StrictUndefined, TemplateError, TemplateSyntaxError, nodes
from jinja2.exceptions import SecurityError
from jinja2.ext import Extension
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.visitor import NodeTransformer

from matrixbench.spec.wording import TemplateProblem, listed
from matrixbench.spec.yaml_source import Finding, Node

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from jinja2 import Template
    from jinja2.parser import Parser

    from matrixbench.records import JsonObject

MAX_TEXT = 1_000_000
"""Characters that one text may have, and items that one list may have."""

MAX_STEPS = 10_000
"""Loop steps that one text may take."""

MAX_BITS = 4_096
"""Bits that a whole number may have."""

FILTERS = (
    "abs", "capitalize", "count", "d", "default", "dictsort", "first", "float", "int", "items",
    "join", "last", "length", "list", "lower", "max", "min", "replace", "reverse", "round", "sort",
    "string", "title", "tojson", "trim", "unique", "upper",
)  # fmt: skip
METHODS = (
    "capitalize", "endswith", "get", "items", "keys", "lower", "lstrip", "removeprefix",
    "removesuffix", "rstrip", "split", "splitlines", "startswith", "strip", "title", "upper",
    "values",
)  # fmt: skip

_STATEMENTS = (nodes.Output, nodes.TemplateData, nodes.For, nodes.If)
_COUNTED = "_counted"
_JOINED = "_joined"
_FAILURES = (
    TemplateError,
    ArithmeticError,
    AttributeError,
    LookupError,
    MemoryError,
    NameError,  # jinja2 writes a constant that is not finite as a name
    RecursionError,
    SyntaxError,  # more nested loops than Python compiles
    TypeError,
    ValueError,
)


class Renderer:
    """Renders texts with parameters; each text is compiled once.

    Args:
        finalize: Turns each value into what is written; None writes it as Python does.
    """

    def __init__(self, finalize: Callable[[Any], Any] | None = None) -> None:
        self._environment = _Environment(finalize)
        self._compiled: dict[str, Template] = {}

    def render(self, text: str, parameters: Mapping[str, Any]) -> str:
        """Return a text with its `{{ … }}` filled in.

        Raises:
            TemplateProblem: It is not in the language, names a parameter that there is not, fails,
                or costs more than it may.
        """
        if "{" not in text:
            return text
        try:
            template = self._template(text)
            self._environment.steps = 0
            return _bounded_text(template.generate(**parameters))
        except TemplateSyntaxError as error:
            raise TemplateProblem(f"not a template: {error.message}") from None
        except _FAILURES as error:
            reason = " ".join(str(error).split()) or type(error).__name__
            raise TemplateProblem(f"the template fails: {reason[:300]}") from None

    def check(self, text: str) -> None:
        """Compile a text without rendering it.

        Raises:
            TemplateProblem: It is not in the language.
        """
        try:
            self._template(text)
        except TemplateSyntaxError as error:
            raise TemplateProblem(f"not a template: {error.message}") from None
        except _FAILURES as error:
            raise TemplateProblem(f"not a template: {error}") from None

    def _template(self, text: str) -> Template:
        template = self._compiled.get(text)
        if template is None:
            template = self._compiled[text] = self._environment.bounded(text)
        return template


class _Environment(ImmutableSandboxedEnvironment):
    """A sandbox that also counts what a template costs, as far as that can be counted."""

    intercepted_binops = frozenset({"+", "*", "**", "%"})

    def __init__(self, finalize: Callable[[Any], Any] | None = None) -> None:
        super().__init__(
            undefined=StrictUndefined,
            keep_trailing_newline=True,
            autoescape=False,
            finalize=finalize,
        )
        allowed = {name: self.filters[name] for name in FILTERS}
        self.filters: dict[str, Callable[..., Any]] = {
            **allowed,
            "join": _join,
            "replace": _replace,
            "tojson": _to_json,
            _COUNTED: self._take_steps,
            _JOINED: _join,
        }
        self.globals = {"range": _range}
        self.steps = 0

    def bounded(self, text: str) -> Template:
        """Return a text compiled, its loops counted; raises what is not in the language."""
        if len(text) > MAX_TEXT:
            raise SecurityError(f"the text is longer than {MAX_TEXT:,} characters")
        tree = self.parse(text)
        _check(tree)
        _Counted().visit(tree)
        code = self.compile(tree)
        return self.template_class.from_code(self, code, self.make_globals(None))

    def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
        """Refuse an operation before it gets too big."""
        _bound(operator, left, right)
        return super().call_binop(context, operator, left, right)

    def _take_steps(self, values: Iterable[Any]) -> list[Any]:
        taken = list(islice(values, MAX_STEPS - self.steps + 1))
        self.steps += len(taken)
        if self.steps > MAX_STEPS:
            raise SecurityError(f"it loops more than {MAX_STEPS:,} times")
        return taken


def _check(tree: nodes.Template) -> None:
    """Refuse statements, calls and filters outside of the language."""
    for node in tree.find_all(nodes.Stmt):
        if not isinstance(node, _STATEMENTS):
            name = type(node).__name__.lower()
            raise TemplateSyntaxError(
                f"only if and for may stand in {{% %}}, not {name}", node.lineno
            )
    for loop in tree.find_all(nodes.For):
        if loop.recursive:
            raise TemplateSyntaxError("a loop may not be recursive", loop.lineno)
    for call in tree.find_all(nodes.Call):
        called = call.node
        plain = isinstance(called, nodes.Name) and called.name == "range"
        method = isinstance(called, nodes.Getattr) and called.attr in METHODS
        if not plain and not method:
            choices = ", ".join(("range", *METHODS))
            raise TemplateSyntaxError(f"only these may be called: {choices}", call.lineno)
    for used in tree.find_all(nodes.Filter):
        if used.name not in FILTERS:
            choices = ", ".join(FILTERS)
            raise TemplateSyntaxError(f"no filter «{used.name}»; there are {choices}", used.lineno)


class _Counted(NodeTransformer):
    """Sends loops and `~` through functions that count, and refuses numbers that are too big."""

    def visit(self, node: nodes.Node, *args: Any, **kwargs: Any) -> nodes.Node:
        """Return what stands in a node's stead."""
        self.generic_visit(node, *args, **kwargs)
        match node:
            case nodes.For():
                node.iter = _filtered(node.iter, _COUNTED)
            case nodes.Concat():
                return _filtered(nodes.List(node.nodes, lineno=node.lineno), _JOINED)
            case nodes.Const(value=float() as value) if not isfinite(value):
                # Which jinja2 would write as the name `inf`.
                raise TemplateSyntaxError("a number is too big", node.lineno)
            case _:
                pass
        return node


def _filtered(value: nodes.Node, name: str) -> nodes.Filter:
    return nodes.Filter(value, name, [], [], None, None, lineno=value.lineno)


def _bound(sign: str, left: Any, right: Any) -> None:
    match sign, left, right:
        case "**", int() | float(), int() | float():
            if isinstance(left, int) and left.bit_length() * abs(right) > MAX_BITS:
                raise SecurityError("the number gets too big")
        case "*", int(), int():
            if left.bit_length() + right.bit_length() > MAX_BITS:
                raise SecurityError("the number gets too big")
        case "*", int() as times, Sized() as several:
            _fits(len(several) * times)
        case "*", Sized() as several, int() as times:
            _fits(len(several) * times)
        case "+", Sized(), Sized():
            _fits(len(left) + len(right))
        case "%", str(), _:
            raise SecurityError("% does not format texts here; use ~")
        case _:
            pass


def _fits(length: int) -> None:
    if length > MAX_TEXT:
        raise SecurityError(f"it gets longer than {MAX_TEXT:,}")


def _range(*bounds: int) -> range:
    made = range(*bounds)
    if not -MAX_STEPS <= (made.stop - made.start) // made.step <= MAX_STEPS:
        raise SecurityError(f"it loops more than {MAX_STEPS:,} times")
    return made


def _join(values: Iterable[Any], d: str = "") -> str:
    texts = [str(value) for value in islice(values, MAX_TEXT)]
    _fits(sum(map(len, texts)) + len(d) * len(texts))
    return d.join(texts)


def _replace(text: str, old: str, new: str) -> str:
    text = str(text)
    _fits(len(text) + text.count(old) * len(new))
    return text.replace(old, new)


def _to_json(value: Any) -> str:
    """Return JSON as a model should read it: jinja2's own filter escapes for HTML."""
    return json.dumps(value, ensure_ascii=False)


def _bounded_text(pieces: Iterable[str]) -> str:
    taken: list[str] = []
    length = 0
    for piece in pieces:
        length += len(piece)
        _fits(length)
        taken.append(piece)
    return "".join(taken)


MAX_RENDERED = 50_000_000
"""Characters that the texts of one test may have over all of its parameters."""


class Filler:
    """Fills one test, point by point; `findings` says what is wrong."""

    def __init__(self) -> None:
        self.findings: list[Finding] = []
        self._renderer = Renderer()
        self._length = 0

    def mapping(self, node: Node, parameters: Mapping[str, Any]) -> JsonObject:
        """Return a test's data with every text filled in, but for the parameters themselves."""
        return {
            key: entry.node.plain() if key == "parameters" else self._filled(entry.node, parameters)
            for key, entry in node.entries.items()
        }

    def _filled(self, node: Node, parameters: Mapping[str, Any]) -> Any:
        match node.value:
            case dict() as entries:
                return {key: self._filled(entry.node, parameters) for key, entry in entries.items()}
            case list() as items:
                return [self._filled(item, parameters) for item in items]
            case str(text):
                return self._text(node, text, parameters)
            case scalar:
                return scalar

    def _text(self, node: Node, text: str, parameters: Mapping[str, Any]) -> str:
        try:
            filled = self._renderer.render(text, parameters)
        except TemplateProblem as problem:
            hint = f"the parameters are {listed(parameters)}"
            self.findings.append(node.told(str(problem), hint))
            return text
        self._length += len(filled)
        if self._length > MAX_RENDERED and not self.findings:
            message = f"the test's texts have more than {MAX_RENDERED:,} characters in all"
            self.findings.append(node.told(message))
        return filled


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

    tags = {"generation"}

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
