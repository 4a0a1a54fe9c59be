-- AUTOINCREMENT: without it an emptied table would give a number out again.
CREATE TABLE outbox (
  seq INTEGER PRIMARY KEY AUTOINCREMENT,
  id BLOB NOT NULL,
  aggregatetype TEXT NOT NULL,
  aggregateid TEXT NOT NULL,
  type TEXT NOT NULL,
  payload BLOB,
  headers TEXT,
  tracingspancontext TEXT,
  slot INTEGER NOT NULL CHECK (slot BETWEEN 0 AND 63),
  created_at INTEGER NOT NULL DEFAULT (CAST(unixepoch('subsec') * 1000 AS INTEGER))
);

CREATE TABLE outbox_relay (
  id BLOB PRIMARY KEY,
  name TEXT NOT NULL,
  fencing TEXT NOT NULL,
  lease_until INTEGER NOT NULL,
  started_at INTEGER NOT NULL DEFAULT (CAST(unixepoch('subsec') * 1000 AS INTEGER))
);

CREATE TABLE outbox_slot (
  slot INTEGER PRIMARY KEY CHECK (slot BETWEEN 0 AND 63),
  owner BLOB,
  epoch INTEGER NOT NULL DEFAULT 0
);
INSERT INTO outbox_slot (slot)
  WITH RECURSIVE n(slot) AS (SELECT 0 UNION ALL SELECT slot + 1 FROM n WHERE slot < 63)
  SELECT slot FROM n;

CREATE TABLE outbox_identity (
  only_one INTEGER PRIMARY KEY DEFAULT 1 CHECK (only_one = 1),
  id BLOB NOT NULL DEFAULT (randomblob(16))
);
INSERT INTO outbox_identity DEFAULT VALUES;

CREATE TABLE outbox_dead (
  seq INTEGER PRIMARY KEY,
  id BLOB NOT NULL,
  aggregatetype TEXT NOT NULL,
  aggregateid TEXT NOT NULL,
  type TEXT NOT NULL,
  payload BLOB,
  headers TEXT,
  tracingspancontext TEXT,
  slot INTEGER NOT NULL,
  created_at INTEGER NOT NULL,
  reason TEXT NOT NULL,
  blocks INTEGER NOT NULL,
  replay INTEGER NOT NULL DEFAULT 0,
  died_at INTEGER NOT NULL DEFAULT (CAST(unixepoch('subsec') * 1000 AS INTEGER))
);
CREATE INDEX outbox_dead_blocks ON outbox_dead (aggregatetype, aggregateid) WHERE blocks;
-- Asked for at each heartbeat, and mostly empty.
CREATE INDEX outbox_dead_replay ON outbox_dead (seq) WHERE replay;

CREATE TABLE outbox_key (
  key TEXT PRIMARY KEY,
  at INTEGER NOT NULL DEFAULT (CAST(unixepoch('subsec') * 1000 AS INTEGER))
);
CREATE INDEX outbox_key_at ON outbox_key (at);

CREATE TABLE inbox (
  consumer TEXT NOT NULL,
  id BLOB NOT NULL,
  at INTEGER NOT NULL DEFAULT (CAST(unixepoch('subsec') * 1000 AS INTEGER)),
  PRIMARY KEY (consumer, id)
) WITHOUT ROWID;
CREATE INDEX inbox_at ON inbox (at);

CREATE TABLE inbox_offset (
  consumer TEXT NOT NULL,
  cluster TEXT NOT NULL,
  topic TEXT NOT NULL,
  partition INTEGER NOT NULL,
  next INTEGER NOT NULL,
  PRIMARY KEY (consumer, topic, partition)
) WITHOUT ROWID;

CREATE TABLE inbox_dead (
  consumer TEXT NOT NULL,
  topic TEXT NOT NULL,
  partition INTEGER NOT NULL,
  position INTEGER NOT NULL,
  id BLOB,
  key BLOB,
  payload BLOB,
  headers TEXT,
  reason TEXT NOT NULL,
  at INTEGER NOT NULL DEFAULT (CAST(unixepoch('subsec') * 1000 AS INTEGER)),
  PRIMARY KEY (consumer, topic, partition, position)
) WITHOUT ROWID;
