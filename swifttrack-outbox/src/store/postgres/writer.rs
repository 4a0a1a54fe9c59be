//! Taking published rows away, and moving refused ones.

use async_trait::async_trait;
use sqlx::{PgConnection, Row as _};
use uuid::Uuid;

use crate::error::{Doing, Error};
use crate::store::{Burial, Writer};

pub(super) const DELETE: &str = "DELETE FROM outbox WHERE seq = ANY($1)";

const DELETE_DEAD: &str = "DELETE FROM outbox_dead WHERE seq = ANY($1)";

pub(super) const MARKED: &str = "SELECT seq, id FROM outbox WHERE seq = ANY($1)";

/// A dead row that was published again: it is in the marker only if it was.
const MARKED_DEAD: &str = "SELECT seq, id FROM outbox_dead WHERE replay AND seq = ANY($1)";

/// Nothing moves if the slot changed hands: the new owner decides about the row then.
const BURY: &str = "\
WITH mine AS (SELECT 1 FROM outbox_slot WHERE slot = $2 AND owner = $3 AND epoch = $4 FOR SHARE), \
gone AS (DELETE FROM outbox WHERE seq = $1 AND EXISTS (SELECT 1 FROM mine) RETURNING *), \
kept AS (INSERT INTO outbox_dead (seq, id, aggregatetype, aggregateid, type, payload, headers, \
tracingspancontext, slot, created_at, reason, blocks) \
SELECT seq, id, aggregatetype, aggregateid, type, payload, headers, tracingspancontext, slot, \
created_at, $5, $6 FROM gone) \
SELECT EXISTS (SELECT 1 FROM mine)";

/// A replayed row that is refused again stays where it is.
const BURY_AGAIN: &str = "\
UPDATE outbox_dead SET replay = false, reason = $2 WHERE seq = $1 AND replay";

#[derive(Debug)]
pub(super) struct PostgresWriter {
    conn: PgConnection,
}

impl PostgresWriter {
    pub(super) fn new(conn: PgConnection) -> Self {
        Self { conn }
    }

    /// Those of the marker's rows that the statement finds.
    async fn marked(
        &mut self,
        sql: &'static str,
        seqs: &[i64],
        marker: &[(i64, u32)],
    ) -> Result<Vec<i64>, Error> {
        let found = sqlx::query(sql)
            .bind(seqs)
            .fetch_all(&mut self.conn)
            .await
            .doing("looking for marked rows")?;
        let there: Vec<(i64, Uuid)> = found.iter().map(|row| (row.get(0), row.get(1))).collect();
        Ok(crate::store::marked(marker, &there))
    }
}

#[async_trait]
impl Writer for PostgresWriter {
    async fn delete(&mut self, seqs: &[i64]) -> Result<(), Error> {
        sqlx::query(DELETE)
            .bind(seqs)
            .execute(&mut self.conn)
            .await
            .doing("deleting published rows")?;
        Ok(())
    }

    async fn delete_dead(&mut self, seqs: &[i64]) -> Result<(), Error> {
        sqlx::query(DELETE_DEAD)
            .bind(seqs)
            .execute(&mut self.conn)
            .await
            .doing("deleting replayed rows")?;
        Ok(())
    }

    async fn delete_marked(&mut self, rows: &[(i64, u32)]) -> Result<(), Error> {
        let seqs: Vec<i64> = rows.iter().map(|(seq, _)| *seq).collect();
        let dead = self.marked(MARKED_DEAD, &seqs, rows).await?;
        if !dead.is_empty() {
            self.delete_dead(&dead).await?;
        }
        let published = self.marked(MARKED, &seqs, rows).await?;
        self.delete(&published).await
    }

    async fn bury(&mut self, owner: Uuid, burial: &Burial) -> Result<bool, Error> {
        let mine: bool = sqlx::query_scalar(BURY)
            .bind(burial.seq)
            .bind(i16::from(burial.slot))
            .bind(owner)
            .bind(burial.epoch)
            .bind(&burial.reason)
            .bind(burial.blocks)
            .fetch_one(&mut self.conn)
            .await
            .doing("moving a refused row")?;
        sqlx::query(BURY_AGAIN)
            .bind(burial.seq)
            .bind(&burial.reason)
            .execute(&mut self.conn)
            .await
            .doing("ending a replay")?;
        Ok(mine)
    }
}
