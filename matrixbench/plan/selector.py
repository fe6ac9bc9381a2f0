"""`--where`: a small language for choosing cells by their axes.

    temperature<=1 and test=~weather
    backend in (candidate, baseline) and not model=qwen*

Comparisons are `=` (or `==`; a glob may be used), `!=`, `<`, `<=`, `>`, `>=` (numbers), `=~` and
`!~` (regular expressions), `in (a, b)`; they are joined by `and`, `or`, `not` and parentheses.
A test may be named by its suite, `suite=x`, and by its tags, of which it may have several: `tag=x`
chooses tests that have x among them, `tag!=x` the others.
"""

from __future__ import annotations

import json
import operator
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from matrixbench.errors import UsageError
from matrixbench.plan.unselected import unknown_axis
from matrixbench.plan.values import Several, is_glob, label, matches
from matrixbench.spec.wording import choose

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

    from matrixbench.plan.cells import Coordinates

Predicate: TypeAlias = "Callable[[Mapping[str, Any]], bool]"

_TOKEN = re.compile(
    r"""\s*(?:
        (?P<op>=~|!~|==|!=|<=|>=|=|<|>)
      | (?P<punct>[(),])
      | "(?P<double>[^"]*)"
      | '(?P<single>[^']*)'
      | (?P<word>[^\s()=!<>~,"']+)
    )""",
    re.VERBOSE,
)
DEEPEST = 64
"""Levels of parentheses and of `not`: Python's own calls are as deep as an expression."""

_NUMBER = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_ORDER: dict[str, Callable[[Any, Any], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """One comparison that asks for something, and so may be why nothing is selected.

    Args:
        axis: The axis.
        text: The comparison as people write it.
        wanted: The text of what is asked for, where it names values; else empty.
        fits: Whether a value of the axis is what is asked for.
    """

    axis: str
    text: str
    wanted: str = ""
    fits: Callable[[Any], bool]


@dataclass(frozen=True, slots=True, kw_only=True)
class Selector:
    """A frozen predicate over coordinates, with the text that it was made from."""

    text: str
    predicate: Predicate
    comparisons: tuple[Compared, ...] = ()

    def __call__(self, coordinates: Coordinates) -> bool:
        """Return whether a cell with these coordinates is selected."""
        return self.predicate(coordinates)


def select_all() -> Selector:
    """Return the selector that leaves nothing out."""
    return Selector(text="", predicate=lambda _: True)


def parse_where(
    expressions: str | Sequence[str],
    axes: Iterable[str],
    *,
    handles: Mapping[str, Collection[str]] | None = None,
) -> Selector:
    """Return the selector for some `--where` expressions, all of which must hold.

    Args:
        expressions: What the user wrote, one or several.
        axes: The names that may be compared.
        handles: `suite` and `tag`, with what tests have of them; anything else is a mistake.

    Raises:
        UsageError: An expression cannot be read, or names an axis, a suite or a tag that the
            experiment lacks.
    """
    known, named = frozenset(axes), handles or {}
    expressions = [expressions] if isinstance(expressions, str) else expressions
    parsers = [_Parser(text, known, named) for text in expressions]
    parts = [parser.parse() for parser in parsers]
    if not parts:
        return select_all()
    return Selector(
        text=" and ".join(f"({text})" for text in expressions),
        predicate=lambda cell: all(part(cell) for part in parts),
        comparisons=tuple(one for parser in parsers for one in parser.comparisons),
    )


def _scalar(text: str) -> Any:  # noqa: ANN401  a YAML scalar
    """Return what a bare word means, numbers as YAML 1.2 reads them: `.5` and `+1` too."""
    if _NUMBER.fullmatch(text):
        return float(text) if any(char in text for char in ".eE") else int(text)
    try:
        return json.loads(text)
    except ValueError:
        return text


def _found(pattern: re.Pattern[str], value: object) -> bool:
    """Return whether a pattern is found in a value's label, or in that of one of several."""
    values = value if isinstance(value, Several) else (value,)
    return any(pattern.search(label(item)) is not None for item in values)


@dataclass(frozen=True, slots=True)
class _Token:
    kind: str
    text: str
    at: int


class _Parser:
    """Recursive descent over the tokens of one expression."""

    def __init__(
        self, text: str, axes: frozenset[str], handles: Mapping[str, Collection[str]]
    ) -> None:
        self._text = text
        self._axes = axes
        self._handles = handles
        self._denied = 0
        self._depth = 0
        self.comparisons: list[Compared] = []
        self._tokens = self._split()
        self._next = 0

    def parse(self) -> Predicate:
        predicate = self._either()
        if (token := self._peek()) is not None:
            raise self._error(f"«{token.text}» is not expected here", token.at)
        return predicate

    def _split(self) -> list[_Token]:
        tokens: list[_Token] = []
        at = 0
        text = self._text.rstrip()
        while at < len(text):
            found = _TOKEN.match(text, at)
            if found is None:
                raise self._error(f"«{text[at:].strip()[:20]}» cannot be read", at)
            kind = found.lastgroup or ""
            tokens.append(_Token(kind, found.group(kind), found.start(kind)))
            at = found.end()
        return tokens

    def _peek(self) -> _Token | None:
        return self._tokens[self._next] if self._next < len(self._tokens) else None

    def _take(self, what: str) -> _Token:
        token = self._peek()
        if token is None:
            raise self._error(f"{what} is missing at the end", len(self._text))
        self._next += 1
        return token

    def _keyword(self, word: str) -> bool:
        token = self._peek()
        if token is not None and token.kind == "word" and token.text == word:
            self._next += 1
            return True
        return False

    def _punct(self, char: str) -> bool:
        token = self._peek()
        if token is not None and token.kind == "punct" and token.text == char:
            self._next += 1
            return True
        return False

    def _either(self) -> Predicate:
        parts = [self._both()]
        while self._keyword("or"):
            parts.append(self._both())
        return parts[0] if len(parts) == 1 else lambda cell: any(part(cell) for part in parts)

    def _both(self) -> Predicate:
        parts = [self._negated()]
        while self._keyword("and"):
            parts.append(self._negated())
        return parts[0] if len(parts) == 1 else lambda cell: all(part(cell) for part in parts)

    def _negated(self) -> Predicate:
        if self._keyword("not"):
            self._denied += 1
            inner = self._deeper(self._negated)
            self._denied -= 1
            return lambda cell: not inner(cell)
        if self._punct("("):
            inner = self._deeper(self._either)
            if not self._punct(")"):
                raise self._error("a closing parenthesis is missing", len(self._text))
            return inner
        return self._comparison()

    def _deeper(self, part: Callable[[], Predicate]) -> Predicate:
        if self._depth >= DEEPEST:
            raise self._error(
                f"more than {DEEPEST} levels are too deep", self._tokens[self._next - 1].at
            )
        self._depth += 1
        inner = part()
        self._depth -= 1
        return inner

    def _comparison(self) -> Predicate:
        token = self._take("a comparison")
        axis = self._axis(token)
        if self._keyword("in"):
            return self._membership(axis)
        sign = self._take("a comparison sign")
        if sign.kind != "op":
            raise self._error(f"a comparison is expected, not «{sign.text}»", sign.at)
        value = self._value(axis if sign.text in {"=", "==", "!="} else "")
        return self._compare(axis, sign, value)

    def _axis(self, token: _Token) -> str:
        if token.kind != "word":
            raise self._error(f"an axis is expected, not «{token.text}»", token.at)
        if token.text not in self._axes:
            message, hint = unknown_axis(token.text, self._axes)
            raise UsageError(message, where=f"--where {self._text!r}", hint=hint)
        return token.text

    def _note(self, axis: str, text: str, fits: Callable[[Any], bool], wanted: str = "") -> None:
        """Keep a comparison that asks for something; what is denied is no reason for nothing."""
        if self._denied % 2 == 0:
            self.comparisons.append(Compared(axis=axis, text=text, wanted=wanted, fits=fits))

    def _membership(self, axis: str) -> Predicate:
        if not self._punct("("):
            raise self._error("after `in` a list in parentheses is expected", len(self._text))
        values = [self._value(axis)]
        while self._punct(","):
            values.append(self._value(axis))
        if not self._punct(")"):
            raise self._error("a closing parenthesis is missing", len(self._text))

        def one_of(found: Any) -> bool:  # noqa: ANN401  a value of an axis
            return any(matches(value, found) for value in values)

        wanted = ", ".join(map(label, values))
        self._note(axis, f"{axis} in ({wanted})", one_of, label(values[0]))
        return lambda cell: one_of(cell.get(axis))

    def _value(self, axis: str) -> Any:  # noqa: ANN401  a YAML scalar
        token = self._take("a value")
        if token.kind not in {"word", "single", "double"}:
            raise self._error(f"a value is expected, not «{token.text}»", token.at)
        if axis in self._handles:
            return self._handle(token, axis)
        return _scalar(token.text) if token.kind == "word" else token.text

    def _handle(self, token: _Token, axis: str) -> str | None:
        """Return the suite or the tag that is named, or a glob; `null` stands for having none."""
        known = self._handles[axis]
        if token.kind == "word" and token.text == "null":
            return None
        if is_glob(token.text) or token.text in known:
            return token.text
        raise UsageError(
            f"no test has the {axis} «{token.text}»",
            where=f"--where {self._text!r}, column {token.at + 1}",
            hint=choose(token.text, sorted(known), what=f"{axis}s"),
        )

    def _compare(self, axis: str, sign: _Token, value: Any) -> Predicate:  # noqa: ANN401
        match sign.text:
            case "=" | "==":
                text = label(value)
                self._note(axis, f"{axis}={text}", lambda found: matches(value, found), text)
                return lambda cell: matches(value, cell.get(axis))
            case "!=":
                return lambda cell: not matches(value, cell.get(axis))
            case "=~" | "!~":
                wanted = sign.text == "=~"
                pattern = self._regex(value, sign.at)
                if wanted:
                    self._note(axis, f"{axis}=~{label(value)}", lambda v: _found(pattern, v))
                return lambda cell: _found(pattern, cell.get(axis)) is wanted
            case _:
                return self._ordered(axis, sign, value)

    def _regex(self, value: object, at: int) -> re.Pattern[str]:
        try:
            return re.compile(label(value))
        except re.error as error:
            raise self._error(f"the regular expression is wrong: {error}", at) from error

    def _ordered(self, axis: str, sign: _Token, value: object) -> Predicate:
        if not isinstance(value, (int, float)) or isinstance(value, bool):
            raise self._error(f"«{sign.text}» compares numbers, not «{label(value)}»", sign.at)
        compare = _ORDER[sign.text]

        def holds(found: Any) -> bool:  # noqa: ANN401  a value of an axis
            number = isinstance(found, (int, float)) and not isinstance(found, bool)
            return number and compare(found, value)

        self._note(axis, f"{axis}{sign.text}{label(value)}", holds)
        return lambda cell: holds(cell.get(axis))

    def _error(self, message: str, at: int) -> UsageError:
        return UsageError(
            message,
            where=f"--where {self._text!r}, column {at + 1}",
            hint="for example: --where 'temperature<=1 and test=~weather'",
        )
