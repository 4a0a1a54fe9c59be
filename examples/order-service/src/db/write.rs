//! One commit's rows, written with one statement a table on the transaction's own connection.
//!
//! The two databases differ in how they take a list and in nothing else, so the
//! statements stand side by side.

use std::collections::HashMap;
use std::sync::Arc;

use sqlx::{PgConnection, Postgres, Sqlite, SqliteConnection};
use swifttrack_outbox::{Event, Waker, append_batch};
use swifttrack_saga::hook::{HookError, OnTransition, Transition};
use uuid::Uuid;

use super::batch::{Batch, EventRow, KeyRow};
use crate::config::Topics;
use crate::idempotency::{KEPT, KeyTaken};
use crate::outbox::outgoing;
use crate::saga::trace_parent;

/// Writes the orders, their events and the outbox beside the saga.
#[derive(Clone, Debug)]
pub struct Projection {
    topics: Topics,
    relay: Waker,
}

impl Projection {
    /// Events go to these topics, and the relay hears of them.
    #[must_use]
    pub const fn new(topics: Topics, relay: Waker) -> Self {
        Self { topics, relay }
    }

    fn outgoing(&self, batch: &Batch, events: &[EventRow]) -> Vec<Event> {
        let order = events.iter().map(|event| {
            let envelope = event.envelope.as_bytes();
            outgoing(
                &self.topics.order,
                event.id,
                &event.order_id,
                &event.kind,
                envelope,
            )
            .traceparent(trace_parent(event.saga, span(event.id)))
        });
        let retry = batch.retries.iter().map(|retry| {
            let envelope = retry.envelope.as_bytes();
            outgoing(
                &self.topics.retry,
                retry.id,
                &retry.order_id,
                &retry.kind,
                envelope,
            )
            .traceparent(trace_parent(retry.saga, span(retry.id)))
        });
        order.chain(retry).collect()
    }
}

/// The last eight bytes of an event's id, which are random, name its span.
fn span(event: Uuid) -> u64 {
    event.as_u64_pair().1
}

/// Starts whose key was taken meanwhile, or stands twice in the batch.
fn refused(keys: &[KeyRow], taken: &[(String, String)]) -> Result<(), HookError> {
    let mut free: HashMap<(&str, &str), ()> = taken
        .iter()
        .map(|(client, key)| ((client.as_str(), key.as_str()), ()))
        .collect();
    let refused: Vec<_> = keys
        .iter()
        .filter(|row| {
            free.remove(&(row.client_id.as_str(), row.key.as_str()))
                .is_none()
        })
        .map(|row| (row.saga, Arc::new(KeyTaken) as _))
        .collect();
    if refused.is_empty() {
        Ok(())
    } else {
        Err(HookError::Refuse(refused))
    }
}

/// The first of each key, since one statement must not meet a key twice.
fn distinct(keys: &[KeyRow]) -> Vec<&KeyRow> {
    let mut seen = std::collections::HashSet::new();
    keys.iter()
        .filter(|row| seen.insert((row.client_id.as_str(), row.key.as_str())))
        .collect()
}

fn oldest_kept(keys: &[KeyRow]) -> i64 {
    let now = keys.iter().map(|row| row.at_us).max().unwrap_or(0);
    now - i64::try_from(KEPT.as_micros()).unwrap_or(i64::MAX)
}

macro_rules! write_batch {
    ($self:ident, $conn:ident, $transitions:ident, $sql:ident) => {{
        let mut batch = Batch::of($transitions)?;
        if !batch.keys.is_empty() {
            let taken: Vec<(String, String)> = sqlx::query_as($sql::KEYS)
                .bind(serde_json::to_string(&distinct(&batch.keys))?)
                .bind(oldest_kept(&batch.keys))
                .fetch_all(&mut *$conn)
                .await?;
            refused(&batch.keys, &taken)?;
        }
        if !batch.orders.is_empty() {
            for (statement, rows) in [
                ($sql::ORDERS, serde_json::to_string(&batch.orders)?),
                ($sql::PACKAGES, serde_json::to_string(&batch.packages)?),
                ($sql::ADDRESSES, serde_json::to_string(&batch.addresses)?),
            ] {
                sqlx::query(statement)
                    .bind(rows)
                    .execute(&mut *$conn)
                    .await?;
            }
        }
        let mut last = HashMap::new();
        if !batch.updates.is_empty() {
            let rows: Vec<(String, i64)> = sqlx::query_as($sql::UPDATES)
                .bind(serde_json::to_string(&batch.updates)?)
                .fetch_all(&mut *$conn)
                .await?;
            last.extend(rows);
        }
        let events = batch.number(&last)?;
        if !events.is_empty() {
            sqlx::query($sql::EVENTS)
                .bind(serde_json::to_string(&events)?)
                .execute(&mut *$conn)
                .await?;
        }
        let outgoing = $self.outgoing(&batch, &events);
        if !outgoing.is_empty() {
            append_batch(&mut *$conn, &outgoing).await?;
            // A little early, since the commit comes after the hook; the relay looks again
            // every few milliseconds.
            $self.relay.wake();
        }
        Ok(())
    }};
}

#[async_trait::async_trait]
impl OnTransition<Postgres> for Projection {
    async fn on_transitions(
        &self,
        conn: &mut PgConnection,
        transitions: &[&Transition],
    ) -> Result<(), HookError> {
        write_batch!(self, conn, transitions, postgres)
    }
}

#[async_trait::async_trait]
impl OnTransition<Sqlite> for Projection {
    async fn on_transitions(
        &self,
        conn: &mut SqliteConnection,
        transitions: &[&Transition],
    ) -> Result<(), HookError> {
        write_batch!(self, conn, transitions, sqlite)
    }
}

/// Lists come as one JSON array.
mod postgres {
    pub(super) const KEYS: &str = "
        INSERT INTO idempotency_keys (client_id, key, fingerprint, order_id, created_us)
        SELECT client_id, key, fingerprint, order_id, at_us FROM json_to_recordset($1::text::json)
            AS r(client_id text, key text, fingerprint text, order_id text, at_us bigint)
        ORDER BY client_id, key
        ON CONFLICT (client_id, key) DO UPDATE SET fingerprint = excluded.fingerprint,
            order_id = excluded.order_id, created_us = excluded.created_us
            WHERE idempotency_keys.created_us < $2
        RETURNING client_id, key";

    pub(super) const ORDERS: &str = "
        INSERT INTO orders (id, client_id, priority, status, stage, cms_step, wms_step, ros_step,
                            last_sequence, version, created_us, updated_us)
        SELECT id, client_id, priority, status, stage, cms_step, wms_step, ros_step,
               last_sequence, version, at_us, at_us
        FROM json_to_recordset($1::text::json)
            AS r(id text, client_id text, priority text, status text, stage text, cms_step text,
                 wms_step text, ros_step text, last_sequence bigint, version bigint, at_us bigint)";

    pub(super) const PACKAGES: &str = "
        INSERT INTO packages (order_id, line, sku, description, quantity, priority)
        SELECT * FROM json_to_recordset($1::text::json)
            AS r(order_id text, line integer, sku text, description text, quantity bigint, priority text)";

    pub(super) const ADDRESSES: &str = "
        INSERT INTO delivery_addresses (order_id, stop, address)
        SELECT * FROM json_to_recordset($1::text::json)
            AS r(order_id text, stop integer, address text)";

    pub(super) const UPDATES: &str = "
        UPDATE orders o SET
            status = coalesce(r.status, o.status), stage = coalesce(r.stage, o.stage),
            attention = coalesce(r.attention, o.attention),
            cms_step = coalesce(r.cms_step, o.cms_step),
            wms_step = coalesce(r.wms_step, o.wms_step),
            ros_step = coalesce(r.ros_step, o.ros_step),
            cms = coalesce(r.cms, o.cms), wms = coalesce(r.wms, o.wms), ros = coalesce(r.ros, o.ros),
            failure = coalesce(r.failure, o.failure),
            last_sequence = o.last_sequence + r.events, version = r.version, updated_us = r.at_us
        FROM json_to_recordset($1::text::json)
            AS r(id text, status text, stage text, attention boolean, cms_step text, wms_step text,
                 ros_step text, cms text, wms text, ros text, failure text, events bigint,
                 version bigint, at_us bigint)
        WHERE o.id = r.id
        RETURNING o.id, o.last_sequence";

    pub(super) const EVENTS: &str = "
        INSERT INTO order_events (order_id, sequence, envelope)
        SELECT e->>'order_id', (e->>'sequence')::bigint, e->>'envelope'
        FROM json_array_elements($1::text::json) WITH ORDINALITY AS r(e, ord)
        ORDER BY ord";
}

mod sqlite {
    pub(super) const KEYS: &str = "
        INSERT INTO idempotency_keys (client_id, key, fingerprint, order_id, created_us)
        SELECT value->>'client_id', value->>'key', value->>'fingerprint', value->>'order_id',
               value->>'at_us'
        FROM json_each($1) WHERE true
        ON CONFLICT (client_id, key) DO UPDATE SET fingerprint = excluded.fingerprint,
            order_id = excluded.order_id, created_us = excluded.created_us
            WHERE idempotency_keys.created_us < $2
        RETURNING client_id, key";

    pub(super) const ORDERS: &str = "
        INSERT INTO orders (id, client_id, priority, status, stage, cms_step, wms_step, ros_step,
                            last_sequence, version, created_us, updated_us)
        SELECT value->>'id', value->>'client_id', value->>'priority', value->>'status',
               value->>'stage', value->>'cms_step', value->>'wms_step', value->>'ros_step',
               value->>'last_sequence', value->>'version', value->>'at_us', value->>'at_us'
        FROM json_each($1)";

    pub(super) const PACKAGES: &str = "
        INSERT INTO packages (order_id, line, sku, description, quantity, priority)
        SELECT value->>'order_id', value->>'line', value->>'sku', value->>'description',
               value->>'quantity', value->>'priority'
        FROM json_each($1)";

    pub(super) const ADDRESSES: &str = "
        INSERT INTO delivery_addresses (order_id, stop, address)
        SELECT value->>'order_id', value->>'stop', value->>'address' FROM json_each($1)";

    pub(super) const UPDATES: &str = "
        UPDATE orders SET
            status = coalesce(r.status, orders.status), stage = coalesce(r.stage, orders.stage),
            attention = coalesce(r.attention, orders.attention),
            cms_step = coalesce(r.cms_step, orders.cms_step),
            wms_step = coalesce(r.wms_step, orders.wms_step),
            ros_step = coalesce(r.ros_step, orders.ros_step),
            cms = coalesce(r.cms, orders.cms), wms = coalesce(r.wms, orders.wms),
            ros = coalesce(r.ros, orders.ros), failure = coalesce(r.failure, orders.failure),
            last_sequence = orders.last_sequence + r.events, version = r.version,
            updated_us = r.at_us
        FROM (SELECT value->>'id' AS id, value->>'status' AS status, value->>'stage' AS stage,
                     value->>'attention' AS attention, value->>'cms_step' AS cms_step,
                     value->>'wms_step' AS wms_step, value->>'ros_step' AS ros_step,
                     value->>'cms' AS cms, value->>'wms' AS wms, value->>'ros' AS ros,
                     value->>'failure' AS failure, value->>'events' AS events,
                     value->>'version' AS version, value->>'at_us' AS at_us
              FROM json_each($1)) AS r
        WHERE orders.id = r.id
        RETURNING orders.id, orders.last_sequence";

    pub(super) const EVENTS: &str = "
        INSERT INTO order_events (order_id, sequence, envelope)
        SELECT value->>'order_id', value->>'sequence', value->>'envelope'
        FROM json_each($1) ORDER BY key";
}
