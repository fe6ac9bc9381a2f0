"""matrixbench: decide which server build, model, chat template and settings to run.

The names below are the public ones; each is imported when it is first asked for, so that
`import matrixbench` costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matrixbench.charts import draw, save
    from matrixbench.checks.own import CheckResult, OwnCheck
    from matrixbench.comparison.data import Comparison
    from matrixbench.comparison.pairs import compare
    from matrixbench.errors import MatrixbenchError
    from matrixbench.execution.settings import Mode, RunSummary, Settings, settings_for
    from matrixbench.gated import build_plan, execute, run
    from matrixbench.output.progress import show_progress
    from matrixbench.records import ChatReply, Kind, Timing, ToolCall, Turn, Usage, Verdict
    from matrixbench.results.experiment import Results, open_results
    from matrixbench.results.tables import cell_frame, trial_frame
    from matrixbench.results.totals import total_frame
    from matrixbench.spec.experiment import Chart, Metric
    from matrixbench.spec.load import Experiment, load_experiment

__all__ = [
    "Chart",
    "ChatReply",
    "CheckResult",
    "Comparison",
    "Experiment",
    "Kind",
    "MatrixbenchError",
    "Metric",
    "Mode",
    "OwnCheck",
    "Results",
    "RunSummary",
    "Settings",
    "Timing",
    "ToolCall",
    "Turn",
    "Usage",
    "Verdict",
    "build_plan",
    "cell_frame",
    "compare",
    "draw",
    "execute",
    "load_experiment",
    "open_results",
    "run",
    "save",
    "settings_for",
    "show_progress",
    "total_frame",
    "trial_frame",
]

_HOMES = {
    "Chart": "spec.experiment",
    "ChatReply": "records",
    "CheckResult": "checks.own",
    "Comparison": "comparison.data",
    "Experiment": "spec.load",
    "Kind": "records",
    "MatrixbenchError": "errors",
    "Metric": "spec.experiment",
    "Mode": "execution.settings",
    "OwnCheck": "checks.own",
    "Results": "results.experiment",
    "RunSummary": "execution.settings",
    "Settings": "execution.settings",
    "Timing": "records",
    "ToolCall": "records",
    "Turn": "records",
    "Usage": "records",
    "Verdict": "records",
    "build_plan": "gated",
    "cell_frame": "results.tables",
    "compare": "comparison.pairs",
    "draw": "charts",
    "execute": "gated",
    "load_experiment": "spec.load",
    "open_results": "results.experiment",
    "run": "gated",
    "save": "charts",
    "settings_for": "execution.settings",
    "show_progress": "output.progress",
    "total_frame": "results.totals",
    "trial_frame": "results.tables",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
