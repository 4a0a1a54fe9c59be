//! Keeping the lease.
//!
//! A relay's life is one row of `outbox_relay`; its slots name it as their owner. A life that
//! expired is deleted before anything of it is taken over, under the row's lock, so a late
//! heartbeat and a takeover cannot both succeed. A life that is gone never comes back: ids are
//! not used again, which is what makes the takeover safe against rereads under READ COMMITTED.

use async_trait::async_trait;
use sqlx::{PgConnection, Row as _};
use uuid::Uuid;

use super::{decode, row_columns, smallints};
use crate::error::{Doing, Error};
use crate::relay::row::Shared;
use crate::store::{BLOCKED_MAX, Holding, Keeper, Lessee, REPLAYS_MAX, share};

/// Again with the same id: the answer to the first was lost.
const REGISTER: &str = "\
INSERT INTO outbox_relay (id, name, fencing, lease_until) \
VALUES ($1, $2, $3, clock_timestamp() + $4 * interval '1 millisecond') \
ON CONFLICT (id) DO UPDATE SET lease_until = excluded.lease_until \
WHERE outbox_relay.lease_until > clock_timestamp()";

const RENEW: &str = "\
UPDATE outbox_relay SET lease_until = clock_timestamp() + $2 * interval '1 millisecond' \
WHERE id = $1 AND lease_until > clock_timestamp()";

const BURY_RELAYS: &str = "\
DELETE FROM outbox_relay WHERE lease_until <= clock_timestamp() AND id IN \
(SELECT id FROM outbox_relay WHERE lease_until <= clock_timestamp() FOR UPDATE SKIP LOCKED)";

const ORPHANS: &str = "\
SELECT DISTINCT owner FROM outbox_slot s WHERE owner IS NOT NULL \
AND NOT EXISTS (SELECT 1 FROM outbox_relay r WHERE r.id = s.owner)";

const COUNT: &str = "\
SELECT (SELECT count(*) FROM outbox_relay WHERE lease_until > clock_timestamp()), \
(SELECT count(*) FROM outbox_slot WHERE owner = $1)";

/// SKIP LOCKED over slots, never over rows of the outbox.
const CLAIM: &str = "\
UPDATE outbox_slot SET owner = $1, epoch = epoch + 1 \
WHERE (owner IS NULL OR owner = ANY($2)) AND slot / $4 IN \
(SELECT slot / $4 FROM outbox_slot WHERE slot % $4 = 0 AND (owner IS NULL OR owner = ANY($2)) \
ORDER BY slot LIMIT $3 FOR UPDATE SKIP LOCKED)";

const MINE: &str = "SELECT slot, epoch FROM outbox_slot WHERE owner = $1 ORDER BY slot";

pub(super) const BLOCKED: &str = "\
SELECT DISTINCT aggregatetype, aggregateid FROM outbox_dead \
WHERE blocks AND slot = ANY($1) LIMIT $2";

pub(super) const REPLAYS: &str = concat!(
    "SELECT ",
    row_columns!(),
    " FROM outbox_dead WHERE replay AND slot = ANY($1) ORDER BY seq LIMIT $2"
);

#[derive(Debug)]
pub(super) struct PostgresKeeper {
    conn: PgConnection,
}

impl PostgresKeeper {
    pub(super) fn new(conn: PgConnection) -> Self {
        Self { conn }
    }

    async fn renew(&mut self, me: &Lessee, first: bool) -> Result<bool, Error> {
        let ttl = me.ttl.as_millis() as i64;
        let query = if first {
            sqlx::query(REGISTER)
                .bind(me.id)
                .bind(&me.name)
                .bind(me.fencing)
                .bind(ttl)
        } else {
            sqlx::query(RENEW).bind(me.id).bind(ttl)
        };
        let done = query
            .execute(&mut self.conn)
            .await
            .doing("renewing the lease")?;
        Ok(done.rows_affected() == 1)
    }
}

#[async_trait]
impl Keeper for PostgresKeeper {
    async fn keep(&mut self, me: &Lessee, first: bool) -> Result<Option<Holding>, Error> {
        if !self.renew(me, first).await? {
            return Ok(None);
        }
        sqlx::query(BURY_RELAYS)
            .execute(&mut self.conn)
            .await
            .doing("ending expired leases")?;
        let orphans: Vec<Uuid> = sqlx::query_scalar(ORPHANS)
            .fetch_all(&mut self.conn)
            .await
            .doing("looking for free slots")?;
        let counts = sqlx::query(COUNT)
            .bind(me.id)
            .fetch_one(&mut self.conn)
            .await
            .doing("counting relays")?;
        let (relays, held): (i64, i64) = (counts.get(0), counts.get(1));
        let relays = relays.clamp(1, i64::from(u32::MAX)) as u32;
        let missing = i64::from(share(relays, me.unit)) - held / i64::from(me.unit);
        if missing > 0 {
            sqlx::query(CLAIM)
                .bind(me.id)
                .bind(&orphans)
                .bind(missing)
                .bind(i16::from(me.unit))
                .execute(&mut self.conn)
                .await
                .doing("taking slots")?;
        }
        let mine = sqlx::query(MINE)
            .bind(me.id)
            .fetch_all(&mut self.conn)
            .await
            .doing("reading the own slots")?;
        let slots: Vec<(u8, i64)> = mine
            .iter()
            .map(|row| (row.get::<i16, _>(0) as u8, row.get(1)))
            .collect();
        let numbers = smallints(&slots.iter().map(|(slot, _)| *slot).collect::<Vec<_>>());
        let blocked = sqlx::query(BLOCKED)
            .bind(&numbers)
            .bind(BLOCKED_MAX)
            .fetch_all(&mut self.conn)
            .await
            .doing("reading blocked keys")?;
        let replays = sqlx::query(REPLAYS)
            .bind(&numbers)
            .bind(REPLAYS_MAX)
            .fetch_all(&mut self.conn)
            .await
            .doing("reading replays")?;
        let mut shared = Shared::default();
        let mut rows = Vec::with_capacity(replays.len());
        for row in &replays {
            let mut row = decode(row, 0, &mut shared).doing("decoding a dead row")?;
            row.replayed = true;
            rows.push(row);
        }
        Ok(Some(Holding {
            slots,
            relays,
            blocked: blocked.iter().map(|row| (row.get(0), row.get(1))).collect(),
            replays: rows,
        }))
    }

    async fn release(&mut self, owner: Uuid, slots: &[u8]) -> Result<(), Error> {
        sqlx::query("UPDATE outbox_slot SET owner = NULL WHERE owner = $1 AND slot = ANY($2)")
            .bind(owner)
            .bind(smallints(slots))
            .execute(&mut self.conn)
            .await
            .doing("giving slots back")?;
        Ok(())
    }

    async fn leave(&mut self, owner: Uuid) -> Result<(), Error> {
        sqlx::query(
            "WITH gone AS (DELETE FROM outbox_relay WHERE id = $1) \
             UPDATE outbox_slot SET owner = NULL WHERE owner = $1",
        )
        .bind(owner)
        .execute(&mut self.conn)
        .await
        .doing("leaving")?;
        Ok(())
    }
}
