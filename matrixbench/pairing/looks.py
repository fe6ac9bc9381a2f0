"""Looks that were taken: read from the store before a comparison, and kept there after it."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING

from matrixbench.comparison.looks import compared, trials_of
from matrixbench.comparison.values import Looked, Verdict
from matrixbench.errors import StoreError
from matrixbench.store.looks import KeptLook

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matrixbench.comparison.values import Candidate, Comparison
    from matrixbench.store.database import Store


def with_looks(candidates: Sequence[Candidate], store: Store) -> list[Candidate]:
    """Return candidates with the looks that were taken at their cells."""
    return [
        replace(
            candidate,
            looks=[
                Looked(
                    trials=look.trials,
                    max_drop=look.max_drop,
                    verdict=Verdict(look.verdict),
                    at=look.at,
                )
                for look in store.looks(compared(candidate))
            ],
        )
        for candidate in candidates
    ]


def remember(comparison: Comparison, candidates: Sequence[Candidate], store: Store) -> Comparison:
    """Keep the looks that a comparison took; where the store cannot be written it says so."""
    try:
        for candidate, found in zip(candidates, comparison.candidates, strict=True):
            if found.gate.once is not None:
                look = KeptLook(
                    trials=trials_of(candidate),
                    max_drop=found.gate.max_drop,
                    verdict=found.gate.once.value,
                    at=time.time(),
                )
                store.add_look(compared(candidate), look)
    except StoreError:
        return replace(comparison, remembered=False)
    return comparison
