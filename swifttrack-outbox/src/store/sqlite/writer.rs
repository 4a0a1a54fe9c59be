//! Taking published rows away, and moving refused ones, on the one writing connection.

use async_trait::async_trait;
use sqlx::{Row as _, SqlitePool};
use uuid::Uuid;

use super::json;
use crate::error::{Doing, Error};
use crate::store::{Burial, Writer};

#[derive(Debug)]
pub(super) struct SqliteWriter {
    pool: SqlitePool,
}

impl SqliteWriter {
    pub(super) fn new(pool: SqlitePool) -> Self {
        Self { pool }
    }

    /// Those of the marker's rows that the statement finds.
    async fn marked(
        &self,
        sql: &'static str,
        seqs: &[i64],
        marker: &[(i64, u32)],
    ) -> Result<Vec<i64>, Error> {
        let found = sqlx::query(sql)
            .bind(json(seqs))
            .fetch_all(&self.pool)
            .await
            .doing("looking for marked rows")?;
        let there: Vec<(i64, Uuid)> = found.iter().map(|row| (row.get(0), row.get(1))).collect();
        Ok(crate::store::marked(marker, &there))
    }
}

#[async_trait]
impl Writer for SqliteWriter {
    async fn delete(&mut self, seqs: &[i64]) -> Result<(), Error> {
        sqlx::query("DELETE FROM outbox WHERE seq IN (SELECT value FROM json_each(?1))")
            .bind(json(seqs))
            .execute(&self.pool)
            .await
            .doing("deleting published rows")?;
        Ok(())
    }

    async fn delete_dead(&mut self, seqs: &[i64]) -> Result<(), Error> {
        sqlx::query("DELETE FROM outbox_dead WHERE seq IN (SELECT value FROM json_each(?1))")
            .bind(json(seqs))
            .execute(&self.pool)
            .await
            .doing("deleting replayed rows")?;
        Ok(())
    }

    async fn delete_marked(&mut self, rows: &[(i64, u32)]) -> Result<(), Error> {
        let seqs: Vec<i64> = rows.iter().map(|(seq, _)| *seq).collect();
        // A dead row that was published again: it is in the marker only if it was.
        let dead = "SELECT seq, id FROM outbox_dead \
                    WHERE replay AND seq IN (SELECT value FROM json_each(?1))";
        let dead = self.marked(dead, &seqs, rows).await?;
        if !dead.is_empty() {
            self.delete_dead(&dead).await?;
        }
        let published = "SELECT seq, id FROM outbox WHERE seq IN (SELECT value FROM json_each(?1))";
        let published = self.marked(published, &seqs, rows).await?;
        self.delete(&published).await
    }

    async fn bury(&mut self, owner: Uuid, burial: &Burial) -> Result<bool, Error> {
        let mut tx = self
            .pool
            .begin_with("BEGIN IMMEDIATE")
            .await
            .doing("beginning to move a refused row")?;
        let mine: bool = sqlx::query_scalar(
            "SELECT EXISTS (SELECT 1 FROM outbox_slot WHERE slot = ?1 AND owner = ?2 AND epoch = ?3)",
        )
        .bind(burial.slot)
        .bind(owner)
        .bind(burial.epoch)
        .fetch_one(&mut *tx)
        .await
        .doing("checking the epoch")?;
        if mine {
            sqlx::query(
                "INSERT INTO outbox_dead (seq, id, aggregatetype, aggregateid, type, payload, \
                 headers, tracingspancontext, slot, created_at, reason, blocks) \
                 SELECT seq, id, aggregatetype, aggregateid, type, payload, headers, \
                 tracingspancontext, slot, created_at, ?2, ?3 FROM outbox WHERE seq = ?1",
            )
            .bind(burial.seq)
            .bind(&burial.reason)
            .bind(burial.blocks)
            .execute(&mut *tx)
            .await
            .doing("moving a refused row")?;
            sqlx::query("DELETE FROM outbox WHERE seq = ?1")
                .bind(burial.seq)
                .execute(&mut *tx)
                .await
                .doing("moving a refused row")?;
            sqlx::query("UPDATE outbox_dead SET replay = 0, reason = ?2 WHERE seq = ?1 AND replay")
                .bind(burial.seq)
                .bind(&burial.reason)
                .execute(&mut *tx)
                .await
                .doing("ending a replay")?;
        }
        tx.commit().await.doing("moving a refused row")?;
        Ok(mine)
    }
}
