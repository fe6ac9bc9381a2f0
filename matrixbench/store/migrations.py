"""How the store's tables came to be: an append-only list, each entry one transaction.

The number of entries applied is the file's `user_version`. Never change an entry that was
released: files out there were made by it. Add the next one.
"""

from __future__ import annotations

from typing import TypeAlias

Migration: TypeAlias = tuple[str, ...]

_FIRST: Migration = (
    """CREATE TABLE build (
        number INTEGER PRIMARY KEY,
        id TEXT NOT NULL UNIQUE,
        kind TEXT NOT NULL,
        server TEXT NOT NULL,
        model TEXT NOT NULL,
        device TEXT NOT NULL,
        version TEXT NOT NULL,
        details TEXT NOT NULL
    )""",
    """CREATE TABLE launch (
        id INTEGER PRIMARY KEY,
        experiment TEXT NOT NULL,
        digest TEXT NOT NULL,
        name TEXT NOT NULL,
        build INTEGER REFERENCES build (number),
        started_at REAL NOT NULL,
        request_timeout_s REAL NOT NULL,
        order_seed INTEGER,
        command TEXT NOT NULL,
        effective TEXT NOT NULL,
        host TEXT NOT NULL,
        versions TEXT NOT NULL,
        log TEXT,
        imported INTEGER NOT NULL,
        ended_at REAL,
        error TEXT
    )""",
    "CREATE INDEX launch_digest ON launch (digest)",
    """CREATE TABLE note (
        launch INTEGER NOT NULL REFERENCES launch (id),
        name TEXT NOT NULL,
        value TEXT NOT NULL,
        PRIMARY KEY (launch, name)
    ) WITHOUT ROWID""",
    """CREATE TABLE request (
        digest TEXT NOT NULL PRIMARY KEY,
        body TEXT NOT NULL
    ) WITHOUT ROWID""",
    # Narrow on purpose: whoever counts a million trials reads this table and no reply.
    # `outcome`, `kind` and `reason` are those of a refusal; a trial with a reply has none here,
    # for what its checks say is derived, and stands in `verdict`.
    """CREATE TABLE trial (
        id INTEGER PRIMARY KEY,
        cell TEXT NOT NULL,
        build INTEGER NOT NULL REFERENCES build (number),
        seed INTEGER NOT NULL,
        generation INTEGER NOT NULL,
        trial_index INTEGER NOT NULL,
        launch INTEGER NOT NULL REFERENCES launch (id),
        order_index INTEGER NOT NULL,
        request TEXT NOT NULL,
        started_at REAL NOT NULL,
        outcome TEXT,
        kind TEXT,
        reason TEXT,
        by_request INTEGER NOT NULL,
        latency_s REAL,
        time_to_first_token_s REAL,
        prompt_tokens_per_s REAL,
        completion_tokens_per_s REAL,
        prompt_tokens INTEGER,
        completion_tokens INTEGER,
        finish_reason TEXT,
        fingerprint TEXT,
        reply_digest TEXT
    )""",
    # The order in which attempts supersede each other: (generation, id). Nearly the order of
    # insertion, so it costs next to nothing, unlike an index over the random cell ids.
    "CREATE INDEX trial_generation ON trial (generation)",
    """CREATE TABLE reply (
        trial INTEGER PRIMARY KEY REFERENCES trial (id),
        message TEXT NOT NULL,
        reading TEXT
    )""",
    # Append-only: turn 0 is the judgement at the time, each judging again adds a turn.
    """CREATE TABLE verdict (
        trial INTEGER NOT NULL REFERENCES trial (id),
        turn INTEGER NOT NULL,
        checks TEXT NOT NULL,
        outcome TEXT NOT NULL,
        kind TEXT,
        reason TEXT NOT NULL,
        score REAL,
        verdicts TEXT NOT NULL,
        PRIMARY KEY (trial, turn)
    ) WITHOUT ROWID""",
    """CREATE TABLE generation (
        number INTEGER PRIMARY KEY,
        experiment TEXT NOT NULL,
        opened_at REAL NOT NULL
    )""",
    # From which generation on trials count for an experiment; the empty cell stands for all.
    """CREATE TABLE floor (
        experiment TEXT NOT NULL,
        cell TEXT NOT NULL,
        generation INTEGER NOT NULL,
        PRIMARY KEY (experiment, cell)
    ) WITHOUT ROWID""",
)

# What an experiment's cells are called, so that its results can be told without its file. A cell is
# a launch's coordinates, a request's and a test's: each is written once, not once a cell.
_CELLS: Migration = (
    """CREATE TABLE experiment (
        number INTEGER PRIMARY KEY,
        name TEXT NOT NULL UNIQUE,
        recorded TEXT NOT NULL
    )""",
    """CREATE TABLE experiment_launch (
        number INTEGER PRIMARY KEY,
        experiment INTEGER NOT NULL REFERENCES experiment (number),
        imported INTEGER NOT NULL,
        key TEXT NOT NULL,
        coordinates TEXT NOT NULL,
        digest TEXT NOT NULL,
        name TEXT NOT NULL,
        build TEXT,
        UNIQUE (experiment, imported, key)
    )""",
    """CREATE TABLE experiment_coordinates (
        number INTEGER PRIMARY KEY,
        experiment INTEGER NOT NULL REFERENCES experiment (number),
        key TEXT NOT NULL,
        coordinates TEXT NOT NULL,
        UNIQUE (experiment, key)
    )""",
    """CREATE TABLE experiment_cell (
        launch INTEGER NOT NULL REFERENCES experiment_launch (number),
        request INTEGER NOT NULL REFERENCES experiment_coordinates (number),
        test INTEGER NOT NULL REFERENCES experiment_coordinates (number),
        cell TEXT NOT NULL,
        first_seed INTEGER NOT NULL,
        planned INTEGER NOT NULL,
        greedy INTEGER NOT NULL,
        PRIMARY KEY (launch, request, test)
    ) WITHOUT ROWID""",
)

# The requests of a conversation, each with its own figures; a trial that was one request has none,
# unless its conversation was cut off there. `sent` are the messages since the reply before (those
# before the first are the request's), `message` and `reading` are null where no reply came, and of
# the last reply, which stands in `reply`.
_TURNS: Migration = (
    """CREATE TABLE turn (
        trial INTEGER NOT NULL REFERENCES trial (id),
        number INTEGER NOT NULL,
        sent TEXT,
        message TEXT,
        reading TEXT,
        latency_s REAL,
        time_to_first_token_s REAL,
        prompt_tokens_per_s REAL,
        completion_tokens_per_s REAL,
        prompt_tokens INTEGER,
        completion_tokens INTEGER,
        finish_reason TEXT,
        fingerprint TEXT,
        cut_off INTEGER NOT NULL,
        PRIMARY KEY (trial, number)
    ) WITHOUT ROWID""",
)

# When a cell has enough trials: the half-width of its interval, null where their number is fixed,
# and the least number of them.
_UNTIL: Migration = (
    "ALTER TABLE experiment_cell ADD COLUMN half_width REAL",
    "ALTER TABLE experiment_cell ADD COLUMN least INTEGER NOT NULL DEFAULT 1",
)

# Which checks a cell had when it was run last; empty where that is not known or depends on replies.
_CELL_CHECKS: Migration = (
    "ALTER TABLE experiment_cell ADD COLUMN checks TEXT NOT NULL DEFAULT ''",
)

# What a server counted of each request, which model it named, how often it was asked and with how
# many others beside it; null in rows of before, where nobody knows.
_COUNTED: tuple[tuple[str, str], ...] = (
    ("token_gap_p50_s", "REAL"),
    ("token_gap_max_s", "REAL"),
    ("model", "TEXT"),
    ("cached_tokens", "INTEGER"),
    ("computed_tokens", "INTEGER"),
    ("predicted_tokens", "INTEGER"),
    ("prompt_s", "REAL"),
    ("predicted_s", "REAL"),
    ("draft_tokens", "INTEGER"),
    ("draft_accepted_tokens", "INTEGER"),
    ("reasoning_tokens", "INTEGER"),
    ("accepted_prediction_tokens", "INTEGER"),
    ("rejected_prediction_tokens", "INTEGER"),
)
_USAGE: Migration = (
    *(
        f"ALTER TABLE {table} ADD COLUMN {name} {kind}"
        for table in ("trial", "turn")
        for name, kind in _COUNTED
    ),
    "ALTER TABLE trial ADD COLUMN asked INTEGER",
    "ALTER TABLE trial ADD COLUMN concurrency INTEGER",
    # The answers to a request that were not the one that counts, and what came over the wire where
    # that was no reply: few trials have any. `turn` and `number` count from 0.
    """CREATE TABLE attempt (
        trial INTEGER NOT NULL REFERENCES trial (id),
        turn INTEGER NOT NULL,
        number INTEGER NOT NULL,
        kind TEXT,
        reason TEXT NOT NULL,
        latency_s REAL,
        body TEXT,
        PRIMARY KEY (trial, turn, number)
    ) WITHOUT ROWID""",
)

# Where a launch's server came from (`plan.cells.Origin`, as JSON): what its digest leaves out. It
# is empty where an older version ran.
_ORIGIN: Migration = (
    "ALTER TABLE launch ADD COLUMN origin TEXT NOT NULL DEFAULT ''",
    "ALTER TABLE experiment_launch ADD COLUMN origin TEXT NOT NULL DEFAULT ''",
)

# Verdicts that were given by a test that allows for one look: `compared` stands for cells, builds
# and seeds of both sides, `trials` counts those of a cell.
_LOOKS: Migration = (
    """CREATE TABLE look (
        id INTEGER PRIMARY KEY,
        compared TEXT NOT NULL,
        trials INTEGER NOT NULL,
        max_drop REAL NOT NULL,
        verdict TEXT NOT NULL,
        at REAL NOT NULL
    )""",
    "CREATE INDEX look_compared ON look (compared)",
)

MIGRATIONS: tuple[Migration, ...] = (
    _FIRST,
    _CELLS,
    _TURNS,
    _UNTIL,
    _CELL_CHECKS,
    _USAGE,
    _ORIGIN,
    _LOOKS,
)
