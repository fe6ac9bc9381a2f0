"""Cells chosen by their axes: `--where`, `exclude`, `include`, and partners of a cell."""

from __future__ import annotations

import json
import operator
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

from matrixbench.errors import NothingSelectedError, UsageError
from matrixbench.identity import canonical_json
from matrixbench.spec.axes import Several, axes_that, is_glob, label, level_of, matches, same
from matrixbench.spec.backends import Obstacle
from matrixbench.spec.experiment import SAMPLING_FIELDS
from matrixbench.spec.load import TestCase
from matrixbench.spec.patterns import REGEX_TIMEOUT_S, PatternError, compiled
from matrixbench.spec.slips import words_for
from matrixbench.spec.wording import choose, listed, nearest, nearest_first, quoted

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

    import regex

    from matrixbench.plan.cells import Cell, Launch, RequestPoint
    from matrixbench.spec.axes import Coordinates, Level
    from matrixbench.spec.base import Point

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


def _scalar(text: str) -> Any:
    """Return what a bare word means, numbers as YAML 1.2 reads them: `.5` and `+1` too."""
    if _NUMBER.fullmatch(text):
        return float(text) if any(char in text for char in ".eE") else int(text)
    try:
        return json.loads(text)
    except ValueError:
        return text


def _found(pattern: regex.Pattern[str], value: object) -> bool:
    """Return whether a pattern is found in a value's label, or in that of one of several."""
    values = value if isinstance(value, Several) else (value,)
    try:
        return any(
            pattern.search(label(item), timeout=REGEX_TIMEOUT_S) is not None for item in values
        )
    except TimeoutError as error:
        raise UsageError(
            f"the regular expression takes longer than {REGEX_TIMEOUT_S:g} s "
            f"on «{label(value):.60}»",
            where="--where",
            hint="Nested repetitions such as (a+)+ try every way; write a+.",
        ) from error


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

        def one_of(found: Any) -> bool:
            return any(matches(value, found) for value in values)

        wanted = ", ".join(map(label, values))
        self._note(axis, f"{axis} in ({wanted})", one_of, label(values[0]))
        return lambda cell: one_of(cell.get(axis))

    def _value(self, axis: str) -> Any:
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

    def _compare(self, axis: str, sign: _Token, value: Any) -> Predicate:
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

    def _regex(self, value: object, at: int) -> regex.Pattern[str]:
        try:
            return compiled(label(value))
        except PatternError as error:
            raise self._error(f"the regular expression is wrong: {error}", at) from error

    def _ordered(self, axis: str, sign: _Token, value: object) -> Predicate:
        if not isinstance(value, (int, float)) or isinstance(value, bool):
            raise self._error(f"«{sign.text}» compares numbers, not «{label(value)}»", sign.at)
        compare = _ORDER[sign.text]

        def holds(found: Any) -> bool:
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


NO_CELL = "no cell is selected"
_FIXED = ("max_tokens", "seed", "trials", "context", "slots", "concurrency", "build")
"""What people choose cells by, and what is no axis unless the file makes it one."""


def unknown_axis(name: str, axes: Iterable[str]) -> tuple[str, str]:
    """Return what is said of a name that is no axis, and the way out.

    A sampling field that the file does not give is none: it does not vary here.
    """
    known = sorted(axes)
    every = f"its axes are {', '.join(known)}"
    families = axes_that(lambda axis: axis.is_family)
    owner = next((f"{family}{name}" for family in families if f"{family}{name}" in known), None)
    if owner is None and name in (*SAMPLING_FIELDS, *_FIXED):
        return f"{name} does not vary here", f"{_left(name)}; {every}"
    near = (
        owner
        or words_for("sampling").get(name)
        or nearest(name, (*known, *SAMPLING_FIELDS, *_FIXED))
    )
    perhaps = ""
    if near in known:
        perhaps = f"perhaps you meant «{near}»; "
    elif within := [axis for axis in known if name in axis]:
        perhaps = f"perhaps you meant «{within[0]}»; "
    elif near is not None:
        perhaps = f"perhaps you meant «{near}»: {near} does not vary here; "
    return f"the experiment has no axis «{name}»", f"{perhaps}{every}"


def _left(name: str) -> str:
    if name in SAMPLING_FIELDS:
        return "no `sampling:` gives it, so that every request leaves it to the server"
    return "it is the same for all cells, or no axis of the matrix"


def nothing_selected(
    selector: Selector, values: Mapping[str, Iterable[Any]], *, where: str, hint: str = ""
) -> NothingSelectedError:
    """Return the error for a selection without a cell, with the comparison that is to blame.

    Args:
        values: Axis → the values that cells have.
        hint: What to do where no comparison is to blame.
    """
    for compared in selector.comparisons:
        known = list(values.get(compared.axis, ()))
        if not any(compared.fits(value) for value in known):
            return NothingSelectedError(
                f"{NO_CELL}: {_blamed(compared)}", where=where, hint=_known(compared, known)
            )
    if len(selector.comparisons) > 1:
        texts = listed(compared.text for compared in selector.comparisons)
        return NothingSelectedError(
            f"{NO_CELL}: each of these holds somewhere, all together nowhere: {texts}",
            where=where,
            hint="plan --cells lists the cells; some may be excluded, or not apply",
        )
    return NothingSelectedError(NO_CELL, where=where, hint=hint)


def _blamed(compared: Compared) -> str:
    if compared.wanted:
        return f"{compared.axis} has no value {quoted(compared.wanted)}"
    return f"no value of {compared.axis} is so: {compared.text}"


def _known(compared: Compared, known: Iterable[Any]) -> str:
    """Return the values of an axis, those that are likest to what was asked for first."""
    texts = list(
        dict.fromkeys(
            label(item)
            for value in known
            for item in (value if isinstance(value, Several) else (value,))
        )
    )
    if not texts:
        return f"no cell has a {compared.axis}"
    if not compared.wanted:
        return f"the values of {compared.axis}: {listed(texts)}"
    near = nearest(compared.wanted, texts)
    perhaps = f"perhaps you meant «{near}»; " if near else ""
    ordered = nearest_first(compared.wanted, texts)
    return f"{perhaps}the values of {compared.axis}, the nearest first: {listed(ordered)}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Patterns:
    """A list of entries, matched level by level with one bit for each entry.

    A cell matches an entry when all of its levels do, so `launch & request & test` is not zero:
    a million cells cost a million `&`, not a million comparisons of dictionaries.
    """

    entries: tuple[Mapping[str, Any], ...]
    _masks: dict[Launch | RequestPoint | TestCase, int] = field(default_factory=dict)

    def mask(self, level: Level, part: Launch | RequestPoint | TestCase) -> int:
        """Return a mask of the entries whose axes of this level match a part of a cell."""
        if not self.entries:
            return 0
        if part not in self._masks:
            coordinates = part.handles if isinstance(part, TestCase) else part.coordinates
            self._masks[part] = sum(
                1 << index
                for index, entry in enumerate(self.entries)
                if all(
                    matches(pattern, coordinates.get(axis))
                    for axis, pattern in entry.items()
                    if level_of(axis) is level
                )
            )
        return self._masks[part]


def named_values(pattern: Any) -> tuple[Any, ...]:
    """Return the single values that an entry names for an axis; globs stay globs."""
    match pattern:
        case {"value": literal} if len(pattern) == 1:
            return (literal,)
        case list() | tuple():
            return tuple(pattern)
        case _:
            return (pattern,)


def narrow(points: Sequence[Point], named: Iterable[tuple[str, Any]]) -> tuple[Point, ...]:
    """Return a grid's points narrowed to what an `include` entry names.

    A value that some points have keeps those points, linked axes and all. A value that no point
    has is put into every point: `include` may name values that the grids lack.
    """
    found = tuple(points)
    for axis, pattern in named:
        narrowed: list[Point] = []
        for value in named_values(pattern):
            kept = [point for point in found if axis in point and matches(value, point[axis])]
            if not kept and not is_glob(value):
                kept = [{**point, axis: value} for point in found]
            narrowed.extend(point for point in kept if not _holds(narrowed, point))
        found = tuple(narrowed)
    return found


def _holds(points: Sequence[Point], point: Point) -> bool:
    return any(
        other.keys() == point.keys() and all(same(other[key], point[key]) for key in point)
        for other in points
    )


_Axes: TypeAlias = tuple[str, ...]
_Key: TypeAlias = tuple[str, ...]


class Partners:
    """Finds a cell's partners among some cells; looking up one of them costs no search.

    Axes that only one of two cells has, such as the options of a backend of its own, do not keep
    them apart: they belong to what is compared.

    Args:
        cells: All cells that may be a partner.
    """

    def __init__(self, cells: Iterable[Cell]) -> None:
        self._groups: dict[_Axes, list[tuple[Cell, Coordinates]]] = {}
        for cell in cells:
            coordinates = cell.coordinates()
            self._groups.setdefault(tuple(coordinates), []).append((cell, coordinates))
        self._indexes: dict[tuple[_Axes, _Axes, str], dict[_Key, list[Cell]]] = {}

    def of(self, cell: Cell, named: Mapping[str, Any]) -> Cell | Obstacle:
        """Return the cell that is like another but for named values; or why there is none."""
        own = cell.coordinates()
        found: list[Cell] = []
        for axes in self._groups:
            if not named.keys() <= set(axes):
                continue
            common = tuple(axis for axis in axes if axis in own and axis not in named)
            index = self._index(axes, common, named)
            found += index.get(tuple(canonical_json(own[axis]) for axis in common), [])
        if len(found) == 1:
            return found[0]
        if not found:
            return Obstacle(
                f"no cell is like this one but for {_written(named)}",
                "include that cell, or exclude those that are compared with it",
            )
        axis, values = _apart(found)
        return Obstacle(
            f"several cells have {_written(named)}: they differ in {axis} ({values})",
            f"name which one is meant: {axis}",
        )

    def _index(
        self, axes: _Axes, common: _Axes, named: Mapping[str, Any]
    ) -> dict[_Key, list[Cell]]:
        key = (axes, common, canonical_json(dict(named)))
        if key not in self._indexes:
            index = self._indexes[key] = {}
            for cell, coordinates in self._groups[axes]:
                if all(same(value, coordinates[axis]) for axis, value in named.items()):
                    place = tuple(canonical_json(coordinates[axis]) for axis in common)
                    index.setdefault(place, []).append(cell)
        return self._indexes[key]


def _written(named: Mapping[str, Any]) -> str:
    return ", ".join(f"{axis}={label(value)}" for axis, value in named.items())


def _apart(cells: Sequence[Cell]) -> tuple[str, str]:
    """Return an axis in which cells differ, and its values."""
    first, *others = (cell.coordinates() for cell in cells)
    for other in others:
        for axis in first.keys() | other.keys():
            if first.get(axis) != other.get(axis):
                return axis, f"{label(first.get(axis))}, {label(other.get(axis))}"
    return "their place", "the same point twice"
