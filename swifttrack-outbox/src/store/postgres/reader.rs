//! Reading by snapshot difference.
//!
//! A row is new since a snapshot S0 if it was not visible in S0 and is now. Its transaction
//! then either has a number that S0 had not given out (`xid >= xmax(S0)`), or was open in S0
//! (`xip`) and has ended since. Both are probes of one index, whatever idle transaction is
//! open beside it; a row of a late commit is found, and found once.

use async_trait::async_trait;
use futures_util::TryStreamExt as _;
use futures_util::stream::BoxStream;
use sqlx::postgres::PgRow;
use sqlx::{PgConnection, Row as _};

use super::{Snapshot, decode, row_columns};
use crate::error::{Doing, Error};
use crate::relay::row::Shared;
use crate::store::{Page, PageLimit, Position, Read, Reader};

const BEGIN: &str = "SELECT pg_current_snapshot()::text";

/// Rows, by seq, bounded by rows and bytes. A page of thousands of rows is read at full speed
/// only if nothing is done for each of them that could be done once: the sum is of `int`, since
/// one of `bigint` is `numeric`; slots are bits, since a list is walked for each row; a snapshot
/// is parsed in a sub-select; and where no key is blocked, no key is looked up. The running sum
/// reads the length of a payload, not the payload.
macro_rules! bounded {
    ($rows:literal, $from:expr) => {
        concat!(
            "(SELECT p.*, sum(p.bytes) OVER (ORDER BY p.seq ROWS UNBOUNDED PRECEDING) AS total ",
            "FROM (",
            $from,
            " ORDER BY seq LIMIT ",
            $rows,
            ") p) b ",
        )
    };
}

/// What a row counts for besides its payload.
const ROW_BYTES: u64 = 256;

macro_rules! columns {
    () => {
        concat!(
            row_columns!(),
            ", coalesce(octet_length(payload), 0) + 256 AS bytes"
        )
    };
}

/// In each answer; that of NEW has its snapshot after them.
const ROW_COLUMNS: usize = 10;

macro_rules! given {
    () => {
        "b.seq, b.id, b.aggregatetype, b.aggregateid, b.type, b.payload, b.headers, \
         b.tracingspancontext, b.slot, b.created"
    };
}

pub(super) const BACKLOG: &str = concat!(
    "SELECT ",
    given!(),
    " FROM ",
    bounded!(
        "$5",
        concat!(
            "SELECT ",
            columns!(),
            " FROM outbox o WHERE seq > $1 AND ($2::bigint >> slot::int) & 1 = 1 \
         AND pg_visible_in_snapshot(xid, (SELECT $3::text::pg_snapshot)) \
         AND aggregatetype <> ALL($4) \
         AND (NOT EXISTS (SELECT 1 FROM outbox_dead WHERE blocks) \
         OR NOT EXISTS (SELECT 1 FROM outbox_dead d WHERE d.blocks \
         AND d.aggregatetype = o.aggregatetype AND d.aggregateid = o.aggregateid))"
        )
    ),
    "WHERE b.total - b.bytes < $6 ORDER BY b.seq"
);

/// The snapshot of this very statement comes with the rows, or alone when there are none.
pub(super) const NEW: &str = concat!(
    "SELECT ",
    given!(),
    ", s.now FROM (SELECT pg_current_snapshot()::text AS now) s LEFT JOIN LATERAL ",
    bounded!(
        "$4",
        concat!(
            "SELECT * FROM (SELECT ",
            columns!(),
            " FROM outbox WHERE xid >= $1::text::xid8 AND ($3::bigint >> slot::int) & 1 = 1 \
         UNION ALL SELECT ",
            columns!(),
            " FROM outbox WHERE xid = ANY($2::text[]::xid8[]) \
         AND ($3::bigint >> slot::int) & 1 = 1) n"
        )
    ),
    "ON b.total - b.bytes < $5 ORDER BY b.seq"
);

/// A further page of a large difference walks the primary key instead of sorting it all again.
pub(super) const MORE: &str = concat!(
    "SELECT ",
    given!(),
    " FROM ",
    bounded!(
        "$5",
        concat!(
            "SELECT ",
            columns!(),
            " FROM outbox WHERE seq > $1 AND ($2::bigint >> slot::int) & 1 = 1 \
         AND NOT pg_visible_in_snapshot(xid, (SELECT $3::text::pg_snapshot)) \
         AND pg_visible_in_snapshot(xid, (SELECT $4::text::pg_snapshot))"
        )
    ),
    "WHERE b.total - b.bytes < $6 ORDER BY b.seq"
);

#[derive(Debug)]
pub(super) struct PostgresReader {
    conn: PgConnection,
    /// Nothing but what this one sees is read.
    only: Option<Snapshot>,
}

impl PostgresReader {
    pub(super) fn new(conn: PgConnection, only: Option<&str>) -> Result<Self, Error> {
        let only = only.map(snapshot).transpose()?;
        Ok(Self { conn, only })
    }
}

#[async_trait]
impl Reader for PostgresReader {
    async fn read(
        &mut self,
        read: &Read<Position>,
        limit: PageLimit,
    ) -> Result<Page<Position>, Error> {
        if let (Some(only), Read::Begin | Read::New { .. }) = (&self.only, read) {
            return Ok(Page {
                rows: Vec::new(),
                more: false,
                to: Some(Position::Snapshot(only.clone())),
            });
        }
        let (rows, bytes) = (i64::from(limit.rows), limit.bytes as i64);
        match read {
            Read::Begin => {
                let now: String = sqlx::query_scalar(BEGIN)
                    .fetch_one(&mut self.conn)
                    .await
                    .doing("taking a snapshot")?;
                Ok(Page {
                    rows: Vec::new(),
                    more: false,
                    to: Some(Position::Snapshot(snapshot(&now)?)),
                })
            }
            Read::Backlog {
                slots,
                paused,
                at,
                after,
            } => {
                let found = sqlx::query(BACKLOG)
                    .bind(after)
                    .bind(bits(slots))
                    .bind(of(at).text())
                    .bind(paused)
                    .bind(rows)
                    .bind(bytes)
                    .fetch(&mut self.conn);
                page(found, limit, "reading the backlog").await
            }
            Read::New { slots, since } => {
                let since = of(since);
                let found = sqlx::query(NEW)
                    .bind(since.xmax())
                    .bind(since.xip())
                    .bind(bits(slots))
                    .bind(rows)
                    .bind(bytes)
                    .fetch(&mut self.conn);
                page(found, limit, "reading new rows").await
            }
            Read::More {
                slots,
                since,
                to,
                after,
            } => {
                let found = sqlx::query(MORE)
                    .bind(after)
                    .bind(bits(slots))
                    .bind(of(since).text())
                    .bind(of(to).text())
                    .bind(rows)
                    .bind(bytes)
                    .fetch(&mut self.conn);
                page(found, limit, "reading more rows").await
            }
        }
    }
}

/// Decodes each row as it comes: what sqlx allocates for one is used again for the next.
async fn page(
    mut found: BoxStream<'_, Result<PgRow, sqlx::Error>>,
    limit: PageLimit,
    reading: &'static str,
) -> Result<Page<Position>, Error> {
    let mut shared = Shared::default();
    let (mut rows, mut bytes, mut to) = (Vec::new(), 0, None);
    while let Some(row) = found.try_next().await.doing(reading)? {
        if to.is_none() && row.len() > ROW_COLUMNS {
            let now: &str = row.try_get(ROW_COLUMNS).doing("reading the snapshot")?;
            to = Some(Position::Snapshot(snapshot(now)?));
        }
        // The row of a NEW that found nothing has a snapshot only.
        let seq: Option<i64> = row.try_get(0).doing("decoding a row")?;
        if seq.is_none() {
            continue;
        }
        let row = decode(&row, 0, &mut shared).doing("decoding a row")?;
        bytes += row.payload.as_ref().map_or(0, |p| p.len() as u64) + ROW_BYTES;
        rows.push(row);
    }
    Ok(Page {
        // It ends at a bound, and not for want of rows; if by chance both, the next is empty.
        more: rows.len() >= limit.rows as usize || bytes >= limit.bytes,
        rows,
        to,
    })
}

/// Bit n: slot n.
fn bits(slots: &[u8]) -> i64 {
    slots.iter().fold(0, |bits, slot| bits | 1 << slot)
}

fn snapshot(text: &str) -> Result<Snapshot, Error> {
    Snapshot::parse(text)
        .ok_or_else(|| sqlx::Error::Protocol(format!("{text:?} is not a snapshot")))
        .doing("reading the snapshot")
}

fn of(position: &Position) -> &Snapshot {
    match position {
        Position::Snapshot(snapshot) => snapshot,
        #[cfg(feature = "sqlite")]
        Position::Seq(_) => unreachable!("a position comes from the reader that it goes to"),
    }
}
