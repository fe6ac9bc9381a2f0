"""The requests of conversations: rows of the table `turn`, and replies made whole again."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from matrixbench.records import ChatReply, Turn
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

    from matrixbench.records import JsonObject, Trial
    from matrixbench.store.encoding import Row

TURN_COLUMNS = (
    "number",
    "sent",
    "message",
    "reading",
    *MEASURED_COLUMNS,
    "cut_off",
)
"""The columns of the table `turn` after the trial, in the order of `turn_rows`."""

_MEASURED = slice(4, 4 + len(MEASURED_COLUMNS))
"""Where the measured values stand in a row of `TURN_COLUMNS`."""

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
        self._rows: dict[int, list[Row]] = {}
        for number, *row in connection.execute(_READ, (json.dumps(list(ids)),)):
            self._rows.setdefault(number, []).append(tuple(row))

    def earlier(self, trial: int) -> tuple[Turn, ...]:
        """Return an attempt's turns before its last request."""
        rows = self._rows.get(trial, ())
        return tuple(
            Turn(reply=_reply(row), then=tuple(_messages(after[1])))
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
            prompt_tokens=last[8],
            completion_tokens=last[9],
            timing=timing_from(last[_MEASURED]),
            usage=usage_from(last[_MEASURED]),
            earlier=self.earlier(trial),
            turn_limit=bool(last[-1]),
        )


def _reply(row: Row) -> ChatReply:
    return reply_from(row[2], row[3], row[_MEASURED])


def _messages(sent: str) -> list[JsonObject]:
    messages: Any = json.loads(sent)
    return list(messages)
