//! What a flush says to the database: one statement a table when the losers are to be named,
//! and all of them in one when everybody is taken to win.
//!
//! Arrays are taken apart in lists of columns, which goes row by row; in `FROM` each column becomes
//! a table of its own first, which takes nearly three times as long.

use std::sync::LazyLock;

macro_rules! keys {
    () => {
        "
    INSERT INTO saga_key (definition, id, saga, input_hash)
    SELECT unnest($1::int[]), unnest($2::text[]), unnest($3::uuid[]), unnest($4::bytea[])"
    };
}

pub(super) const FENCE: &str = "
    SELECT s.grp, s.shard, s.epoch FROM saga_shard s
    JOIN (SELECT unnest($1::int[]) AS grp, unnest($2::smallint[]) AS shard,
        unnest($3::bigint[]) AS epoch) e
      ON s.grp = e.grp AND s.shard = e.shard AND s.epoch = e.epoch
    WHERE s.owner = $4
    ORDER BY s.grp, s.shard
    FOR SHARE OF s";

pub(super) const UPDATE: &str = "
    UPDATE saga x
    SET seq = r.seq, wake_at = r.wake_at, state = r.state, crashes = r.crashes,
        past_pivot = r.past_pivot, attention = r.attention
    FROM (SELECT unnest($1::uuid[]) AS saga, unnest($2::int[]) AS grp, unnest($3::smallint[]) AS shard,
        unnest($4::int[]) AS expect, unnest($5::bigint[]) AS ctl, unnest($6::int[]) AS seq,
        unnest($7::bigint[]) AS wake_at, unnest($8::smallint[]) AS state,
        unnest($9::smallint[]) AS crashes, unnest($10::boolean[]) AS past_pivot,
        unnest($11::boolean[]) AS attention) r
    WHERE x.saga = r.saga AND x.seq = r.expect AND x.ctl = r.ctl
      AND x.grp = r.grp AND x.shard = r.shard
    RETURNING x.saga";

pub(super) const DELETE: &str = "
    DELETE FROM saga x
    USING (SELECT unnest($1::uuid[]) AS saga, unnest($2::int[]) AS grp, unnest($3::smallint[]) AS shard,
        unnest($4::int[]) AS expect, unnest($5::bigint[]) AS ctl) r
    WHERE x.saga = r.saga AND x.seq = r.expect AND x.ctl = r.ctl
      AND x.grp = r.grp AND x.shard = r.shard
    RETURNING x.saga";

/// No id twice in a batch survives this: the second conflicts with the first.
pub(super) const TAKE_KEYS: &str = concat!(
    keys!(),
    "
    ON CONFLICT DO NOTHING
    RETURNING saga"
);

pub(super) const READ_KEYS: &str = "
    SELECT r.saga, k.saga, k.input_hash = r.input_hash
    FROM unnest($1::int[], $2::text[], $3::uuid[], $4::bytea[])
        r (definition, id, saga, input_hash)
    JOIN saga_key k ON k.definition = r.definition AND k.id = r.id";

pub(super) const CREATE: &str = "
    INSERT INTO saga (saga, wake_at, seq, grp, version, shard, state, crashes,
        past_pivot, attention)
    SELECT unnest($1::uuid[]), unnest($2::bigint[]), unnest($3::int[]), unnest($4::int[]),
        unnest($5::int[]), unnest($6::smallint[]), unnest($7::smallint[]), unnest($8::smallint[]),
        unnest($9::boolean[]), unnest($10::boolean[])";

pub(super) const EVENTS: &str = "
    INSERT INTO saga_event (saga, seq, kind, node, at, payload, facts)
    SELECT unnest($1::uuid[]), unnest($2::int[]), unnest($3::smallint[]), unnest($4::smallint[]),
        unnest($5::bigint[]), unnest($6::bytea[]), unnest($7::text[])";

/// What there is in a batch. Under load there is everything; alone, a saga starts, goes on or
/// ends, and what is not said need not be set up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Parts {
    pub(super) updates: bool,
    pub(super) deletes: bool,
    pub(super) starts: bool,
    /// Each table gets one row: arrays need not be taken apart, nor joined.
    pub(super) single: bool,
}

impl Parts {
    const ALL: usize = 16;

    fn at(place: usize) -> Self {
        Self {
            updates: place & 1 != 0,
            deletes: place & 2 != 0,
            starts: place & 4 != 0,
            single: place & 8 != 0,
        }
    }

    #[cfg(test)]
    pub(super) fn all() -> impl Iterator<Item = Self> {
        (0..Self::ALL).map(Self::at)
    }

    /// One round trip: everything, or an error if one of them moved. Its parameters are the
    /// fence's, the worker, and those of the parts in the order in which they stand here.
    pub(super) fn assert(self) -> &'static str {
        static ALL: LazyLock<[String; Parts::ALL]> =
            LazyLock::new(|| std::array::from_fn(|place| Parts::at(place).compose()));
        let place = usize::from(self.updates)
            | usize::from(self.deletes) << 1
            | usize::from(self.starts) << 2
            | usize::from(self.single) << 3;
        &ALL[place]
    }

    fn compose(self) -> String {
        let parts = [
            (true, "f AS MATERIALIZED", FENCE),
            (self.updates, "u AS", UPDATE),
            (self.deletes, "d AS", DELETE),
            (self.starts, "k AS", keys!()),
            (self.starts, "c AS", CREATE),
            (true, "e AS", EVENTS),
        ];
        let mut taken = 0;
        let (mut all, mut counts) = (Vec::new(), Vec::new());
        for (_, name, sql) in parts.into_iter().filter(|(there, ..)| *there) {
            if let Some(table @ ("f" | "u" | "d")) = name.get(..1) {
                let first = taken + 1;
                counts.push(format!(
                    "(SELECT count(*) FROM {table}) = cardinality(${first})"
                ));
            }
            let (mut sql, last) = numbered_after(taken, sql);
            taken = last;
            if self.single {
                sql = first_only(&sql);
            }
            all.push(format!("{name} ({sql})"));
        }
        let (all, counts) = (all.join(",\n"), counts.join("\n    AND "));
        format!("WITH {all}\nSELECT saga_assert(\n    {counts})")
    }
}

/// `sql` with its parameters behind so many others, and the number of the last.
fn numbered_after(taken: usize, sql: &str) -> (String, usize) {
    let mut pieces = sql.split('$');
    let mut numbered = pieces.next().unwrap_or_default().to_owned();
    let mut last = taken;
    for piece in pieces {
        let rest = piece.trim_start_matches(|c: char| c.is_ascii_digit());
        let digits = &piece[..piece.len() - rest.len()];
        let number = taken + digits.parse::<usize>().expect("a parameter has a number");
        last = last.max(number);
        numbered.push_str(&format!("${number}{rest}"));
    }
    (numbered, last)
}

/// `sql` with the first element of each array where its elements were.
fn first_only(sql: &str) -> String {
    let mut pieces = sql.split("unnest(");
    let mut first = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        let (array, rest) = piece.split_once(')').expect("a list of columns");
        first.push_str(&format!("({array})[1]{rest}"));
    }
    first
}
