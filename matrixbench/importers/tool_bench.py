"""What llama.cpp's `scripts/tool_bench.py run` wrote, as trials of an experiment."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

from matrixbench.checks.verdicts import one_line
from matrixbench.errors import UsageError
from matrixbench.identity import IDENTITY_VERSION, digest
from matrixbench.plan.matrix import is_greedy
from matrixbench.records import Build, Kind, Outcome
from matrixbench.safe_files import open_input
from matrixbench.store.encoding import plain
from matrixbench.store.experiments import ExperimentRecord, RecordedCell, RecordedLaunch
from matrixbench.store.rows import LaunchRecord
from matrixbench.store.writer import ImportedLaunch, ImportedTrial, write_imported

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from matrixbench.records import JsonObject
    from matrixbench.spec.axes import Coordinates
    from matrixbench.store.database import Store

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


def _time(value: Any) -> float | None:
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


_REASON_CHARS = 400


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportSummary:
    """What an import did.

    Args:
        lines: Lines that were read.
        cells: Cells that they tell of.
        trials: Trials that are new in the store.
        known: Trials that had been imported before.
    """

    experiment: str
    lines: int
    cells: int
    trials: int
    known: int


def import_tool_bench(file: ToolBenchFile, store: Store, name: str) -> ImportSummary:
    """Make a file's runs trials of an experiment; what was imported before is not again.

    A repeat's number stands for its seed, which the file does not tell.

    Raises:
        StoreError: The store cannot be written; then nothing was imported.
    """
    fresh, counts = _fresh(file.lines, store, name)
    launches = [
        ImportedLaunch(
            record=_launch_record(group[0][0], name, file),
            trials=[trial for line, first in group for trial in _trials(line, first)],
        )
        for group in _by_launch(fresh)
    ]
    write_imported(store.path, _experiment(name, file.lines, counts), launches)
    new = sum(len(launch.trials) for launch in launches)
    return ImportSummary(
        experiment=name,
        lines=len(file.lines),
        cells=len({line.cell() for line in file.lines}),
        trials=new,
        known=sum(line.passed + line.failed for line in file.lines) - new,
    )


def _fresh(
    lines: Sequence[Line], store: Store, name: str
) -> tuple[list[tuple[Line, int]], Counter[str]]:
    """Return the lines that are new with the number of their first repeat, and counts by cell."""
    cells = {line.cell() for line in lines}
    sources: set[str] = set()
    counts: Counter[str] = Counter()
    for row in store.trials(name, first_seed=0, cells=cells):
        sources.add(row.request)
        counts[row.cell] = max(counts[row.cell], row.seed + 1)
    fresh = []
    for line in lines:
        if line.source not in sources:
            cell = line.cell()
            fresh.append((line, counts[cell]))
            counts[cell] += line.passed + line.failed
    return fresh, counts


def _by_launch(lines: Iterable[tuple[Line, int]]) -> list[list[tuple[Line, int]]]:
    groups: dict[str, list[tuple[Line, int]]] = {}
    for line, first in lines:
        groups.setdefault(line.launch_digest(), []).append((line, first))
    return list(groups.values())


def _build(line: Line) -> Build:
    server = f"tool_bench.py: {line.server}"
    model = line.record.get("model_id")
    model = model if isinstance(model, str) else ""
    return Build(
        id=digest({"kind": KIND, "server": server, "model": model, "device": ""}),
        kind=KIND,
        server=server,
        model=model,
    )


def _launch_record(line: Line, name: str, file: ToolBenchFile) -> LaunchRecord:
    kept = {
        field: line.record.get(field)
        for field in ("model_id", "chat_template", "chat_template_file", "ctk", "ctv", "seed")
    }
    return LaunchRecord(
        experiment=name,
        digest=line.launch_digest(),
        name=_launch_name(line.launch_coordinates()),
        build=_build(line),
        started_at=file.written_at,
        request_timeout_s=0.0,
        effective={"file": file.path.name, **{k: v for k, v in kept.items() if v is not None}},
        imported=True,
    )


def _launch_name(coordinates: Coordinates) -> str:
    return " · ".join(str(value) for value in coordinates.values())


def _experiment(name: str, lines: Sequence[Line], counts: Counter[str]) -> ExperimentRecord:
    launches: dict[str, RecordedLaunch] = {}
    points: list[Coordinates] = []
    tests: list[Coordinates] = []
    cells: dict[str, RecordedCell] = {}
    for line in lines:
        coordinates = line.launch_coordinates()
        launches.setdefault(
            line.launch_digest(),
            RecordedLaunch(
                name=_launch_name(coordinates),
                digest=line.launch_digest(),
                coordinates=coordinates,
                build=_build(line).id,
                imported=True,
            ),
        )
        cells[line.cell()] = RecordedCell(
            launch=list(launches).index(line.launch_digest()),
            request=_place(points, line.point()),
            test=_place(tests, line.test()),
            cell=line.cell(),
            first_seed=0,
            planned=counts[line.cell()],
            greedy=is_greedy(line.point()),
        )
    return ExperimentRecord(
        name=name,
        launches=list(launches.values()),
        requests=points,
        tests=tests,
        cells=list(cells.values()),
    )


def _place(listed: list[Coordinates], coordinates: Coordinates) -> int:
    if coordinates not in listed:
        listed.append(coordinates)
    return listed.index(coordinates)


def _trials(line: Line, first: int) -> Iterator[ImportedTrial]:
    passed = ImportedTrial(cell=line.cell(), number=0, source=line.source, outcome=Outcome.PASSED)
    failed = replace(passed, outcome=Outcome.FAILED)
    number = first
    for latency_s in times_of(line.record, "success_times", line.passed):
        yield replace(passed, number=number, latency_s=latency_s)
        number += 1
    reasons = reasons_of(line)
    for latency_s, reason in zip(
        times_of(line.record, "failure_times", line.failed), reasons, strict=True
    ):
        yield replace(
            failed,
            number=number,
            latency_s=latency_s,
            reason=one_line(reason, _REASON_CHARS),
            kind=kind_of(reason),
        )
        number += 1
