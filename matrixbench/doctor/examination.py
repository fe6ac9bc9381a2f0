"""All that is looked at, in order."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from matrixbench.backends.build import FileHashes
from matrixbench.doctor.findings import Examined, Severity, examine_machine
from matrixbench.doctor.servers import ServerCheck, examine_models

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from matrixbench.run.settings import Settings
    from matrixbench.spec.load import Experiment


def examine(experiment: Experiment | None, settings: Settings) -> Iterator[Examined]:
    """Yield what this machine has of what an experiment needs.

    Args:
        experiment: The experiment; None looks at what most of them need.
        settings: Where its store, and the cache, are.
    """
    yield from examine_machine(settings)
    hashes = FileHashes(settings.cache / "hashes.json")
    yield from ServerCheck(settings.environ, hashes).examine(experiment)
    if experiment is not None:
        yield from examine_models(experiment, settings)


def findings_json(findings: Sequence[Examined]) -> list[dict[str, Any]]:
    """Return findings as data: `level` is ok, warning or problem."""
    return [
        {"level": str(one.level), "what": one.what, "found": one.found, "todo": one.todo or None}
        for one in findings
    ]


def lines_of(finding: Examined) -> Iterator[str]:
    """Yield a finding as people read it: a line, and one for what to do."""
    yield f"{finding.level:<8} {finding.what}: {_one_line(finding.found)}"
    if finding.todo and finding.level is not Severity.OK:
        yield f"{'':<8} -> {_one_line(finding.todo)}"


def _one_line(text: str) -> str:
    return " ".join(text.split())
