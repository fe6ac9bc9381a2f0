"""Measure tables and heatmaps: `python tests/benchmarks/bench_charts.py`; prints figures.

Each picture is made in a process of its own, imports included, as `matrixbench chart` makes it.
To hold (medians, 2 cores): 10,000 squares to PNG in 5 s, about 60 squares in 3 s.
"""

from __future__ import annotations

import multiprocessing
import statistics
import sys
import tempfile
import time
from itertools import product
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING

sys.path.insert(0, str(Path(__file__).parents[2]))

from matrixbench.charts import draw, save
from matrixbench.records import Kind, Outcome
from matrixbench.results.tally import ResultCell
from matrixbench.spec.experiment import Chart
from tests.results.cells import BUILD, attempt, cell_frame, trial_frame

if TYPE_CHECKING:
    from collections.abc import Iterator
    from multiprocessing.connection import Connection

    from matrixbench.store.rows import TrialRow

RUNS = 3


def squares(across: int, down: int) -> list[ResultCell]:
    """Return that many cells, tests by temperatures."""
    return [
        ResultCell(
            id=f"{x}-{y}",
            coordinates={"model": "m", "temperature": y / 50, "test": f"test-{x:04}"},
            build=BUILD,
            planned=10,
            greedy=y == 0,
        )
        for x, y in product(range(across), range(down))
    ]


def trials(cells: list[ResultCell], each: int) -> Iterator[TrialRow]:
    """Return trials of all cells; some fail, some are errored."""
    random = Random(1)
    made = [
        {},
        {"outcome": Outcome.FAILED, "kind": Kind.WRONG_TOOL, "reason": "called get_time"},
        {"outcome": Outcome.ERRORED, "kind": Kind.SERVER_CRASHED, "reason": "signal 11"},
    ]
    for square in cells:
        weights = (random.random(), random.random(), 0.02)
        for index, fields in enumerate(random.choices(made, weights, k=each)):
            digest = f"reply {random.randrange(4)}"
            yield attempt(square.id, trial=index, seed=index, reply_digest=digest, **fields)


def picture(answer: Connection, across: int, down: int, suffix: str) -> None:
    """Draw one heatmap to a file and send back how long it took, in seconds."""
    cells = squares(across, down)
    stored = list(trials(cells, 10))
    started = time.perf_counter()
    frame = cell_frame(cells, [], stored)
    with tempfile.TemporaryDirectory() as folder:
        save(draw(frame, Chart(), title="bench"), Path(folder) / f"chart{suffix}")
    answer.send(time.perf_counter() - started)


def tables(count: int) -> None:
    """Make both tables of many cells with ten trials each and print how long it took."""
    cells = squares(count // 100, 100)
    stored = list(trials(cells, 10))
    started = time.perf_counter()
    cell_frame(cells, [], stored)
    middle = time.perf_counter()
    trial_frame(cells, stored)
    ended = time.perf_counter()
    print(
        f"{count:,} cells × 10 trials: cell_frame {middle - started:.2f} s, "
        f"trial_frame {ended - middle:.2f} s"
    )


def measured(across: int, down: int, suffix: str) -> float:
    """Return how long one picture took in a fresh process, imports included, in seconds."""
    context = multiprocessing.get_context("spawn")
    receiving, sending = context.Pipe(duplex=False)
    process = context.Process(target=picture, args=(sending, across, down, suffix))
    process.start()
    seconds: float = receiving.recv()
    process.join()
    return seconds


def main() -> None:
    """Measure all and print medians."""
    for across, down in ((10, 6), (40, 60), (100, 100)):
        for suffix in (".png", ".svg", ".html"):
            runs = [measured(across, down, suffix) for _ in range(RUNS)]
            print(f"{across} × {down} to {suffix}: {statistics.median(runs):.2f} s")
    tables(100_000)


if __name__ == "__main__":
    main()
