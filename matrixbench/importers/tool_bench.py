"""What llama.cpp's `scripts/tool_bench.py run` wrote, as trials of an experiment."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from matrixbench.checks.excerpt import one_line
from matrixbench.identity import digest
from matrixbench.importers.tool_bench_lines import KIND, kind_of, reasons_of, times_of
from matrixbench.plan.requests import is_greedy
from matrixbench.records import Build, Outcome
from matrixbench.store.experiments import ExperimentRecord, RecordedCell, RecordedLaunch
from matrixbench.store.importing import ImportedLaunch, ImportedTrial, write_imported
from matrixbench.store.rows import LaunchRecord

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from matrixbench.importers.tool_bench_lines import Line, ToolBenchFile
    from matrixbench.plan.cells import Coordinates
    from matrixbench.store.database import Store

_REASON_CHARS = 400


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportSummary:
    """What an import did.

    Args:
        experiment: The experiment's name in the store.
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

    Args:
        file: What was read.
        store: Where to.
        name: The experiment's name in the store.

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
