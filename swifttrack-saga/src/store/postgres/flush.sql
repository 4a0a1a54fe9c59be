WITH
f AS MATERIALIZED (
    SELECT FROM saga_shard s
    JOIN unnest($2::int[], $3::smallint[], $4::bigint[]) e (grp, shard, epoch)
      ON s.grp = e.grp AND s.shard = e.shard AND s.epoch = e.epoch
    WHERE s.owner = $1
    ORDER BY s.grp, s.shard
    FOR SHARE OF s
),
k AS (
    INSERT INTO saga_key (definition, id, saga, input_hash)
    SELECT unnest($5::int[]), unnest($6::text[]), unnest($7::uuid[]), unnest($8::bytea[])
),
c AS (
    INSERT INTO saga (saga, wake_at, seq, grp, version, shard, state, crashes, past_pivot, attention)
    SELECT unnest($9::uuid[]), unnest($10::bigint[]), unnest($11::int[]), unnest($12::int[]),
        unnest($13::int[]), unnest($14::smallint[]), unnest($15::smallint[]),
        unnest($16::smallint[]), unnest($17::boolean[]), unnest($18::boolean[])
),
u AS (
    UPDATE saga x
    SET seq = r.seq, wake_at = r.wake_at, state = r.state, crashes = r.crashes,
        past_pivot = r.past_pivot, attention = r.attention
    FROM (
        SELECT unnest($19::uuid[]) AS saga, unnest($20::int[]) AS grp, unnest($21::smallint[]) AS shard,
        unnest($22::int[]) AS expect, unnest($23::bigint[]) AS ctl, unnest($24::int[]) AS seq,
        unnest($25::bigint[]) AS wake_at, unnest($26::smallint[]) AS state,
        unnest($27::smallint[]) AS crashes, unnest($28::boolean[]) AS past_pivot,
        unnest($29::boolean[]) AS attention
    ) r
    WHERE x.saga = r.saga AND x.seq = r.expect AND x.ctl = r.ctl
      AND x.grp = r.grp AND x.shard = r.shard
    RETURNING 1
),
d AS (
    DELETE FROM saga x
    USING (
        SELECT unnest($30::uuid[]) AS saga, unnest($31::int[]) AS grp, unnest($32::smallint[]) AS shard,
        unnest($33::int[]) AS expect, unnest($34::bigint[]) AS ctl
    ) r
    WHERE x.saga = r.saga AND x.seq = r.expect AND x.ctl = r.ctl
      AND x.grp = r.grp AND x.shard = r.shard
    RETURNING 1
),
e AS (
    INSERT INTO saga_event (saga, seq, kind, node, at, payload, facts)
    SELECT unnest($35::uuid[]), unnest($36::int[]), unnest($37::smallint[]), unnest($38::smallint[]),
        unnest($39::bigint[]), unnest($40::bytea[]), unnest($41::text[])
)
SELECT saga_assert(
    (SELECT count(*) FROM f) = cardinality($2)
    AND (SELECT count(*) FROM u) = cardinality($19)
    AND (SELECT count(*) FROM d) = cardinality($30))
