"""Where results come from: the launch runs behind the selected cells."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from matrixbench.errors import NothingSelectedError

if TYPE_CHECKING:
    from matrixbench.results import Results
    from matrixbench.store.database import Store
    from matrixbench.store.rows import StoredLaunch


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ShownLaunch:
    """A launch run, and how many of the selected trials it measured."""

    launch: StoredLaunch
    trials: int


def shown_launches(results: Results, store: Store) -> list[ShownLaunch]:
    """Return the launch runs behind the selected cells, oldest first.

    Those whose trials count are among them, of whichever experiment they were; and those of this
    experiment's launches that measured nothing, for they say why.

    Raises:
        NothingSelectedError: No launch is selected.
        StoreError: The store cannot be read.
    """
    trials: dict[int, set[int]] = {}
    for _, row in results.rows(store):
        trials.setdefault(row.launch, set()).add(row.id)
    wanted = {(cell.launch, cell.launch_digest) for cell in results.cells}
    shown = [
        ShownLaunch(launch=launch, trials=len(trials.get(launch.id, ())))
        for launch in store.launches()
        if launch.id in trials
        or (
            launch.record.experiment == results.experiment
            and (launch.record.name, launch.record.digest) in wanted
        )
    ]
    if not shown:
        raise NothingSelectedError(
            f"no launch of {results.experiment} has run for the selected cells",
            where=str(store.path),
        )
    return shown
