//! Keeping the lease: as on Postgres, in one immediate transaction.

use async_trait::async_trait;
use sqlx::{Row as _, SqlitePool};
use uuid::Uuid;

use super::{decode, json, now, row_columns};
use crate::error::{Doing, Error};
use crate::relay::row::Shared;
use crate::store::{BLOCKED_MAX, Holding, Keeper, Lessee, REPLAYS_MAX, share};

/// Again with the same id: the answer to the first was lost.
const REGISTER: &str = concat!(
    "INSERT INTO outbox_relay (id, name, fencing, lease_until) VALUES (?1, ?2, ?3, ",
    now!(),
    " + ?4) ON CONFLICT (id) DO UPDATE SET lease_until = excluded.lease_until \
     WHERE outbox_relay.lease_until > ",
    now!()
);

const RENEW: &str = concat!(
    "UPDATE outbox_relay SET lease_until = ",
    now!(),
    " + ?4 WHERE id = ?1 AND ?2 IS NOT NULL AND ?3 IS NOT NULL AND lease_until > ",
    now!()
);

const CLAIM: &str = "\
UPDATE outbox_slot SET owner = ?1, epoch = epoch + 1 \
WHERE (owner IS NULL OR owner NOT IN (SELECT id FROM outbox_relay)) AND slot / ?3 IN \
(SELECT slot / ?3 FROM outbox_slot WHERE slot % ?3 = 0 \
AND (owner IS NULL OR owner NOT IN (SELECT id FROM outbox_relay)) ORDER BY slot LIMIT ?2)";

#[derive(Debug)]
pub(super) struct SqliteKeeper {
    pool: SqlitePool,
}

impl SqliteKeeper {
    pub(super) fn new(pool: SqlitePool) -> Self {
        Self { pool }
    }
}

#[async_trait]
impl Keeper for SqliteKeeper {
    async fn keep(&mut self, me: &Lessee, first: bool) -> Result<Option<Holding>, Error> {
        let mut tx = self
            .pool
            .begin_with("BEGIN IMMEDIATE")
            .await
            .doing("beginning to renew the lease")?;
        let done = sqlx::query(if first { REGISTER } else { RENEW })
            .bind(me.id)
            .bind(&me.name)
            .bind(me.fencing)
            .bind(me.ttl.as_millis() as i64)
            .execute(&mut *tx)
            .await
            .doing("renewing the lease")?;
        if done.rows_affected() != 1 {
            return Ok(None);
        }
        sqlx::query(concat!(
            "DELETE FROM outbox_relay WHERE lease_until <= ",
            now!()
        ))
        .execute(&mut *tx)
        .await
        .doing("ending expired leases")?;
        let counts = sqlx::query(
            "SELECT (SELECT count(*) FROM outbox_relay), \
             (SELECT count(*) FROM outbox_slot WHERE owner = ?1)",
        )
        .bind(me.id)
        .fetch_one(&mut *tx)
        .await
        .doing("counting relays")?;
        let (relays, held): (u32, i64) = (counts.get(0), counts.get(1));
        let missing = i64::from(share(relays, me.unit)) - held / i64::from(me.unit);
        if missing > 0 {
            sqlx::query(CLAIM)
                .bind(me.id)
                .bind(missing)
                .bind(me.unit)
                .execute(&mut *tx)
                .await
                .doing("taking slots")?;
        }
        let mine =
            sqlx::query("SELECT slot, epoch FROM outbox_slot WHERE owner = ?1 ORDER BY slot")
                .bind(me.id)
                .fetch_all(&mut *tx)
                .await
                .doing("reading the own slots")?;
        let slots: Vec<(u8, i64)> = mine.iter().map(|row| (row.get(0), row.get(1))).collect();
        let numbers = json(&slots.iter().map(|(slot, _)| *slot).collect::<Vec<_>>());
        let blocked = sqlx::query(
            "SELECT DISTINCT aggregatetype, aggregateid FROM outbox_dead \
             WHERE blocks AND slot IN (SELECT value FROM json_each(?1)) LIMIT ?2",
        )
        .bind(&numbers)
        .bind(BLOCKED_MAX)
        .fetch_all(&mut *tx)
        .await
        .doing("reading blocked keys")?;
        let replays = sqlx::query(concat!(
            "SELECT ",
            row_columns!(),
            " FROM outbox_dead WHERE replay AND slot IN (SELECT value FROM json_each(?1)) \
             ORDER BY seq LIMIT ?2"
        ))
        .bind(&numbers)
        .bind(REPLAYS_MAX)
        .fetch_all(&mut *tx)
        .await
        .doing("reading replays")?;
        tx.commit().await.doing("renewing the lease")?;
        let mut shared = Shared::default();
        let mut rows = Vec::with_capacity(replays.len());
        for row in &replays {
            let mut row = decode(row, 0, &mut shared).doing("decoding a dead row")?;
            row.replayed = true;
            rows.push(row);
        }
        Ok(Some(Holding {
            slots,
            relays: relays.max(1),
            blocked: blocked.iter().map(|row| (row.get(0), row.get(1))).collect(),
            replays: rows,
        }))
    }

    async fn release(&mut self, owner: Uuid, slots: &[u8]) -> Result<(), Error> {
        sqlx::query(
            "UPDATE outbox_slot SET owner = NULL \
             WHERE owner = ?1 AND slot IN (SELECT value FROM json_each(?2))",
        )
        .bind(owner)
        .bind(json(slots))
        .execute(&self.pool)
        .await
        .doing("giving slots back")?;
        Ok(())
    }

    async fn leave(&mut self, owner: Uuid) -> Result<(), Error> {
        let mut tx = self.pool.begin().await.doing("leaving")?;
        sqlx::query("UPDATE outbox_slot SET owner = NULL WHERE owner = ?1")
            .bind(owner)
            .execute(&mut *tx)
            .await
            .doing("leaving")?;
        sqlx::query("DELETE FROM outbox_relay WHERE id = ?1")
            .bind(owner)
            .execute(&mut *tx)
            .await
            .doing("leaving")?;
        tx.commit().await.doing("leaving")
    }
}
