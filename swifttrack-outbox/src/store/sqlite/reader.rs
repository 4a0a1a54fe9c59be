//! Reading by `seq`.

use async_trait::async_trait;
use sqlx::{Row as _, SqlitePool};

use super::{decode, json, row_columns};
use crate::error::{Doing, Error};
use crate::relay::row::Shared;
use crate::store::{Page, PageLimit, Position, Read, Reader};

const BEGIN: &str = "SELECT coalesce(max(seq), 0) FROM outbox";

/// The running sum reads the length of a payload, not the payload.
const BACKLOG: &str = concat!(
    "SELECT found, ",
    row_columns!(),
    " FROM (SELECT p.*, \
     sum(bytes) OVER (ORDER BY seq ROWS UNBOUNDED PRECEDING) AS total, count(*) OVER () AS found FROM (\
     SELECT ",
    row_columns!(),
    ", coalesce(octet_length(payload), 0) + 256 AS bytes FROM outbox o \
     WHERE seq > ?1 AND seq <= ?3 AND slot IN (SELECT value FROM json_each(?2)) \
     AND aggregatetype NOT IN (SELECT value FROM json_each(?4)) \
     AND NOT EXISTS (SELECT 1 FROM outbox_dead d WHERE d.blocks \
     AND d.aggregatetype = o.aggregatetype AND d.aggregateid = o.aggregateid) \
     ORDER BY seq LIMIT ?5) p) WHERE total - bytes < ?6 ORDER BY seq"
);

const NEW: &str = concat!(
    "SELECT found, ",
    row_columns!(),
    " FROM (SELECT p.*, \
     sum(bytes) OVER (ORDER BY seq ROWS UNBOUNDED PRECEDING) AS total, count(*) OVER () AS found FROM (\
     SELECT ",
    row_columns!(),
    ", coalesce(octet_length(payload), 0) + 256 AS bytes FROM outbox \
     WHERE seq > ?1 AND slot IN (SELECT value FROM json_each(?2)) \
     ORDER BY seq LIMIT ?3) p) WHERE total - bytes < ?4 ORDER BY seq"
);

#[derive(Debug)]
pub(super) struct SqliteReader {
    pool: SqlitePool,
}

impl SqliteReader {
    pub(super) fn new(pool: SqlitePool) -> Self {
        Self { pool }
    }
}

#[async_trait]
impl Reader for SqliteReader {
    async fn read(
        &mut self,
        read: &Read<Position>,
        limit: PageLimit,
    ) -> Result<Page<Position>, Error> {
        let (count, bytes) = (i64::from(limit.rows), limit.bytes as i64);
        let (found, since) = match read {
            Read::Begin => {
                let last: i64 = sqlx::query_scalar(BEGIN)
                    .fetch_one(&self.pool)
                    .await
                    .doing("reading the last row's number")?;
                return Ok(Page {
                    rows: Vec::new(),
                    more: false,
                    to: Some(Position::Seq(last)),
                });
            }
            Read::Backlog {
                slots,
                paused,
                at,
                after,
            } => {
                let found = sqlx::query(BACKLOG)
                    .bind(after)
                    .bind(json(slots))
                    .bind(of(at))
                    .bind(json(paused))
                    .bind(count)
                    .bind(bytes)
                    .fetch_all(&self.pool)
                    .await
                    .doing("reading the backlog")?;
                (found, None)
            }
            // A page of what is new ends where its last row is, so there is never a second
            // page of the same difference.
            Read::New { slots, since } | Read::More { slots, since, .. } => {
                let found = sqlx::query(NEW)
                    .bind(of(since))
                    .bind(json(slots))
                    .bind(count)
                    .bind(bytes)
                    .fetch_all(&self.pool)
                    .await
                    .doing("reading new rows")?;
                (found, Some(of(since)))
            }
        };
        let mut shared = Shared::default();
        let rows = found
            .iter()
            .map(|row| decode(row, 1, &mut shared))
            .collect::<Result<Vec<_>, _>>()
            .doing("decoding a row")?;
        let matched: i64 = found.first().map_or(0, |row| row.get(0));
        let cut = (rows.len() as i64) < matched || matched >= count;
        let last = rows.last().map(|row| row.seq);
        Ok(Page {
            more: since.is_none() && cut,
            to: since.map(|since| Position::Seq(last.unwrap_or(since))),
            rows,
        })
    }
}

fn of(position: &Position) -> i64 {
    match position {
        Position::Seq(seq) => *seq,
        #[cfg(feature = "postgres")]
        Position::Snapshot(_) => unreachable!("a position comes from the reader that it goes to"),
    }
}
