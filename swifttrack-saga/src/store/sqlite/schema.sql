-- Names of definitions and of groups of shards, so that rows carry a small number.
CREATE TABLE saga_name (n INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE);

-- One row per process start. Times are microseconds since 1970, here and everywhere below.
CREATE TABLE saga_worker (
    worker      BLOB PRIMARY KEY,
    lease_until INTEGER NOT NULL,
    definitions TEXT NOT NULL
) WITHOUT ROWID;

-- Who may write the sagas of a shard. A takeover raises the epoch.
CREATE TABLE saga_shard (
    grp   INTEGER NOT NULL,
    shard INTEGER NOT NULL,
    owner BLOB,
    epoch INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (grp, shard)
) WITHOUT ROWID;

-- Arbitrates starts, and outlives the saga.
CREATE TABLE saga_key (
    definition INTEGER NOT NULL,
    id         TEXT NOT NULL,
    saga       BLOB NOT NULL UNIQUE,
    input_hash BLOB NOT NULL,
    PRIMARY KEY (definition, id)
) WITHOUT ROWID;

-- A running saga.
CREATE TABLE saga (
    saga       BLOB PRIMARY KEY,
    ctl        INTEGER NOT NULL DEFAULT 0,
    wake_at    INTEGER,
    seq        INTEGER NOT NULL,
    grp        INTEGER NOT NULL,
    version    INTEGER NOT NULL,
    shard      INTEGER NOT NULL,
    state      INTEGER NOT NULL,
    crashes    INTEGER NOT NULL,
    past_pivot INTEGER NOT NULL,
    attention  INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX saga_active ON saga (grp, shard, saga) WHERE wake_at IS NULL;
-- One process has all shards, so what is due is found by time, whatever the number of shards.
CREATE INDEX saga_due ON saga (wake_at, grp, shard) WHERE wake_at IS NOT NULL;

-- What happened, append-only.
CREATE TABLE saga_event (
    saga    BLOB NOT NULL,
    seq     INTEGER NOT NULL,
    kind    INTEGER NOT NULL,
    node    INTEGER NOT NULL,
    at      INTEGER NOT NULL,
    payload BLOB,
    facts   TEXT,
    PRIMARY KEY (saga, seq)
) WITHOUT ROWID;

-- A consumed signal stays until its saga is pruned, so that a repeat is known.
CREATE TABLE saga_signal (
    n        INTEGER PRIMARY KEY AUTOINCREMENT,
    saga     BLOB NOT NULL,
    name     TEXT NOT NULL,
    dedupe   TEXT NOT NULL,
    consumed INTEGER NOT NULL DEFAULT 0,
    payload  BLOB NOT NULL,
    UNIQUE (saga, name, dedupe)
);

-- Requests that the owner has not applied yet.
CREATE TABLE saga_command (
    saga   BLOB NOT NULL,
    n      INTEGER NOT NULL,
    verb   TEXT NOT NULL,
    who    TEXT NOT NULL,
    reason TEXT NOT NULL,
    body   TEXT,
    PRIMARY KEY (saga, n)
) WITHOUT ROWID;
