"""Results as rows for other programs: one a cell or one a trial, or what tool_bench.py plots."""

from __future__ import annotations

import csv
import json
from enum import StrEnum
from math import isfinite
from statistics import mean, median
from typing import TYPE_CHECKING, Any

from matrixbench.errors import UsageError
from matrixbench.importers.tool_bench import theirs
from matrixbench.output.transcript import transcript_json
from matrixbench.records import Outcome
from matrixbench.results.tables import (
    COLUMNS,
    DEFAULT_K,
    TRIAL_COLUMNS,
    frame_of,
    pass_columns,
    with_pass_k,
)
from matrixbench.results.tally import IntervalKind, group_of, most_at_a_time, own_group
from matrixbench.safe_files import replaced
from matrixbench.safe_text import for_csv, for_json
from matrixbench.spec.axes import MODEL_AXES, Level, cell_name, label, level_of, varying_axes

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from matrixbench.records import JsonObject
    from matrixbench.results.experiment import Results
    from matrixbench.results.tally import Group, ResultCell
    from matrixbench.spec.axes import Coordinates
    from matrixbench.store.rows import TrialRow


class ExportFormat(StrEnum):
    """What rows are written as."""

    JSONL = "jsonl"
    CSV = "csv"
    TOOL_BENCH = "tool-bench"
    JUNIT = "junit"
    MARKDOWN = "markdown"


GATES = {ExportFormat.JUNIT, ExportFormat.MARKDOWN}
"""Formats that are no rows: the gate's verdict, and what a pull request is told."""

_SUFFIXES = {
    ".jsonl": ExportFormat.JSONL,
    ".ndjson": ExportFormat.JSONL,
    ".csv": ExportFormat.CSV,
    ".xml": ExportFormat.JUNIT,
    ".md": ExportFormat.MARKDOWN,
}

TEXT_COLUMNS: Mapping[str, str] = {
    "request": "What was sent, but for model and seed; missing where it was not kept.",
    "content": "The reply's text; missing where it has none, and where no reply came.",
    "reasoning": "Its reasoning.",
    "tool_calls": "Its calls: `name`, `arguments` as the model wrote them, `id`.",
    "earlier": "The turns of a conversation before it, each with what was sent after it in `then`.",
    "turn_limit": "Whether the conversation was stopped at `max_turns`.",
    "attempts": "Answers that are kept beside the replies: `kind`, `reason`, `body` as it came.",
    "verdicts": "What each check said: `check`, `passed`, `kind`, `reason`, `score`.",
    "notes": "What was noticed of the reply whatever its checks say.",
}
"""What stands in the columns that `--replies` adds to a trial's."""

_TOOL_BENCH_AXES = {"backend", "model", "temperature", "test"}


def format_for(name: str | None, output: Path | None) -> ExportFormat:
    """Return the format that is named, else that of the file's suffix, else JSON lines.

    Raises:
        UsageError: There is no such format, or the suffix says none.
    """
    known = ", ".join(ExportFormat)
    if name is not None:
        try:
            return ExportFormat(name)
        except ValueError:
            raise UsageError(f"there is no format «{name}»", hint=f"formats are {known}") from None
    if output is None:
        return ExportFormat.JSONL
    if output.suffix in _SUFFIXES:
        return _SUFFIXES[output.suffix]
    raise UsageError(
        f"the suffix of «{output}» says no format", hint=f"name one with --format: {known}"
    )


def exported(
    results: Results,
    form: ExportFormat,
    *,
    trials: bool = False,
    replies: bool = False,
    ks: Sequence[int] = DEFAULT_K,
    interval: IntervalKind = IntervalKind.WILSON,
) -> Iterator[str]:
    """Yield the lines of an export, each with its line end.

    Columns are the axes, then those of `tables.COLUMNS` and `tables.pass_columns` of each k or,
    with `trials`, `tables.TRIAL_COLUMNS`. A value that is missing is null in JSON and empty in
    CSV; it is never NaN.

    Args:
        replies: One row a trial, with all texts: what was sent, said and judged.

    Raises:
        UsageError: The format has no rows for trials.
        StoreError: The store cannot be read.
    """
    if form is ExportFormat.TOOL_BENCH:
        if trials or replies:
            raise UsageError("the format tool-bench has one line a cell, not one a trial")
        yield from _json_lines(tool_bench_rows(results))
        return
    if trials or replies:
        rows = trial_rows(results, replies=replies)
        names = [*TRIAL_COLUMNS, *(TEXT_COLUMNS if replies else ())]
    else:
        rows = cell_rows(results, ks, interval)
        names = cell_columns(ks)
    if form is ExportFormat.JSONL:
        yield from _json_lines(rows)
    else:
        columns = [*results.axes, *names]
        yield from _csv_lines(columns, rows)


def write_export(lines: Iterable[str], output: Path) -> None:
    """Write an export to a file: whole, or not at all.

    Raises:
        UsageError: The file cannot be written.
    """
    try:
        with replaced(output) as file:
            file.writelines(line.encode(errors="replace") for line in lines)
    except OSError as error:
        raise UsageError(
            f"the export cannot be written: {error.strerror}",
            where=str(output),
            hint="name another file with -o",
        ) from error


def cell_columns(ks: Sequence[int]) -> list[str]:
    """Return the names of a cell's columns after its axes."""
    return [*COLUMNS, *(name for k in dict.fromkeys(ks) for name in pass_columns(k))]


def cell_rows(
    results: Results,
    ks: Sequence[int] = DEFAULT_K,
    interval: IntervalKind = IntervalKind.WILSON,
) -> Iterator[JsonObject]:
    """Yield one row a cell."""
    frame = with_pass_k(frame_of(results, interval=interval), ks)
    names = [*results.axes, *cell_columns(ks)]
    for record in frame.to_dict("records"):
        yield {name: _plain(record.get(name)) for name in names}


def trial_rows(results: Results, *, replies: bool = False) -> Iterator[JsonObject]:
    """Yield one row a trial, in the order in which they were stored; with its texts if asked."""
    for cell, row in results.rows():
        coordinates = cell.coordinates
        axes = {axis: _plain(coordinates.get(axis)) for axis in results.axes}
        texts: JsonObject = {}
        if replies:
            transcript = results.opened_store.transcript(row.id, checks=cell.checks)
            texts = {"request": transcript.body, **transcript_json(transcript)}
        yield {**axes, **trial_record(cell, row), **texts}


def trial_record(cell: ResultCell, row: TrialRow) -> JsonObject:
    """Return what `tables.TRIAL_COLUMNS` names of a trial of a cell; an empty text is missing."""
    doubt = cell.unverified
    return {
        name: _plain(doubt if name == "unverified" else getattr(row, name))
        for name in TRIAL_COLUMNS
    }


def tool_bench_rows(results: Results) -> Iterator[JsonObject]:
    """Yield what llama.cpp's `tool_bench.py plot` reads: one row a cell that has a trial.

    There a square is a (model, temperature, server, test). Other axes that vary are put into the
    names: those of a model into the model's, the rest into the server's, so that no two cells
    meet in one square. So is that a server's build is unverified. Rejected trials are failures
    there, errored ones are left out, and so are the times of trials that ran under another load.
    """
    rows: dict[ResultCell, list[TrialRow]] = {}
    for cell, row in results.rows():
        if row.outcome is not Outcome.ERRORED:
            rows.setdefault(cell, []).append(row)
    measured = [cell for cell in results.cells if cell in rows]
    naming = _Naming([cell.coordinates for cell in measured])
    groups = {cell: set(map(group_of, rows[cell])) for cell in measured}
    most = most_at_a_time(groups.items())
    for cell in measured:
        own = own_group(groups[cell], cell, most.get((cell.launch, cell.build)))
        yield _tool_bench_row(cell, rows[cell], naming, own)


class _Naming:
    """How cells are called where there are four axes only."""

    def __init__(self, points: Sequence[Coordinates]) -> None:
        # A test's parameters are told by its name.
        extra = [
            axis
            for axis in varying_axes(points)
            if axis not in _TOOL_BENCH_AXES and level_of(axis) is not Level.TEST
        ]
        self._model = ["model", *(axis for axis in extra if axis.startswith(MODEL_AXES))]
        self._server = ["backend", *(axis for axis in extra if not axis.startswith(MODEL_AXES))]

    def model(self, coordinates: Coordinates) -> str | None:
        if len(self._model) == 1 and coordinates.get("model") is None:
            return None  # as tool_bench.py itself has it where no name was given
        # As a model's file is named: `qwen3 Q8_0`.
        return " ".join(label(value) for _, value in _given(coordinates, self._model))

    def server(self, coordinates: Coordinates) -> str:
        return cell_name(dict(_given(coordinates, self._server)))


def _given(coordinates: Coordinates, axes: Sequence[str]) -> Iterator[tuple[str, Any]]:
    """Yield the axes that a cell has with their values; the first of them it must have."""
    yield axes[0], coordinates.get(axes[0])
    for axis in axes[1:]:
        if (value := coordinates.get(axis)) is not None:
            yield axis, value


def _tool_bench_row(
    cell: ResultCell, rows: Sequence[TrialRow], naming: _Naming, own: Group | None
) -> JsonObject:
    coordinates = cell.coordinates
    passed = [row for row in rows if row.outcome is Outcome.PASSED]
    others = [row for row in rows if row.outcome is not Outcome.PASSED]
    times = [_times(passed, own), _times(others, own)]
    both = [*times[0], *times[1]]
    template = coordinates.get("chat_template")
    doubt = " (unverified)" if cell.unverified else ""
    return {
        "chat_template": None if template == "native" else template,
        "chat_template_file": None,
        "model": naming.model(coordinates),
        "server_name": f"{naming.server(coordinates)}{doubt}",
        "model_id": coordinates.get("model"),
        "test": theirs(label(coordinates.get("test"))),
        "temp": coordinates.get("temperature"),
        "top_p": coordinates.get("top_p"),
        "top_k": coordinates.get("top_k"),
        "ctk": coordinates.get("options.cache-type-k"),
        "ctv": coordinates.get("options.cache-type-v"),
        "seed": None,
        "success_ratio": len(passed) / len(rows),
        "avg_time": mean(both) if both else None,
        "median_time": median(both) if both else None,
        "success_count": len(passed),
        "success_times": times[0],
        "failure_count": len(others),
        "failure_times": times[1],
        "failures": list(dict.fromkeys(row.reason for row in others)),
    }


def _times(rows: Iterable[TrialRow], own: Group | None) -> list[float]:
    """Return the latencies of those that ran under the cell's own load."""
    return [row.latency_s for row in rows if row.latency_s is not None and group_of(row) == own]


def _plain(value: Any) -> Any:
    """Return a value as JSON can say it: numbers are Python's, what is missing is None."""
    if hasattr(value, "item"):  # a number of NumPy's
        value = value.item()
    if isinstance(value, float):
        return value if isfinite(value) else None
    if isinstance(value, str):
        return str(value) or None
    return value


def _json_lines(rows: Iterable[JsonObject]) -> Iterator[str]:
    for row in rows:
        yield for_json(json.dumps(row, ensure_ascii=False, allow_nan=False)) + "\n"


class _Line:
    """A file for `csv.writer`, whose `writerow` returns what is written to it."""

    @staticmethod
    def write(text: str) -> str:
        return text


def _csv_lines(columns: Sequence[str], rows: Iterable[JsonObject]) -> Iterator[str]:
    writer = csv.writer(_Line(), lineterminator="\n")
    yield writer.writerow(map(for_csv, columns))
    for row in rows:
        yield writer.writerow([_csv_value(row.get(name)) for name in columns])


def _csv_value(value: Any) -> Any:
    match value:
        case None:
            return ""
        case bool() | list() | dict():
            return for_csv(label(value))
        case str():
            return for_csv(value)
        case _:
            return value
