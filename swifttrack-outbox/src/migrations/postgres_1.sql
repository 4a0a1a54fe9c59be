-- Debezium's outbox columns (id, aggregatetype, aggregateid, type, payload), and ours.
-- Rows are inserted and deleted, never updated: Debezium warns at each UPDATE, and a switch
-- from polling to CDC needs no change of the table.
CREATE TABLE outbox (
  seq bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  id uuid NOT NULL,
  aggregatetype varchar(255) NOT NULL,
  aggregateid varchar(255) NOT NULL,
  type varchar(255) NOT NULL,
  payload bytea,
  headers jsonb,
  tracingspancontext varchar(256),
  slot smallint NOT NULL CHECK (slot BETWEEN 0 AND 63),
  xid xid8 NOT NULL DEFAULT pg_current_xact_id(),
  created_at timestamp NOT NULL DEFAULT (clock_timestamp() AT TIME ZONE 'utc')
);
CREATE INDEX outbox_xid ON outbox (xid);

-- A queue lives from its dead rows being taken away soon, and not in proportion to its size.
ALTER TABLE outbox SET (
  autovacuum_vacuum_scale_factor = 0,
  autovacuum_vacuum_threshold = 5000,
  autovacuum_vacuum_insert_scale_factor = 0,
  autovacuum_vacuum_insert_threshold = 50000,
  autovacuum_analyze_scale_factor = 0,
  autovacuum_analyze_threshold = 50000,
  autovacuum_vacuum_cost_delay = 0
);

-- One row for each life of a relay's lease. A row that expired is deleted, never renewed.
CREATE TABLE outbox_relay (
  id uuid PRIMARY KEY,
  name varchar(255) NOT NULL,
  fencing varchar(32) NOT NULL,
  lease_until timestamptz NOT NULL,
  started_at timestamptz NOT NULL DEFAULT clock_timestamp()
) WITH (fillfactor = 50);

CREATE TABLE outbox_slot (
  slot smallint PRIMARY KEY CHECK (slot BETWEEN 0 AND 63),
  owner uuid,
  epoch bigint NOT NULL DEFAULT 0
) WITH (fillfactor = 50);
INSERT INTO outbox_slot (slot) SELECT generate_series(0, 63);

-- Which outbox this is: part of the transactional ids, so that two databases never share one.
CREATE TABLE outbox_identity (
  only_one boolean PRIMARY KEY DEFAULT true CHECK (only_one),
  id uuid NOT NULL DEFAULT gen_random_uuid()
);
INSERT INTO outbox_identity DEFAULT VALUES;

-- Rows that the broker refused for themselves. `blocks`: later rows of the key wait.
CREATE TABLE outbox_dead (
  seq bigint PRIMARY KEY,
  id uuid NOT NULL,
  aggregatetype varchar(255) NOT NULL,
  aggregateid varchar(255) NOT NULL,
  type varchar(255) NOT NULL,
  payload bytea,
  headers jsonb,
  tracingspancontext varchar(256),
  slot smallint NOT NULL,
  created_at timestamp NOT NULL,
  reason text NOT NULL,
  blocks boolean NOT NULL,
  replay boolean NOT NULL DEFAULT false,
  died_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX outbox_dead_blocks ON outbox_dead (aggregatetype, aggregateid) WHERE blocks;
-- Asked for at each heartbeat, and mostly empty.
CREATE INDEX outbox_dead_replay ON outbox_dead (seq) WHERE replay;

CREATE TABLE outbox_key (
  key varchar(255) PRIMARY KEY,
  at timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX outbox_key_at ON outbox_key (at);

-- The consumer's side.
CREATE TABLE inbox (
  consumer varchar(255) NOT NULL,
  id uuid NOT NULL,
  at timestamptz NOT NULL DEFAULT clock_timestamp(),
  PRIMARY KEY (consumer, id)
);
CREATE INDEX inbox_at ON inbox (at);

CREATE TABLE inbox_offset (
  consumer varchar(255) NOT NULL,
  cluster varchar(255) NOT NULL,
  topic varchar(255) NOT NULL,
  partition int NOT NULL,
  next bigint NOT NULL,
  PRIMARY KEY (consumer, topic, partition)
) WITH (fillfactor = 50);

CREATE TABLE inbox_dead (
  consumer varchar(255) NOT NULL,
  topic varchar(255) NOT NULL,
  partition int NOT NULL,
  position bigint NOT NULL,
  id uuid,
  key bytea,
  payload bytea,
  headers jsonb,
  reason text NOT NULL,
  at timestamptz NOT NULL DEFAULT clock_timestamp(),
  PRIMARY KEY (consumer, topic, partition, position)
);
