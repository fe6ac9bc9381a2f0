"""Where a server's prompt cache makes cells unlike that a chart compares by their times."""

from __future__ import annotations

from typing import TYPE_CHECKING

from matrixbench.spec.backends import ScriptedBackend
from matrixbench.spec.charts import PROMPT_TIMES

if TYPE_CHECKING:
    from matrixbench.plan.matrix import LaunchCells, Matrix
    from matrixbench.spec.experiment import ExperimentFile


def cache_notes(file: ExperimentFile, matrix: Matrix) -> list[str]:
    """Return what should be known where a chart shows times and cells share their prompts."""
    charts = [name for name, chart in file.charts.items() if chart.metric in PROMPT_TIMES]
    if not charts or file.warm_up or file.faithful:
        return []
    if not any(_shares_prompts(group) for group in matrix.launches):
        return []
    shown = f"the chart {charts[0]} shows" if len(charts) == 1 else f"{len(charts)} charts show"
    note = (
        f"{shown} times, and cells share prompts: the first to ask has its prompt computed, the "
        "others find it in the server's cache. warm_up: true computes each prompt before the "
        "trials; faithful: true uses no cache"
    )
    return [note]


def _shares_prompts(group: LaunchCells) -> bool:
    """Return whether several cells of a launch ask the same, with other sampling perhaps."""
    if isinstance(group.launch.spec, ScriptedBackend):
        return False
    return len(group.cells) > len({id(cell.test) for cell in group.cells})
