//! What the API reads.

use sqlx::Error;

use super::{Db, on};
use crate::idempotency::{Idempotency, KEPT};
use crate::order::{NewOrder, Package, Priority};

/// An order's row.
#[derive(Clone, Debug)]
pub struct OrderRecord {
    /// The order.
    pub id: String,
    /// Whose it is.
    pub client_id: String,
    /// As submitted.
    pub priority: String,
    /// Without the flag.
    pub status: String,
    /// Beside the status.
    pub stage: String,
    /// The flag.
    pub attention: bool,
    /// JSON of the three [`StepView`](crate::projection::StepView)s.
    pub steps: [String; 3],
    /// JSON of what the three partners gave.
    pub partners: [Option<String>; 3],
    /// JSON of why it failed.
    pub failure: Option<String>,
    /// Changes with every visible change.
    pub version: i64,
    /// Microseconds since 1970.
    pub created_us: i64,
    /// Microseconds since 1970.
    pub updated_us: i64,
}

/// An order in a list.
#[derive(Clone, Debug)]
pub struct Summary {
    /// The order.
    pub id: String,
    /// Whose it is.
    pub client_id: String,
    /// As submitted.
    pub priority: String,
    /// Without the flag.
    pub status: String,
    /// The flag.
    pub attention: bool,
    /// Microseconds since 1970.
    pub created_us: i64,
    /// Microseconds since 1970.
    pub updated_us: i64,
}

/// Which orders to list.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// Only in this status.
    pub status: Option<String>,
    /// Only of this client.
    pub client_id: Option<String>,
    /// Only created at or after this moment.
    pub since_us: Option<i64>,
    /// Only older than this one.
    pub before: Option<(i64, String)>,
    /// At most so many.
    pub limit: i64,
}

/// A place in the feed of all events, in the order of their commits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Cursor {
    /// The transaction that wrote the event; 0 on SQLite, which has one writer.
    pub xid: i64,
    /// Its place among all events.
    pub position: i64,
}

/// An event in the feed.
#[derive(Clone, Debug)]
pub struct FeedEvent {
    /// Where it stands.
    pub cursor: Cursor,
    /// The order that it is about.
    pub order_id: String,
    /// The event as published.
    pub envelope: String,
}

type OrderTuple = (
    String,
    String,
    String,
    String,
    String,
    bool,
    String,
    String,
    String,
    Option<String>,
    Option<String>,
    Option<String>,
    Option<String>,
    i64,
    i64,
    i64,
);

const ORDER: &str = "SELECT id, client_id, priority, status, stage, attention, \
    cms_step, wms_step, ros_step, cms, wms, ros, failure, version, created_us, updated_us \
    FROM orders WHERE id = $1";
const PACKAGES: &str = "SELECT sku, description, quantity, priority FROM packages \
    WHERE order_id = $1 ORDER BY line";
const ADDRESSES: &str = "SELECT address FROM delivery_addresses WHERE order_id = $1 ORDER BY stop";
const EVENTS: &str = "SELECT sequence, envelope FROM order_events \
    WHERE order_id = $1 AND sequence > $2 ORDER BY sequence LIMIT $3";
const LIST: &str = "SELECT id, client_id, priority, status, attention, created_us, updated_us \
    FROM orders WHERE (created_us, id) < ($1, $2) \
    AND (CAST($3 AS text) IS NULL OR (status = $3 AND NOT attention)) \
    AND (NOT $4 OR attention) \
    AND (CAST($5 AS text) IS NULL OR client_id = $5) \
    AND created_us >= $6 \
    ORDER BY created_us DESC, id DESC LIMIT $7";
const KEY: &str = "SELECT fingerprint, order_id FROM idempotency_keys \
    WHERE client_id = $1 AND key = $2 AND created_us >= $3";

impl Db {
    /// An order's row.
    ///
    /// # Errors
    ///
    /// When the database does not answer.
    pub async fn order(&self, id: &str) -> Result<Option<OrderRecord>, Error> {
        let row: Option<OrderTuple> = on!(self, api, pool => {
            sqlx::query_as(ORDER).bind(id).fetch_optional(pool).await?
        });
        Ok(row.map(|row| OrderRecord {
            id: row.0,
            client_id: row.1,
            priority: row.2,
            status: row.3,
            stage: row.4,
            attention: row.5,
            steps: [row.6, row.7, row.8],
            partners: [row.9, row.10, row.11],
            failure: row.12,
            version: row.13,
            created_us: row.14,
            updated_us: row.15,
        }))
    }

    /// The order as it was submitted.
    ///
    /// # Errors
    ///
    /// When the database does not answer.
    pub async fn submitted(&self, record: &OrderRecord) -> Result<NewOrder, Error> {
        let id = record.id.as_str();
        let packages: Vec<(String, Option<String>, i64, String)> = on!(self, api, pool => {
            sqlx::query_as(PACKAGES).bind(id).fetch_all(pool).await?
        });
        let addresses: Vec<(String,)> = on!(self, api, pool => {
            sqlx::query_as(ADDRESSES).bind(id).fetch_all(pool).await?
        });
        let priority = |name: &str| Priority::from_name(name).unwrap_or_default();
        Ok(NewOrder {
            id: record.id.clone(),
            client_id: record.client_id.clone(),
            priority: priority(&record.priority),
            packages: packages
                .into_iter()
                .map(|(sku, description, quantity, urgency)| Package {
                    sku,
                    description,
                    quantity: u32::try_from(quantity).unwrap_or(u32::MAX),
                    priority: priority(&urgency),
                })
                .collect(),
            delivery_addresses: addresses.into_iter().map(|(address,)| address).collect(),
        })
    }

    /// An order's events after `after`, as published.
    ///
    /// # Errors
    ///
    /// When the database does not answer.
    pub async fn events(
        &self,
        order: &str,
        after: i64,
        limit: i64,
    ) -> Result<Vec<(i64, String)>, Error> {
        on!(self, api, pool => {
            sqlx::query_as(EVENTS).bind(order).bind(after).bind(limit).fetch_all(pool).await
        })
    }

    /// Orders, newest first.
    ///
    /// # Errors
    ///
    /// When the database does not answer.
    pub async fn list(&self, filter: &Filter) -> Result<Vec<Summary>, Error> {
        let attention =
            filter.status.as_deref() == Some(crate::projection::status::NEEDS_ATTENTION);
        let status = filter.status.as_deref().filter(|_| !attention);
        let (created_us, id) = match &filter.before {
            Some((created_us, id)) => (*created_us, id.as_str()),
            None => (i64::MAX, ""),
        };
        type Row = (String, String, String, String, bool, i64, i64);
        let rows: Vec<Row> = on!(self, read, pool => {
            sqlx::query_as(LIST)
                .bind(created_us)
                .bind(id)
                .bind(status)
                .bind(attention)
                .bind(filter.client_id.as_deref())
                .bind(filter.since_us.unwrap_or(i64::MIN))
                .bind(filter.limit)
                .fetch_all(pool)
                .await?
        });
        Ok(rows
            .into_iter()
            .map(|row| Summary {
                id: row.0,
                client_id: row.1,
                priority: row.2,
                status: row.3,
                attention: row.4,
                created_us: row.5,
                updated_us: row.6,
            })
            .collect())
    }

    /// What a key was used for in the last 24 hours: the order's digest and id.
    ///
    /// # Errors
    ///
    /// When the database does not answer.
    pub async fn key(
        &self,
        client: &str,
        key: &str,
        now_us: i64,
    ) -> Result<Option<(String, String)>, Error> {
        let oldest = now_us - i64::try_from(KEPT.as_micros()).unwrap_or(i64::MAX);
        on!(self, api, pool => {
            sqlx::query_as(KEY).bind(client).bind(key).bind(oldest).fetch_optional(pool).await
        })
    }

    /// Remembers a key for an order that was there already. False if it is taken.
    ///
    /// # Errors
    ///
    /// When the database does not answer.
    pub async fn remember_key(
        &self,
        order: &NewOrder,
        idempotency: &Idempotency,
        now_us: i64,
    ) -> Result<bool, Error> {
        const INSERT: &str = "INSERT INTO idempotency_keys \
            (client_id, key, fingerprint, order_id, created_us) VALUES ($1, $2, $3, $4, $5) \
            ON CONFLICT (client_id, key) DO UPDATE SET fingerprint = excluded.fingerprint, \
            order_id = excluded.order_id, created_us = excluded.created_us \
            WHERE idempotency_keys.created_us < $6";
        let oldest = now_us - i64::try_from(KEPT.as_micros()).unwrap_or(i64::MAX);
        macro_rules! insert {
            ($pool:expr) => {
                sqlx::query(INSERT)
                    .bind(&order.client_id)
                    .bind(&idempotency.key)
                    .bind(&idempotency.fingerprint)
                    .bind(&order.id)
                    .bind(now_us)
                    .bind(oldest)
                    .execute($pool)
                    .await?
                    .rows_affected()
            };
        }
        let rows = match self {
            Self::Postgres { api, .. } => insert!(api),
            Self::Sqlite { write, .. } => insert!(write),
        };
        Ok(rows == 1)
    }

    /// Forgets keys that are older than a day, at most `limit` of them.
    ///
    /// # Errors
    ///
    /// When the database does not answer.
    pub async fn forget_keys(&self, now_us: i64, limit: i64) -> Result<u64, Error> {
        const DELETE: &str = "DELETE FROM idempotency_keys WHERE (client_id, key) IN \
            (SELECT client_id, key FROM idempotency_keys WHERE created_us < $1 LIMIT $2)";
        let oldest = now_us - i64::try_from(KEPT.as_micros()).unwrap_or(i64::MAX);
        Ok(match self {
            Self::Postgres { api, .. } => {
                let query = sqlx::query(DELETE).bind(oldest).bind(limit);
                query.execute(api).await?.rows_affected()
            }
            Self::Sqlite { write, .. } => {
                let query = sqlx::query(DELETE).bind(oldest).bind(limit);
                query.execute(write).await?.rows_affected()
            }
        })
    }

    /// The feed after `after`: on Postgres only what no open transaction can still precede.
    ///
    /// # Errors
    ///
    /// When the database does not answer.
    pub async fn feed(&self, after: Cursor, limit: i64) -> Result<Vec<FeedEvent>, Error> {
        type Row = (i64, i64, String, String);
        let rows: Vec<Row> = match self {
            Self::Postgres { read, .. } => {
                sqlx::query_as(
                    "SELECT xid::text::bigint, position, order_id, envelope FROM order_events \
                     WHERE (xid, position) > ($1::text::xid8, $2) \
                     AND xid < pg_snapshot_xmin(pg_current_snapshot()) \
                     ORDER BY xid, position LIMIT $3",
                )
                .bind(after.xid.to_string())
                .bind(after.position)
                .bind(limit)
                .fetch_all(read)
                .await?
            }
            Self::Sqlite { read, .. } => {
                sqlx::query_as(
                    "SELECT 0, position, order_id, envelope FROM order_events \
                     WHERE position > $1 ORDER BY position LIMIT $2",
                )
                .bind(after.position)
                .bind(limit)
                .fetch_all(read)
                .await?
            }
        };
        Ok(rows
            .into_iter()
            .map(|(xid, position, order_id, envelope)| FeedEvent {
                cursor: Cursor { xid, position },
                order_id,
                envelope,
            })
            .collect())
    }

    /// The end of the feed.
    ///
    /// # Errors
    ///
    /// When the database does not answer.
    pub async fn feed_end(&self) -> Result<Cursor, Error> {
        let last: Option<(i64, i64)> = match self {
            Self::Postgres { read, .. } => {
                sqlx::query_as(
                    "SELECT xid::text::bigint, position FROM order_events \
                     WHERE xid < pg_snapshot_xmin(pg_current_snapshot()) \
                     ORDER BY xid DESC, position DESC LIMIT 1",
                )
                .fetch_optional(read)
                .await?
            }
            Self::Sqlite { read, .. } => {
                sqlx::query_as(
                    "SELECT 0, position FROM order_events ORDER BY position DESC LIMIT 1",
                )
                .fetch_optional(read)
                .await?
            }
        };
        Ok(last.map_or_else(Cursor::default, |(xid, position)| Cursor { xid, position }))
    }

    /// Whether the database answers.
    ///
    /// # Errors
    ///
    /// When it does not.
    pub async fn ping(&self) -> Result<(), Error> {
        on!(self, api, pool => sqlx::query("SELECT 1").execute(pool).await.map(drop))
    }

    /// Tells every replica to close a partner's circuit.
    ///
    /// # Errors
    ///
    /// When the database does not answer.
    pub async fn tell(&self, service: &str, verb: &str, now_us: i64) -> Result<(), Error> {
        const INSERT: &str =
            "INSERT INTO service_control (service, verb, at_us) VALUES ($1, $2, $3)";
        match self {
            Self::Postgres { api, .. } => {
                let query = sqlx::query(INSERT).bind(service).bind(verb).bind(now_us);
                query.execute(api).await.map(drop)
            }
            Self::Sqlite { write, .. } => {
                let query = sqlx::query(INSERT).bind(service).bind(verb).bind(now_us);
                query.execute(write).await.map(drop)
            }
        }
    }

    /// The number of the last thing that replicas were told.
    ///
    /// # Errors
    ///
    /// When the database does not answer.
    pub async fn told_until(&self) -> Result<i64, Error> {
        let (last,): (i64,) = on!(self, api, pool => {
            sqlx::query_as("SELECT coalesce(max(id), 0) FROM service_control")
                .fetch_one(pool)
                .await?
        });
        Ok(last)
    }

    /// What replicas were told after `after`.
    ///
    /// # Errors
    ///
    /// When the database does not answer.
    pub async fn told(&self, after: i64) -> Result<Vec<(i64, String, String)>, Error> {
        on!(self, api, pool => {
            sqlx::query_as(
                "SELECT id, service, verb FROM service_control WHERE id > $1 ORDER BY id LIMIT 100",
            )
            .bind(after)
            .fetch_all(pool)
            .await
        })
    }
}
