"""Verdicts that were given once, and must not be given again after trials were added."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import sqlite3


class KeptLook(NamedTuple):
    """A look that was taken.

    Args:
        trials: Trials of each cell that it rested on.
        max_drop: The drop that was allowed.
        verdict: What was said.
        at: When, in seconds since 1970.
    """

    trials: int
    max_drop: float
    verdict: str
    at: float


def looks(connection: sqlite3.Connection, compared: str) -> list[KeptLook]:
    """Return the looks that were taken at what is compared, oldest first."""
    rows = connection.execute(
        "SELECT trials, max_drop, verdict, at FROM look WHERE compared = ? ORDER BY id", (compared,)
    )
    return [KeptLook(*row) for row in rows]


def add_look(connection: sqlite3.Connection, compared: str, look: KeptLook) -> None:
    """Keep a look; looking at the same trials again is the same look."""
    connection.execute(
        """INSERT INTO look (compared, trials, max_drop, verdict, at) SELECT ?, ?, ?, ?, ?
        WHERE NOT EXISTS (
            SELECT 1 FROM look
            WHERE compared = ? AND trials = ? AND max_drop = ? AND verdict = ?
        )""",
        (compared, *look, compared, look.trials, look.max_drop, look.verdict),
    )
