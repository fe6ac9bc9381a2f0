"""Trials that another tool measured, written into the store in one transaction."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from matrixbench.store.connection import one_transaction
from matrixbench.store.encoding import plain
from matrixbench.store.experiments import write_experiment
from matrixbench.store.inserts import close_launch, insert_launch

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from matrixbench.records import Kind, Outcome
    from matrixbench.store.experiments import ExperimentRecord
    from matrixbench.store.rows import LaunchRecord

_TRIAL = """
    INSERT INTO trial (cell, build, seed, generation, trial_index, launch, order_index, request,
        started_at, outcome, kind, reason, by_request, latency_s)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 0, ?)
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportedTrial:
    """One repeat that another tool made.

    Args:
        cell: The cell's id.
        number: Its number in the cell, from 0; it stands for the seed, which is not known.
        source: Digest of the line that told of it.
        outcome: What became of it.
        kind: Why it did not pass, where the tool tells.
        reason: One line; empty where nothing was recorded.
        latency_s: How long it took, or None where that was not recorded.
    """

    cell: str
    number: int
    source: str
    outcome: Outcome
    kind: Kind | None = None
    reason: str = ""
    latency_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportedLaunch:
    """What another tool measured on one server: the launch's record, and its trials."""

    record: LaunchRecord
    trials: Sequence[ImportedTrial]


def write_imported(
    path: Path, experiment: ExperimentRecord, launches: Sequence[ImportedLaunch]
) -> None:
    """Add trials and name their cells: all of it, or nothing.

    Raises:
        StoreError: The store cannot be written.
        ValueError: A launch's record has no build.
    """
    with one_transaction(path) as connection:
        write_experiment(connection, experiment, whole=False)
        (generation,) = connection.execute(
            "SELECT coalesce(max(number), 0) FROM generation"
        ).fetchone()
        for launch in launches:
            record = launch.record
            number, build = insert_launch(connection, record)
            if build is None:
                raise ValueError(f"{record.name} has no build")
            connection.executemany(
                _TRIAL,
                (
                    (
                        trial.cell,
                        build,
                        trial.number,
                        generation,
                        trial.number,
                        number,
                        order,
                        trial.source,
                        record.started_at,
                        trial.outcome.value,
                        None if trial.kind is None else trial.kind.value,
                        plain(trial.reason),
                        trial.latency_s,
                    )
                    for order, trial in enumerate(launch.trials)
                ),
            )
            close_launch(connection, number, record.started_at, None)
