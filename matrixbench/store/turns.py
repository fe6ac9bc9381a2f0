"""The requests of conversations: rows of the table `turn`, and replies made whole again."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING

from matrixbench.records import Turn
from matrixbench.store.encoding import (
    MEASURED_COLUMNS,
    json_text,
    measured_values,
    reply_from,
    reply_values,
    timing_from,
    usage_from,
)

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterator, Sequence

    from matrixbench.records import ChatReply, Trial
    from matrixbench.store.encoding import Named, Row

TURN_COLUMNS = (
    "number",
    "sent",
    "message",
    "reading",
    *MEASURED_COLUMNS,
    "cut_off",
)
"""The columns of the table `turn` after the trial, in the order of `turn_rows`."""

_READ = f"""
    SELECT trial, {", ".join(TURN_COLUMNS)} FROM turn
    WHERE trial IN (SELECT value FROM json_each(?)) ORDER BY trial, number
"""


def turn_rows(trial: Trial) -> Iterator[Row]:
    """Yield a row for each request of a conversation; none where a trial was one request."""
    said = trial.reply or trial.refusal
    if said is None or not (said.earlier or (trial.reply and trial.reply.turn_limit)):
        return
    sent: str | None = None
    for number, turn in enumerate(said.earlier):
        values = (*reply_values(turn.reply), *measured_values(turn.reply))
        yield (number, sent, *values, 0)
        sent = json_text(turn.then)
    last = len(said.earlier)
    if trial.reply is not None:
        figures = measured_values(trial.reply)
        yield (last, sent, None, None, *figures, int(trial.reply.turn_limit))
    elif trial.refusal is not None:
        unmeasured = (None,) * (len(MEASURED_COLUMNS) - 1)
        yield (last, sent, None, None, trial.refusal.latency_s, *unmeasured, 0)


class Turns:
    """The turns of some attempts, read at once."""

    def __init__(self, connection: sqlite3.Connection, ids: Sequence[int]) -> None:
        self._rows: dict[int, list[Named]] = {}
        for trial, *row in connection.execute(_READ, (json.dumps(list(ids)),)):
            named = dict(zip(TURN_COLUMNS, row, strict=True))
            self._rows.setdefault(trial, []).append(named)

    def earlier(self, trial: int) -> tuple[Turn, ...]:
        """Return an attempt's turns before its last request."""
        rows = self._rows.get(trial, ())
        return tuple(
            Turn(reply=reply_from(row), then=tuple(json.loads(after["sent"])))
            for row, after in pairwise(rows)
        )

    def whole(self, trial: int, reply: ChatReply) -> ChatReply:
        """Return a reply, read from the trial's row, with its turns and its own figures."""
        rows = self._rows.get(trial)
        if not rows:
            return reply
        last = rows[-1]
        return replace(
            reply,
            prompt_tokens=last["prompt_tokens"],
            completion_tokens=last["completion_tokens"],
            timing=timing_from(last),
            usage=usage_from(last),
            earlier=self.earlier(trial),
            turn_limit=bool(last["cut_off"]),
        )
