"""The results of several builds beside each other: one table, builds by short labels."""

from __future__ import annotations

from typing import TYPE_CHECKING

from matrixbench.frame import AXES_ATTR, CellStatus
from matrixbench.plan.builds import build_labels

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pandas import DataFrame

    from matrixbench.records import Build
    from matrixbench.results import Results

_SERVER_AXES = ("backend", "binary")
"""What the builds that a cell can have depend on."""


def split_by_build(frame: DataFrame, results: Results, builds: Mapping[str, Build]) -> DataFrame:
    """Return a cell frame whose column `build` holds labels, present builds first, then newest.

    A cell that is not applicable is so under every build: it comes once for each build of its
    backend.

    Args:
        frame: One row for each cell and build.
        results: What it was made from, `by_build`.
        builds: Build id → build, oldest first.
    """
    shown = frame[frame["build"].notna()]
    pairs = list(zip(shown["cell"], shown["build"], strict=True))
    labels = build_labels(pairs, builds)
    split = frame.copy()
    split["build"] = [labels.get(build) for build in frame["build"]]
    split = _not_applicable_everywhere(split)
    present = [] if results.prepared is None else results.prepared.plan.launches
    ids = [plan.build.build.id for plan in present if plan.build.build is not None]
    ordered = [
        labels[build] for build in (*ids, *reversed(list(builds)), *labels) if build in labels
    ]
    split.attrs = {
        AXES_ATTR: {**frame.attrs.get(AXES_ATTR, {}), "build": list(dict.fromkeys(ordered))}
    }
    return split


def _not_applicable_everywhere(frame: DataFrame) -> DataFrame:
    aside = frame["status"] == CellStatus.NOT_APPLICABLE.value
    axes = [axis for axis in _SERVER_AXES if axis in frame.columns]
    if not aside.any() or not axes:
        return frame
    servers = list(zip(*(frame[axis] for axis in axes), strict=True))
    known: dict[tuple[object, ...], dict[str, None]] = {}
    for server, build in zip(servers, frame["build"], strict=True):
        if isinstance(build, str):  # pandas may have made NaN of None
            known.setdefault(server, {})[build] = None
    split = frame.copy()
    split["build"] = [
        list(known.get(server, [None])) if apart else [build]
        for server, build, apart in zip(servers, frame["build"], aside, strict=True)
    ]
    return split.explode("build", ignore_index=True)
