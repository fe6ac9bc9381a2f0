"""Which axes there are, how their values are read and written, and what a cell is called.

An axis is one row of `AXES`: whatever lists axes reads the table, and so a new axis is a new row.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from fnmatch import fnmatchcase
from functools import lru_cache
from itertools import product
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

from matrixbench.identity import canonical_json
from matrixbench.spec.base import axis_values, is_file_mark
from matrixbench.spec.experiment import SAMPLING_FIELDS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

Coordinates: TypeAlias = dict[str, Any]
"""Axis → value. The axes are called as in docs/experiment-file.md. An axis that a cell does not
have is missing; a null sampling field is None."""

Pairs: TypeAlias = "Iterable[tuple[str, Any]]"
"""Axis and value, one after the other."""


class Level(StrEnum):
    """The part of a cell that an axis belongs to."""

    LAUNCH = "launch"
    REQUEST = "request"
    TEST = "test"


class Side(StrEnum):
    """Where in a chart an axis stands, if the chart does not say."""

    X = "x"
    Y = "y"
    ROW = "row"
    COLUMN = "column"


class Tested(Protocol):
    """A test as far as cells are chosen by it."""

    @property
    def name(self) -> str:
        """Its name."""

    @property
    def parameters(self) -> Mapping[str, Any]:
        """Its parameters' values."""

    @property
    def suite(self) -> str:
        """The suite that it came from; may be empty."""

    @property
    def tags(self) -> Sequence[str]:
        """Its tags."""


def _nothing(_: object) -> Pairs:
    return ()


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Axis:
    """One axis, or a family of them, whose name ends with a dot.

    Args:
        name: Its name; of a family the part that all its axes begin with.
        level: The part of a cell that it belongs to.
        description: What its values are, for editors; not of a family, nor of a sampling field.
        bare: Whether its values speak for themselves, as a model's name does and 0.7 does not.
        server_decides: Whether the server's default holds where it is left out; `include` may then
            bring values that the file has nowhere else.
        side: Its side in a chart.
        leads: Whether it comes first on that side.
        outer: Whether it comes before the others where several share a side.
        sets_build: Whether it chooses the server's program, and with it the builds there can be.
        always: Whether every experiment has it.
        selects: Whether `--where`, `exclude` and `include` may name it.
        charted: Whether charts and baselines may name it.
        of_file: Yields what the experiment file gives it, from the file as plain data in which
            types may be wrong.
        of_test: Yields what a test has of it.
    """

    name: str
    level: Level
    description: str = ""
    bare: bool = False
    server_decides: bool = False
    side: Side = Side.COLUMN
    leads: bool = False
    outer: bool = False
    sets_build: bool = False
    always: bool = False
    selects: bool = True
    charted: bool = True
    of_file: Callable[[Mapping[str, Any]], Pairs] = _nothing
    of_test: Callable[[Tested], Pairs] = _nothing

    @property
    def is_family(self) -> bool:
        """Whether it stands for many axes."""
        return self.name.endswith(".")

    @property
    def is_coordinate(self) -> bool:
        """Whether it is a part of a cell's coordinates."""
        return self.selects and self.charted

    def named(self, values: Mapping[str, Any]) -> Coordinates:
        """Return a family's values by the whole names of its axes."""
        return {f"{self.name}{name}": value for name, value in values.items()}


class Several(tuple[str, ...]):
    """What a test has several of at once, its tags: it is matched where one of them is."""

    __slots__ = ()


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _grid(prefix: str, grids: object) -> Iterator[tuple[str, Any]]:
    for grid in grids if isinstance(grids, list) else [grids]:
        for name, entry in _mapping(grid).items():
            yield from product((f"{prefix}{name}",), axis_values(entry))


def _parts(data: Mapping[str, Any], key: str) -> Iterator[Mapping[str, Any]]:
    return map(_mapping, _mapping(data.get(key)).values())


def _names(axis: str, key: str, default: str) -> Callable[[Mapping[str, Any]], Pairs]:
    return lambda data: product((axis,), _mapping(data.get(key)) or (default,))


def _binaries(data: Mapping[str, Any]) -> Pairs:
    for backend in _parts(data, "backends"):
        yield from product(("binary",), _mapping(backend.get("binary")))


def _options(data: Mapping[str, Any]) -> Pairs:
    for key in ("backends", "models"):
        for part in _parts(data, key):
            yield from _grid(OPTIONS, part.get("options"))


def _model_axes(data: Mapping[str, Any]) -> Pairs:
    for model in _parts(data, "models"):
        yield from _grid(MODEL_AXES, model.get("axes"))


def _sampling(data: Mapping[str, Any]) -> Pairs:
    return _grid("", data.get("sampling"))


OPTIONS = "options."
MODEL_AXES = "model."
REQUEST = "request."
PARAMETERS = "parameters."
TEST = "test"
SUITE = "suite"
TAG = "tag"
BUILD = "build"

AXES: tuple[Axis, ...] = (
    Axis(
        name="backend",
        level=Level.LAUNCH,
        description="Names of backends.",
        bare=True,
        outer=True,
        sets_build=True,
        always=True,
        of_file=lambda data: product(("backend",), _mapping(data.get("backends"))),
    ),
    Axis(
        name="binary",
        level=Level.LAUNCH,
        description="Labels of a backend's builds.",
        bare=True,
        outer=True,
        sets_build=True,
        of_file=_binaries,
    ),
    Axis(
        name="model",
        level=Level.LAUNCH,
        description="Names of models.",
        bare=True,
        side=Side.ROW,
        leads=True,
        always=True,
        of_file=_names("model", "models", "default"),
    ),
    Axis(name=MODEL_AXES, level=Level.LAUNCH, side=Side.ROW, of_file=_model_axes),
    Axis(
        name="chat_template",
        level=Level.LAUNCH,
        description="Names of chat templates.",
        bare=True,
        outer=True,
        always=True,
        of_file=_names("chat_template", "chat_templates", "native"),
    ),
    Axis(name=OPTIONS, level=Level.LAUNCH, server_decides=True, of_file=_options),
    *(
        Axis(
            name=field,
            level=Level.REQUEST,
            server_decides=True,
            side=Side.Y if field == "temperature" else Side.COLUMN,
            leads=field == "temperature",
            of_file=_sampling,
        )
        for field in SAMPLING_FIELDS
    ),
    Axis(
        name=REQUEST,
        level=Level.REQUEST,
        server_decides=True,
        of_file=lambda data: _grid(REQUEST, data.get("request")),
    ),
    Axis(
        name=TEST,
        level=Level.TEST,
        description="Names of tests.",
        bare=True,
        side=Side.X,
        leads=True,
        always=True,
        of_test=lambda test: ((TEST, test.name),),
    ),
    Axis(
        name=PARAMETERS,
        level=Level.TEST,
        side=Side.X,
        of_test=lambda test: (
            (f"{PARAMETERS}{name}", value) for name, value in test.parameters.items()
        ),
    ),
    # These two name tests, and are no axes: a test may have several tags, and come from no suite.
    Axis(
        name=SUITE,
        level=Level.TEST,
        description="Names of suites, as they call themselves.",
        always=True,
        charted=False,
        of_test=lambda test: ((SUITE, test.suite),) if test.suite else (),
    ),
    Axis(
        name=TAG,
        level=Level.TEST,
        description="Tags: the tests that have any of them.",
        always=True,
        charted=False,
        of_test=lambda test: ((TAG, Several(test.tags)),) if test.tags else (),
    ),
    # What ran is known afterwards, so that no cell can be chosen by it.
    Axis(name=BUILD, level=Level.LAUNCH, bare=True, selects=False),
)
"""Every axis, in the order in which a cell's coordinates name them."""


@lru_cache(maxsize=4096)
def axis_of(name: str) -> Axis:
    """Return the row of an axis by its whole name; an unknown one is taken for a request field."""
    family = f"{name.partition('.')[0]}." if "." in name else name
    found = next((axis for axis in AXES if axis.name in {name, family}), None)
    return found or Axis(name=name, level=Level.REQUEST, server_decides=True)


def level_of(name: str) -> Level:
    """Return the part of a cell that an axis belongs to."""
    return axis_of(name).level


def axes_that(are: Callable[[Axis], bool]) -> list[str]:
    """Return the names of the rows of which something is true."""
    return [axis.name for axis in AXES if are(axis)]


def handles() -> list[str]:
    """Return what tests may be named by besides their name and their parameters."""
    return axes_that(lambda axis: axis.selects and not axis.charted)


def only_charted() -> list[str]:
    """Return what a chart may be split by besides the axes of the matrix."""
    return axes_that(lambda axis: axis.charted and not axis.selects)


def coordinates_of_test(test: Tested) -> Coordinates:
    """Return the axes of the test level."""
    return dict(pair for axis in AXES if axis.is_coordinate for pair in axis.of_test(test))


def handles_of_test(test: Tested) -> Coordinates:
    """Return all that a test may be chosen by: the axes of its level, its suite and its tags."""
    return dict(pair for axis in AXES if axis.selects for pair in axis.of_test(test))


def given_values(data: Mapping[str, Any], tests: Sequence[Tested]) -> Iterator[tuple[str, Any]]:
    """Yield each axis with each of its values, in the order of `AXES`, then in the file's.

    Args:
        data: The experiment file as plain data, in which types may be wrong.
        tests: The tests, those of suites too, parameters filled in.
    """
    for of_file in dict.fromkeys(axis.of_file for axis in AXES):  # sampling fields share theirs
        yield from of_file(data)
    for axis in (axis for axis in AXES if axis.level is Level.TEST):
        for test in tests:
            for name, value in axis.of_test(test):
                yield from product((name,), value if isinstance(value, Several) else (value,))


def values_of_axis(found: Iterable[Coordinates]) -> dict[str, tuple[Any, ...]]:
    """Return axis → its distinct values in order of appearance."""
    values: dict[str, dict[str, Any]] = {}
    for coordinates in found:
        for axis, value in coordinates.items():
            values.setdefault(axis, {}).setdefault(canonical_json(value), value)
    return {axis: tuple(distinct.values()) for axis, distinct in values.items()}


def varies(values: Iterable[object]) -> bool:
    """Return whether the values that some cells have of an axis differ as people read them."""
    texts = map(label, values)
    first = next(texts, None)
    return any(text != first for text in texts)


def varying_axes(points: Iterable[Mapping[str, Any]]) -> list[str]:
    """Return the axes in which some points differ, in order of appearance.

    An axis that a point does not have is null there.
    """
    several = list(points)
    axes = dict.fromkeys(axis for point in several for axis in point)
    return [axis for axis in axes if varies(point.get(axis) for point in several)]


def label(value: object) -> str:
    """Return an axis value as people read it: text bare, null as `null`, the rest as JSON."""
    match value:
        case str():
            return value
        case float() if value != value:  # noqa: PLR0124  what pandas makes of null
            return "null"
        case None | bool() | int() | float():
            return _scalar(value)
        case {"file": str(text)} if is_file_mark(value):
            return text
        case _:
            return canonical_json(value)  # type: ignore[arg-type]  # values come from YAML


@lru_cache(maxsize=4096, typed=True)
def _scalar(value: float | None) -> str:
    """Return a number, a boolean or null as JSON; a matrix asks for few of them very often."""
    return canonical_json(value)


def cell_name(coordinates: Mapping[str, Any], axes: Iterable[str] | None = None) -> str:
    """Return what a cell, or a launch, is called: its values, behind their axes where it needs be.

    `native` speaks for itself, 0.7 does not: `native · temperature=0.7`.

    Args:
        coordinates: Axis → value, or the text that stands for the value.
        axes: The axes that tell it apart; default: all that it has.
    """
    return " · ".join(
        label(coordinates[axis])
        if axis_of(axis).bare
        else f"{axis.split('.', 1)[-1]}={label(coordinates[axis])}"
        for axis in (coordinates if axes is None else axes)
        if axis in coordinates
    )


_FORMERLY = {"True": "true", "False": "false", "None": "null"}


def name_as_now(stored: str) -> str:
    """Return a launch's name as it is written now; older versions stored `cont-batching=True`."""
    parts = (part.rpartition("=") for part in stored.split(" · "))
    return " · ".join(
        f"{axis}{sign}{_FORMERLY.get(value, value) if sign else value}"
        for axis, sign, value in parts
    )


def same(left: object, right: object) -> bool:
    """Return whether two values are one: 1 is 1.0, but true is not 1."""
    return isinstance(left, bool) is isinstance(right, bool) and bool(left == right)


def is_glob(pattern: object) -> bool:
    """Return whether a named value is a glob."""
    return isinstance(pattern, str) and any(sign in pattern for sign in "*?[")


def fits(pattern: str, name: str) -> bool:
    """Return whether a name is the one that is named, or matches the glob."""
    return pattern == name or (is_glob(pattern) and fnmatchcase(name, pattern))


def any_fits(patterns: Iterable[str], name: str) -> bool:
    """Return whether a name fits any of some patterns."""
    return any(fits(pattern, name) for pattern in patterns)


def means(pattern: Any, value: object) -> bool:
    """Return whether an axis value is what a single named value means."""
    return fits(pattern, label(value)) if isinstance(pattern, str) else same(pattern, value)


def matches(pattern: Any, value: object) -> bool:
    """Return whether a value is what an `exclude` entry or a user names.

    A list means any of its items; `{value: X}` means X itself, also where X is a list; text may be
    a glob and is compared with the value's label. Of several values at once, one must match.
    """
    if isinstance(value, Several):
        return any(matches(pattern, item) for item in value)
    match pattern:
        case {"value": literal} if len(pattern) == 1:
            return same(literal, value)
        case list() | tuple():
            return any(matches(item, value) for item in pattern)
        case _:
            return means(pattern, value)
