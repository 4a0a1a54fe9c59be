-- Names of definitions and of groups of shards, so that rows carry four bytes.
CREATE TABLE saga_name (
    n    int GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name text COLLATE "C" NOT NULL UNIQUE
);

-- One row per process start. Times are microseconds since 1970, here and everywhere below.
CREATE TABLE saga_worker (
    worker      uuid PRIMARY KEY,
    lease_until bigint NOT NULL,
    definitions text NOT NULL
);

-- Who may write the sagas of a shard. A takeover raises the epoch.
CREATE TABLE saga_shard (
    grp   int NOT NULL,
    shard smallint NOT NULL,
    owner uuid,
    epoch bigint NOT NULL DEFAULT 0,
    PRIMARY KEY (grp, shard)
) WITH (fillfactor = 50);

-- Arbitrates starts, and outlives the saga.
CREATE TABLE saga_key (
    definition int NOT NULL,
    id         text COLLATE "C" NOT NULL,
    saga       uuid NOT NULL UNIQUE,
    input_hash bytea NOT NULL,
    PRIMARY KEY (definition, id)
);

-- A running saga. No indexed column changes while its steps run, so that updates stay HOT.
CREATE TABLE saga (
    saga       uuid PRIMARY KEY,
    ctl        bigint NOT NULL DEFAULT 0,
    wake_at    bigint,
    seq        int NOT NULL,
    grp        int NOT NULL,
    version    int NOT NULL,
    shard      smallint NOT NULL,
    state      smallint NOT NULL,
    crashes    smallint NOT NULL,
    past_pivot boolean NOT NULL,
    attention  boolean NOT NULL
) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.05);
CREATE INDEX saga_active ON saga (grp, shard, saga) WHERE wake_at IS NULL;
CREATE INDEX saga_due ON saga (grp, shard, wake_at) WHERE wake_at IS NOT NULL;

-- What happened, append-only.
CREATE TABLE saga_event (
    saga    uuid NOT NULL,
    seq     int NOT NULL,
    kind    smallint NOT NULL,
    node    smallint NOT NULL,
    at      bigint NOT NULL,
    payload bytea,
    facts   text,
    PRIMARY KEY (saga, seq)
);

-- A consumed signal stays until its saga is pruned, so that a repeat is known.
CREATE TABLE saga_signal (
    saga     uuid NOT NULL,
    name     text COLLATE "C" NOT NULL,
    dedupe   text COLLATE "C" NOT NULL,
    n        bigint GENERATED ALWAYS AS IDENTITY,
    consumed boolean NOT NULL DEFAULT false,
    payload  bytea NOT NULL,
    PRIMARY KEY (saga, name, dedupe)
);

-- Requests that the owner has not applied yet.
CREATE TABLE saga_command (
    saga   uuid NOT NULL,
    n      bigint NOT NULL,
    verb   text NOT NULL,
    who    text NOT NULL,
    reason text NOT NULL,
    body   text,
    PRIMARY KEY (saga, n)
);

CREATE FUNCTION saga_now() RETURNS bigint LANGUAGE sql VOLATILE
    AS $$ SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint $$;

CREATE FUNCTION saga_assert(holds boolean) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    IF NOT holds THEN
        RAISE EXCEPTION 'a saga of the batch has moved' USING ERRCODE = 'SG001';
    END IF;
END $$;
