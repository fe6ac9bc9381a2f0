"""What a report says of one experiment: question, answer, charts, cells, launches."""

from __future__ import annotations

from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Any

from matrixbench.backends.process import log_tail
from matrixbench.charts.files import charts_of, names_build
from matrixbench.comparison.pairs import compare_results
from matrixbench.comparison.values import MAX_DROP, GateVerdict
from matrixbench.errors import NothingSelectedError
from matrixbench.output.compare import lines_of, verdict_line
from matrixbench.output.rank import Fresh, ranking_json
from matrixbench.output.report.drawings import drawings
from matrixbench.output.report.secrets import Kept
from matrixbench.output.show import launches_json
from matrixbench.records import Outcome
from matrixbench.results.replies import shown_launches
from matrixbench.results.tables import COLUMNS, frame_of
from matrixbench.results.tally import CellStatus
from matrixbench.results.totals import ranked_axes, total_frame
from matrixbench.spec.axes import axis_of, cell_name, handles_of_test, label
from matrixbench.spec.wording import counted

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pandas import DataFrame

    from matrixbench.comparison.data import Comparison
    from matrixbench.output.report.pack import Pack
    from matrixbench.records import JsonObject
    from matrixbench.results.experiment import Results
    from matrixbench.results.tally import ResultCell
    from matrixbench.store.rows import TrialRow

_LOG_LINES = 80

_TABLE = (
    ("success_ratio", "success ratio", "ratio"),
    ("low", "95 % from", "ratio"),
    ("high", "to", "ratio"),
    ("trials", "n", "count"),
    ("planned", "planned", "count"),
    ("passed", "passed", "count"),
    ("failed", "failed", "count"),
    ("rejected", "rejected", "count"),
    ("errored", "errored", "count"),
    ("distinct", "distinct replies", "count"),
    ("top_kind", "most frequent kind", "text"),
    ("latency_p50_s", "latency", "seconds"),
    ("completion_tokens_per_s", "tokens/s", "number"),
    ("status", "status", "text"),
)
"""Columns of the table after its axes: name, heading, and what its values are."""

_RANK_NOTES = (
    (
        "mean: of the tests' success ratios, each test weighing the same. 95 % these: interval for "
        "these very tests. 95 % such: for such tests, the tests being a sample too."
    ),
    (
        "P(best): the chance to have the highest true mean. vs best: p of the exact test by seed, "
        "over all pairs of rows (Holm). ≈: cannot be distinguished from the best. –: not tested."
    ),
    "The first row was picked for being first: its mean is too high. Measure with fresh seeds.",
)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Source:
    """An experiment that a report is made of.

    Args:
        target: How the command line names it.
        results: Its results.
        baseline: What the gate compares with, `AXIS=VALUE`; None where no gate was asked for.
        max_drop: The drop that the gate allows.
    """

    target: str
    results: Results
    baseline: str | None = None
    max_drop: float = MAX_DROP


@dataclass(slots=True, kw_only=True, eq=False)
class Part:
    """One experiment of a report, read from its store.

    Args:
        results: Its results.
        cells: The cell of each row of its table; None for those that are not applicable.
        rows: What an export says of each.
        trials: The trials of each, in order.
        index: What the page's index says of it.
        secrets: What must not be in the page.
    """

    results: Results
    cells: list[ResultCell | None]
    rows: list[JsonObject]
    trials: list[list[TrialRow]]
    index: JsonObject
    secrets: Kept


def read_part(source: Source, pack: Pack) -> Part:
    """Read an experiment; its charts and launches are packed, its cells and replies not yet."""
    results = source.results
    split = any(map(names_build, charts_of(results).values()))
    shown = results.by_build() if split else results
    table = frame_of(shown)
    owners = list(shown.tallies)
    places = {(cell.id, cell.build, _test(cell)): place for place, cell in enumerate(owners)}
    place_of = {cell: place for place, cell in enumerate(owners)}
    cells = [*owners, *[None] * (len(table) - len(owners))]
    trials: list[list[TrialRow]] = [[] for _ in cells]
    for cell, row in shown.rows():
        trials[place_of[cell]].append(row)
    for found in trials:
        found.sort(key=lambda row: row.trial)
    axes = [*results.axes, *(["build"] if split else [])]
    records = [
        {str(name): exact(value) if name in axes else plain(value) for name, value in row.items()}
        for row in table.to_dict("records")
    ]
    secrets = Kept.of(results)

    def places_of(cell: str, build: str | None, test: object) -> list[int]:
        place = places.get((cell, build, label(test)))
        return [] if place is None else [place]

    index = {
        "name": results.experiment,
        "target": source.target,
        "description": _description(results),
        "facts": _facts(results),
        "answer": _answer(source, frame_of(results) if split else table),
        "charts": [
            {
                "name": drawn.name,
                "title": drawn.title,
                "record": pack.add({"spec": drawn.vega, "places": drawn.squares}),
            }
            for drawn in drawings(results, table, places_of, split=split)
        ],
        "axes": axes,
        "bare": [axis for axis in axes if axis_of(axis).bare],
        "points": _points(results, axes, records),
        "columns": _columns(records),
        "cells": _named(cells),
        "launches": _launches(shown, pack, secrets),
    }
    return Part(
        results=results,
        cells=cells,
        rows=records,
        trials=trials,
        index=secrets.masked(index),
        secrets=secrets,
    )


def plain(value: Any) -> Any:
    """Return a table's value as JSON has it: six digits that count; None for what is missing."""
    value = exact(value)
    return float(f"{value:.6g}") if isinstance(value, float) else value


def exact(value: Any) -> Any:
    """Return a value as JSON has it; None for what is missing."""
    if hasattr(value, "item"):  # a number of NumPy's
        value = value.item()
    if isinstance(value, float) and not isfinite(value):
        return None
    return str(value) if isinstance(value, str) else value


def _test(cell: ResultCell) -> str:
    return label(cell.coordinates.get("test"))


def _named(cells: Sequence[ResultCell | None]) -> list[str]:
    """Return names for addresses: a cell's id, with a number where several cells have it."""
    seen: dict[str, int] = {}
    names = []
    for cell in cells:
        name = "aside" if cell is None else cell.id
        seen[name] = seen.get(name, 0) + 1
        names.append(name if seen[name] == 1 else f"{name}.{seen[name]}")
    return names


def _description(results: Results) -> str:
    prepared = results.prepared
    return "" if prepared is None else str(prepared.experiment.file.description or "")


def _facts(results: Results) -> list[tuple[str, str]]:
    """Return what was asked: the axes with their values, the trials, and what was selected."""
    facts = [(axis, _some(values)) for axis, values in results.axes.items()]
    planned = sorted({cell.planned for cell in results.cells})
    if planned:
        ends = dict.fromkeys((planned[0], planned[-1]))
        facts.append(("trials per cell", " to ".join(f"{end:,}" for end in ends)))
    facts.append(("cells", f"{len(results.cells):,}"))
    if results.not_applicable:
        facts.append(("not applicable", f"{len(results.not_applicable):,}"))
    return [*facts, *([("only where", " and ".join(results.where))] if results.where else [])]


_VALUES_NAMED = 12


def _some(values: Sequence[Any]) -> str:
    texts = [label(value) for value in values[:_VALUES_NAMED]]
    more = len(values) - len(texts)
    return ", ".join(texts) + (f" and {more:,} more" if more else "")


def _answer(source: Source, frame: DataFrame) -> JsonObject:
    totals = {name: int(frame[name].sum()) for name in Outcome if name in frame}
    told = ", ".join(f"{count:,} {name}" for name, count in totals.items() if count)
    undecided = []
    rank: JsonObject | None = None
    if frame["trials"].any():
        by = ranked_axes(frame)
        found = total_frame(source.results, by)
        rank = ranking_json(
            source.results.experiment, by, found, Fresh(target=source.target, seed_offset=0)
        )
        for row in rank["rows"]:
            row["name"] = cell_name({axis: row[axis] for axis in by}) or "all cells"
        undecided = [
            f"{row['name']} cannot be distinguished from the best (p = {row['p_vs_best_holm']:.2g})"
            for row in rank["rows"][1:]
            if row["told_from_best"] is False
        ]
    gate = _gate(source)
    undecided += [
        f"{one['name']} against {one['baseline']}: {one['lines'][0]}"
        for one in gate
        if one["verdict"] == GateVerdict.UNDECIDED
    ]
    lacking = int(((frame["trials"] < frame["planned"]) & ~frame["stopped"].eq(True)).sum())
    if lacking:
        undecided.append(f"{counted(lacking, 'cell')} with fewer trials than planned")
    return {
        "lines": [told or "Nothing has been measured yet."],
        "rank": rank and {"by": rank["by"], "rows": rank["rows"], "notes": _RANK_NOTES},
        "gate": gate,
        "undecided": undecided,
    }


def _gate(source: Source) -> list[JsonObject]:
    if source.baseline is None:
        return []
    found: Comparison = compare_results(
        source.results,
        baseline=source.baseline,
        max_drop=source.max_drop,
        unmeasured=True,
    )
    return [
        {
            "name": candidate.name,
            "baseline": found.baseline,
            "verdict": str(candidate.gate.verdict),
            "lines": [verdict_line(candidate), *lines_of(found, candidate)],
        }
        for candidate in found.candidates
    ]


def _points(results: Results, axes: Sequence[str], rows: Sequence[JsonObject]) -> JsonObject:
    """Return axis, suite or tag → its values, and which of them each cell has."""
    handles: dict[str, dict[str, Any]] = {}
    if results.prepared is not None:
        tests = results.prepared.experiment.tests
        handles = {test.name: handles_of_test(test) for test in tests}
    extra = dict.fromkeys(name for found in handles.values() for name in found)
    found = {}
    for axis in dict.fromkeys([*axes, *extra]):
        values: dict[tuple[str, str], int] = {}
        cells: list[int | list[int]] = []
        for value in results.axes.get(axis, ()):
            values.setdefault(_value(value), len(values))
        for row in rows:
            point = row if axis in axes else handles.get(str(row.get("test")), {})
            value = point.get(axis)
            if isinstance(value, tuple):  # tags, of which a test may have several
                cells.append([values.setdefault(_value(one), len(values)) for one in value])
            elif axis not in point or (value is None and _value(None) not in values):
                cells.append(-1)
            else:
                cells.append(values.setdefault(_value(value), len(values)))
        found[axis] = {"values": [_told(*one) for one in values], "cells": cells}
    return found


def told_value(value: Any) -> JsonObject:
    """Return a value of an axis as the page's filter takes it."""
    return _told(*_value(value))


def _value(value: Any) -> tuple[str, str]:
    match value:
        case None:
            kind = "null"
        case bool():
            kind = "bool"
        case int() | float():
            kind = "number"
        case str():
            kind = "text"
        case _:
            kind = "other"
    return kind, label(value)


def _told(kind: str, text: str) -> JsonObject:
    number = {"number": float(text)} if kind == "number" else {}
    return {"type": kind, "label": text, **number}


def _columns(rows: Sequence[JsonObject]) -> list[JsonObject]:
    """Return the columns of the table, but for those in which nothing of interest stands."""
    assert all(name in COLUMNS for name, _, _ in _TABLE)  # noqa: S101  a bug of ours
    columns = [
        {"name": name, "title": title, "kind": kind, "values": [row.get(name) for row in rows]}
        for name, title, kind in _TABLE
    ]
    dull = {None, "", 0, CellStatus.MEASURED.value}
    needed = {"success_ratio", "trials", "planned", "passed", "failed"}
    return [one for one in columns if one["name"] in needed or not dull.issuperset(one["values"])]


def _launches(results: Results, pack: Pack, secrets: Kept) -> list[JsonObject]:
    try:
        shown = shown_launches(results)
    except NothingSelectedError:  # none has run yet
        return []
    asked = {(cell.launch, cell.launch_digest): _asked(cell) for cell in results.cells}
    entries = []
    for one, told in zip(shown, launches_json(results.experiment, shown)["launches"], strict=True):
        record = one.launch.record
        told["asked"] = asked.get((record.name, record.digest), {})
        told["log_tail"] = log_tail(Path(record.log), _LOG_LINES) if record.log else ""
        number = pack.add(secrets.masked(told))
        entries.append(
            {"id": told["launch"], "name": record.name, "trials": one.trials, "record": number}
        )
    return entries


def _asked(cell: ResultCell) -> JsonObject:
    """Return what a launch was asked for, as the experiment's file has it."""
    if cell.of_plan is None:
        return {}
    launch = cell.of_plan.launch
    return {
        **{axis: label(value) for axis, value in launch.coordinates.items()},
        **{name: label(value) for name, value in launch.options.items()},
        "load": launch.load.key,
        **{
            name: value
            for name in ("context", "slots", "concurrency")
            if (value := getattr(launch.spec, name, None)) is not None
        },
    }
