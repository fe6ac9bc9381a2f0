"""Cells without chance in them, all together."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from matrixbench.comparison.values import Basis, Certain

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matrixbench.comparison.values import CellResult


def certain_cells(results: Sequence[CellResult]) -> Certain:
    """Count the cells that equality decides."""
    sampled = {Basis.PAIRED, Basis.UNPAIRED, Basis.ONE_DRAW, Basis.NOT_COMPARABLE}
    by_test: dict[str, list[float]] = defaultdict(list)
    same = same_replies = 0
    for result in results:
        if result.basis in sampled or result.difference is None:
            continue
        by_test[result.pair.test].append(result.difference.estimate)
        same += result.same is True
        same_replies += result.same_replies is True
    all_of_them = [value for values in by_test.values() for value in values]
    means = [sum(values) / len(values) for values in by_test.values()]
    return Certain(
        cells=len(all_of_them),
        same=same,
        same_replies=same_replies,
        worse=sum(value < 0 for value in all_of_them),
        better=sum(value > 0 for value in all_of_them),
        mean=sum(means) / len(means) if means else 0.0,
    )
