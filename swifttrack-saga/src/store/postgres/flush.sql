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
    SELECT * FROM unnest($5::int[], $6::text[], $7::uuid[], $8::bytea[])
),
c AS (
    INSERT INTO saga (saga, wake_at, seq, grp, version, shard, state, crashes, past_pivot, attention)
    SELECT * FROM unnest($9::uuid[], $10::bigint[], $11::int[], $12::int[], $13::int[], $14::smallint[],
        $15::smallint[], $16::smallint[], $17::boolean[], $18::boolean[])
),
u AS (
    UPDATE saga x
    SET seq = r.seq, wake_at = r.wake_at, state = r.state, crashes = r.crashes,
        past_pivot = r.past_pivot, attention = r.attention
    FROM unnest($19::uuid[], $20::int[], $21::smallint[], $22::int[], $23::bigint[], $24::int[], $25::bigint[],
        $26::smallint[], $27::smallint[], $28::boolean[], $29::boolean[])
        r (saga, grp, shard, expect, ctl, seq, wake_at, state, crashes, past_pivot, attention)
    WHERE x.saga = r.saga AND x.seq = r.expect AND x.ctl = r.ctl
      AND x.grp = r.grp AND x.shard = r.shard
    RETURNING 1
),
d AS (
    DELETE FROM saga x
    USING unnest($30::uuid[], $31::int[], $32::smallint[], $33::int[], $34::bigint[])
        r (saga, grp, shard, expect, ctl)
    WHERE x.saga = r.saga AND x.seq = r.expect AND x.ctl = r.ctl
      AND x.grp = r.grp AND x.shard = r.shard
    RETURNING 1
),
e AS (
    INSERT INTO saga_event (saga, seq, kind, node, at, payload, facts)
    SELECT * FROM unnest($35::uuid[], $36::int[], $37::smallint[], $38::smallint[], $39::bigint[],
        $40::bytea[], $41::text[])
)
SELECT saga_assert(
    (SELECT count(*) FROM f) = cardinality($2)
    AND (SELECT count(*) FROM u) = cardinality($19)
    AND (SELECT count(*) FROM d) = cardinality($30))
