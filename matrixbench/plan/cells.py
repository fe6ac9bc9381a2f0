"""The plan's values: launches, cells, and what is known of their trials."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any, TypeAlias

from matrixbench.plan.loads import Load
from matrixbench.plan.values import label
from matrixbench.safe_text import for_line
from matrixbench.spec.grid import is_file_mark
from matrixbench.spec.reasoning import marks_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from matrixbench.plan.origin import Origin
    from matrixbench.records import Build, JsonObject
    from matrixbench.spec.backends import Backend
    from matrixbench.spec.load import Template, TestCase
    from matrixbench.spec.models import Model

Coordinates: TypeAlias = dict[str, Any]
"""Axis → value. The axes are called as in docs/experiment-file.md: `backend`, `binary`,
`options.NAME`, `model`, `model.NAME`, `chat_template`, sampling fields by their own names,
`request.NAME`, `test`, `parameters.NAME`. An axis that a cell does not have is missing; a null
sampling field is None."""


class Why(StrEnum):
    """Why trials of a cell will run."""

    NEW = "new"
    MORE_TRIALS = "more trials wanted"
    SERVER_CHANGED = "server changed"
    MODEL_CHANGED = "model changed"
    FILES_CHANGED = "files of options changed"
    FILES_UNKNOWN = "files of options were not recorded"
    ERRORED = "errored before"
    TIMEOUT_RAISED = "timeout raised"
    FRESH = "fresh start"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Launch:
    """One server configuration: what all cells that can share a running server have in common.

    Args:
        digest: What decides the answer at this level; the first part of its cells' ids.
        backend: The backend's name in the file.
        spec: The backend's part of the file.
        binary: The executable that the binary axis chose; None where there is no such axis.
        options: Server options, flag → value.
        model: The model's name in the file.
        source: The model's part of the file, its axes filled in.
        template: The chat template.
        coordinates: The axes of this level.
        load: What its server is sent at a time; no part of the digest.
    """

    digest: str
    backend: str
    spec: Backend
    binary: str | None = None
    options: JsonObject = field(default_factory=dict)
    model: str
    source: Model
    template: Template
    coordinates: Coordinates
    load: Load = field(default_factory=Load)

    @property
    def reasoning_marks(self) -> tuple[str, ...]:
        """Marks of reasoning that are taken out of the content before checks see a reply."""
        return marks_of(self.source.reasoning_in_content, self.spec.reasoning_in_content)

    @property
    def name(self) -> str:
        """A short name for people: the values of its axes."""
        return " · ".join(
            for_line(str(value))
            if axis in {"backend", "binary", "model", "chat_template"}
            else for_line(f"{axis.split('.', 1)[-1]}={_written(value)}")
            for axis, value in self.coordinates.items()
        )


def _written(value: object) -> object:
    """Return a value as a launch's name holds it: of a file its path, as the file says it."""
    return label(value) if is_file_mark(value) else value


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class RequestPoint:
    """One choice of sampling and request fields: its coordinates, and the fields that are sent."""

    coordinates: Coordinates
    fields: JsonObject


@dataclass(slots=True, eq=False)
class Cell:
    """One point of the matrix. Small, for there may be a million."""

    id: str
    launch: Launch
    point: RequestPoint
    test: TestCase

    def coordinates(self) -> Coordinates:
        """Return axis → value."""
        test = self.test
        return {
            **self.launch.coordinates,
            **self.point.coordinates,
            "test": test.name,
            **{f"parameters.{name}": value for name, value in test.parameters.items()},
        }


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class NotApplicable:
    """A point of the matrix that cannot be measured as asked: why, and the way out."""

    coordinates: Coordinates
    reason: str
    hint: str


@dataclass(frozen=True, slots=True)
class Judged:
    """What one set of checks makes of a cell's trials; bit i of a mask stands for trial i.

    Args:
        measured: Trials that count: kept ones, less those at which a check raised.
        passed: Those of them that passed.
    """

    measured: int = 0
    passed: int = 0

    @property
    def n(self) -> int:
        """How many trials count."""
        return self.measured.bit_count()

    @property
    def passes(self) -> int:
        """How many of them passed."""
        return self.passed.bit_count()

    def then(self, other: Judged) -> Judged:
        """Return both, where of a trial that both have this one's counts."""
        return Judged(
            measured=self.measured | other.measured,
            passed=self.passed | (other.passed & ~self.measured),
        )


@dataclass(frozen=True, slots=True)
class CellProgress:
    """What the store knows of one cell under one build; bit i of a mask stands for trial i.

    Args:
        kept: Trials that are measured and count.
        errored: Trials whose newest attempt measured nothing.
        short: Trials that timed out under a shorter limit than the present one.
        stands: One trial stands for the whole cell: the request alone decided it.
        judged: What the present checks make of the kept ones, one entry for each set of checks
            (tests that differ in their checks alone share their trials); empty where nobody asked.
    """

    kept: int = 0
    errored: int = 0
    short: int = 0
    stands: bool = False
    judged: tuple[Judged, ...] = ()


NOTHING = CellProgress()
"""What is known of a cell that never ran."""


Progress: TypeAlias = "Mapping[str, Mapping[str, CellProgress]]"
"""Build id → cell id → what is known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PresentBuild:
    """The build that a launch has now, or had last.

    Args:
        build: The build, or None where nothing is known.
        verified: Whether it is no guess: it was read off what is there now, or trials of the same
            origin recorded it.
        recorded: It is the latter, so that only asking the server can tell what it is by now.
        note: Why it could not be verified.
        last: The build that ran last; None where nothing has run.
        origin: Where the server comes from; None where nobody looked.
    """

    build: Build | None
    verified: bool
    recorded: bool = False
    note: str = ""
    last: Build | None = None
    origin: Origin | None = None

    @property
    def read(self) -> bool:
        """Whether it was read off what is there now."""
        return self.verified and not self.recorded
