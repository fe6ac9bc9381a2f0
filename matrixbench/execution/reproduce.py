"""Two lines with which somebody else sees what a trial saw: the server's, and the request's."""

from __future__ import annotations

from typing import TYPE_CHECKING

from matrixbench.backends.registry import Asked, Reproduction, ServerKind
from matrixbench.spec.backends import kinds

if TYPE_CHECKING:
    from matrixbench.backends.registry import Surroundings
    from matrixbench.plan.cells import Launch
    from matrixbench.store.rows import LaunchRecord, Transcript


def reproduction(
    transcript: Transcript,
    record: LaunchRecord | None,
    launch: Launch | None = None,
    around: Surroundings | None = None,
) -> Reproduction:
    """Return the lines that reproduce a trial; no secret is in them.

    Args:
        transcript: The trial.
        record: What the store keeps of its launch.
        launch: The launch as the experiment's file has it, if there is one.
        around: The machine, if it is known.
    """
    if record is None or record.imported:
        return Reproduction()
    kind: type | None = None if launch is None else type(launch.spec)
    if launch is None and record.build is not None:
        kind = kinds().known.get(record.build.kind)
    asked = Asked(
        body=transcript.body,
        seed=transcript.trial.seed,
        command=record.command,
        build=record.build,
        effective=record.effective,
        launch=launch,
        around=around,
    )
    # A kind that is not installed any more has most likely the usual API.
    known = kind if kind is not None and issubclass(kind, ServerKind) else ServerKind
    return known.reproduce(asked)
