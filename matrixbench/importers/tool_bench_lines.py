"""What llama.cpp's `scripts/tool_bench.py run` writes, line by line.

One JSON object a line stands for one (server, model, temperature, test): how often it passed and
failed, how long each repeat took, and the different failures' texts. There is no reply in it.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

from matrixbench.checks.excerpt import one_line
from matrixbench.errors import UsageError
from matrixbench.identity import IDENTITY_VERSION, digest
from matrixbench.records import Kind
from matrixbench.safe_files import open_input
from matrixbench.store.encoding import plain

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from matrixbench.plan.cells import Coordinates
    from matrixbench.records import JsonObject

KIND = "imported"
"""The kind of build that imported trials have."""

MAX_REPEATS = 100_000
"""A line that claims more is not believed."""

_TESTS = {"hello world": "hello-world", "weather": "weather", "calc result": "calc-result"}
"""Its tests, and what the suite `tool-calling` calls the same ones."""

_BACK = {ours: their for their, ours in _TESTS.items()}

_AXES = {
    "top_p": "top_p",
    "top_k": "top_k",
    "ctk": "options.cache-type-k",
    "ctv": "options.cache-type-v",
}
"""Its field → our axis, for what is an axis only where it is given."""

_LARGEST = 1e300


@dataclass(frozen=True, slots=True, kw_only=True)
class BadLine:
    """A line that was not imported: its number, from 1, and why."""

    number: int
    problem: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One line that can be used: what it says, its digest, and its two counts."""

    record: JsonObject
    source: str
    passed: int
    failed: int

    @property
    def server(self) -> str:
        """The server's name."""
        return str(self.record["server_name"])

    def launch_coordinates(self) -> Coordinates:
        """Return the axes of the server's level."""
        record = self.record
        return {
            "backend": self.server,
            "model": str(record["model"]),
            "chat_template": _template(record),
            **{
                axis: record[field]
                for field, axis in _AXES.items()
                if axis.startswith("options.") and record.get(field) is not None
            },
        }

    def point(self) -> Coordinates:
        """Return the axes of the request's level."""
        record = self.record
        return {
            "temperature": record["temp"],
            **{
                axis: record[field]
                for field, axis in _AXES.items()
                if not axis.startswith("options.") and record.get(field) is not None
            },
        }

    def test(self) -> Coordinates:
        """Return the axes of the test's level."""
        test = str(self.record["test"])
        return {"test": _TESTS.get(test, test)}

    def launch_digest(self) -> str:
        """Return what stands for the server and its model."""
        return digest(
            {
                "version": IDENTITY_VERSION,
                "kind": KIND,
                "coordinates": self.launch_coordinates(),
                "model_id": self.record.get("model_id"),
            }
        )

    def cell(self) -> str:
        """Return the cell's id: the same line gives the same one in every store."""
        return digest({"launch": self.launch_digest(), "point": self.point(), "test": self.test()})


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolBenchFile:
    """What was read of a file.

    Args:
        path: The file.
        written_at: When it was written last, in Unix seconds.
        lines: The lines that can be used, each once.
        bad: The others.
    """

    path: Path
    written_at: float
    lines: tuple[Line, ...]
    bad: tuple[BadLine, ...]


def read_tool_bench(path: Path) -> ToolBenchFile:
    """Read what `tool_bench.py run` wrote; several such files one after another are fine.

    Raises:
        UsageError: The file cannot be read, or no line of it can be used.
    """
    try:
        with open_input(path) as file:
            text = file.read().decode(errors="replace")
        written_at = path.stat().st_mtime
    except OSError as error:
        raise UsageError(f"the file cannot be read: {error.strerror}", where=str(path)) from error
    lines: dict[str, Line] = {}
    bad: list[BadLine] = []
    for number, content in enumerate(text.split("\n"), 1):
        if not content.strip():
            continue
        try:
            line = _line(content)
        except ValueError as error:
            bad.append(BadLine(number=number, problem=str(error)))
        else:
            # The same line twice, times and all, is the same measurement.
            lines.setdefault(line.source, line)
    if not lines:
        raise _nothing(path, bad)
    return ToolBenchFile(
        path=path, written_at=written_at, lines=tuple(lines.values()), bad=tuple(bad)
    )


def theirs(test: str) -> str:
    """Return what tool_bench.py calls a test of ours: one of its own has its name."""
    return _BACK.get(test, test)


def _nothing(path: Path, bad: Sequence[BadLine]) -> UsageError:
    first = f"; line {bad[0].number}: {bad[0].problem}" if bad else ": it is empty"
    return UsageError(
        f"no line can be imported{first}",
        where=str(path),
        hint="expected is what llama.cpp's `tool_bench.py run --output FILE` writes",
    )


def _line(content: str) -> Line:
    """Return a line that can be used.

    Raises:
        ValueError: It cannot; the message says why.
    """
    try:
        record = json.loads(content)
    except (ValueError, RecursionError):
        raise ValueError(_no_json(content)) from None
    if not isinstance(record, dict):
        raise ValueError("it is JSON, but no object")  # noqa: TRY004  one error for a bad line
    for field in ("model", "server_name", "test"):
        _demand_text(record, field)
    if "temp" not in record or not (record["temp"] is None or _is_number(record["temp"])):
        raise ValueError(_missing(record, "temp", "a number or null"))
    counts = [_count(record, field) for field in ("success_count", "failure_count")]
    if not 0 < sum(counts) <= MAX_REPEATS:
        raise ValueError(f"it tells of {sum(counts):,} repeats")
    for field in _AXES:
        value = record.get(field)
        if not (value is None or isinstance(value, str) or _is_number(value)):
            raise ValueError(_missing(record, field, "a number, a text or null"))
    source = digest(json.dumps(record, sort_keys=True))
    record = {
        field: plain(value) if isinstance(value, str) else value for field, value in record.items()
    }
    return Line(record=record, source=source, passed=counts[0], failed=counts[1])


def _no_json(content: str) -> str:
    cut = content.lstrip().startswith("{") and not content.rstrip().endswith("}")
    return "it is cut off" if cut else "it is no JSON"


def _demand_text(record: JsonObject, field: str) -> None:
    if not isinstance(record.get(field), str):
        raise ValueError(_missing(record, field, "a text"))  # noqa: TRY004  one error for a bad line


def _missing(record: JsonObject, field: str, expected: str) -> str:
    if field not in record:
        return f"the field «{field}» is missing"
    return f"the field «{field}» is not {expected}"


def _count(record: JsonObject, field: str) -> int:
    value = record.get(field)
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise ValueError(_missing(record, field, "a count"))
    return value


def _is_number(value: object) -> bool:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return False
    return -_LARGEST < value < _LARGEST  # false for NaN too, and no overflow for a huge integer


def _template(record: JsonObject) -> str:
    file, text = record.get("chat_template_file"), record.get("chat_template")
    if isinstance(file, str):
        return PurePosixPath(file).stem
    return one_line(text, 40) if isinstance(text, str) else "native"


def times_of(record: JsonObject, field: str, count: int) -> list[float | None]:
    """Return as many times as there are repeats, in seconds; None where none was recorded."""
    listed = record.get(field)
    known = listed if isinstance(listed, list) else []
    # In a list of another length nobody knows which is whose.
    usable = len(known) == count
    return [_time(known[place]) if usable else None for place in range(count)]


def _time(value: Any) -> float | None:  # noqa: ANN401  JSON from outside
    return float(value) if _is_number(value) and value >= 0 else None


def reasons_of(line: Line) -> list[str]:
    """Return a reason for each failure: the file has the different ones, not which is whose."""
    listed = line.record.get("failures")
    texts = [text for text in listed if isinstance(text, str)] if isinstance(listed, list) else []
    if len(texts) == 1:
        return texts * line.failed
    rest = f"one of {len(texts)} recorded failures" if texts else ""
    return [*texts, *[rest] * line.failed][: line.failed]


def kind_of(reason: str) -> Kind | None:
    """Return the kind that a failure's text tells, or None: its words are those of the tests."""
    if reason.startswith("Expected 1 tool call in"):
        called = "'tool_calls': [{" in reason
        return Kind.WRONG_CALL_COUNT if called else Kind.NO_TOOL_CALL
    if reason.startswith("Expected something like"):
        return Kind.WRONG_CONTENT
    return None
