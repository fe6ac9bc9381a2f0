"""What launches said to several seeds: how many of their replies differ, request by request."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from matrixbench.store.rows import SeedReplies

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable

# A reply is its text and calls (the digest) and its length: models that think may say the same
# after other thoughts. Conversations are left out, for a row has the figures of all their turns.
_BY_REQUEST = """
    SELECT launch.digest, build.id, request.body,
        count(DISTINCT trial.seed),
        count(DISTINCT trial.reply_digest || ' ' || coalesce(trial.completion_tokens, '')),
        CASE WHEN count(trial.completion_tokens) = count(*)
            THEN min(trial.completion_tokens - coalesce(trial.reasoning_tokens, 0)) END
    FROM trial
    JOIN launch ON launch.id = trial.launch
    JOIN build ON build.number = trial.build
    LEFT JOIN request ON request.digest = trial.request
    WHERE launch.digest IN (SELECT value FROM json_each(?)) AND trial.reply_digest IS NOT NULL
        AND NOT EXISTS (SELECT 1 FROM turn WHERE turn.trial = trial.id)
    GROUP BY launch.digest, trial.build, trial.cell, trial.request
    HAVING count(DISTINCT trial.seed) > 1
"""


def replies_to_seeds(connection: sqlite3.Connection, digests: Iterable[str]) -> list[SeedReplies]:
    """Return what launches said to each request that was asked with several seeds.

    Trials of every generation and experiment are among them: what a server does with a seed is its
    own.
    """
    rows = connection.execute(_BY_REQUEST, (json.dumps(sorted(set(digests))),))
    return [
        SeedReplies(
            launch_digest=digest,
            build=build,
            body=json.loads(body) if body else {},
            seeds=seeds,
            distinct=distinct,
            tokens=tokens,
        )
        for digest, build, body, seeds, distinct, tokens in rows
    ]
