//! A transactional outbox: events that are neither lost nor invented nor reordered.
//!
//! ```text
//!   your transaction                     Relay (any number of them)
//!   ┌───────────────────┐    ┌──────────────────────────────────────────────┐
//!   │ UPDATE orders …   │    │ slots: leased ──► reader: what is new         │
//!   │ append(&mut tx,…) ├───►│                     │ in order                │
//!   │ COMMIT            │    │                     ▼                         │
//!   └─────────┬─────────┘    │ writer: DELETE ◄── publisher ─────────────────┼──► Kafka
//!             └─ Waker ─────►│          what was acknowledged                │
//!                            └──────────────────────────────────────────────┘
//! ```
//! An event exists exactly if the transaction that appended it commits. It is deleted only
//! after the broker acknowledged it. Events of one topic and key are published in their order,
//! with any number of relays.
//!
//! ```
//! # #[cfg(feature = "sqlite")]
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use std::time::Duration;
//! use sqlx::sqlite::SqlitePoolOptions;
//! use swifttrack_outbox::{Event, MemoryPublisher, Relay, append, backlog, migrate};
//!
//! // SQLite has one writer: a pool of one, shared by all who write.
//! let pool = SqlitePoolOptions::new().max_connections(1).connect("sqlite::memory:").await?;
//! migrate(&pool).await?;
//!
//! let broker = MemoryPublisher::new(); // or KafkaPublisher::new("localhost:9092")
//! let relay = Relay::new(&pool, broker.clone()).source("/shop").spawn().await?;
//!
//! let mut tx = pool.begin().await?;
//! append(&mut *tx, &Event::new("orders", "ORD-1", "ORDER_ACCEPTED", b"{}".to_vec())).await?;
//! tx.commit().await?;
//! relay.waker().wake(); // a hint: without it the relay polls
//!
//! while backlog(&pool).await?.rows > 0 {
//!     tokio::time::sleep(Duration::from_millis(5)).await;
//! }
//! relay.shutdown(Duration::from_secs(10)).await?;
//! assert_eq!(broker.records()[0].event_type, "ORDER_ACCEPTED");
//! # Ok(()) }
//! # #[cfg(not(feature = "sqlite"))]
//! # fn main() {}
//! ```
//!
//! | module | what is in it |
//! |---|---|
//! | `event`, `append` | [`Event`], [`append`], [`append_batch`], [`append_ordered`] |
//! | `db`, `store` | [`Database`], [`migrate`], and the SQL of each database |
//! | `relay` | [`Relay`], [`RelayHandle`], [`Waker`]; its decisions in a pure core |
//! | `publisher` | `KafkaPublisher`, `InProcessBroker`, [`MemoryPublisher`] |
//! | `inbox` | [`Inbox`]: events handled once, offsets in the consumer's own transaction |
//! | `consumer` | `Consumer`: Kafka's consumer joined with an inbox |
//! | `ops` | [`backlog`], [`dead_events`], [`replay`], [`blocked_keys`], [`slot_owners`] |
//!
//! Features: `postgres`, `sqlite`, `kafka`, and `kafka-tls` for brokers that want TLS or SCRAM
//! (OpenSSL of the machine is linked); none is on by default.

// Without a database, or without Kafka, some of what they share has no user.
#![cfg_attr(
    not(all(feature = "kafka", any(feature = "postgres", feature = "sqlite"))),
    allow(dead_code, unused_imports, unused_macros)
)]

mod append;
#[cfg(feature = "kafka")]
mod consumer;
mod db;
mod error;
mod event;
mod inbox;
mod ops;
mod publisher;
mod relay;
#[cfg(feature = "kafka")]
mod security;
mod slot;
mod store;

pub use append::{Appender, Connection, append, append_batch, append_ordered};
#[cfg(feature = "postgres")]
pub use append::{POSTGRES_APPEND_SQL, POSTGRES_APPEND_WITH_KEYS_SQL};
#[cfg(feature = "sqlite")]
pub use append::{SQLITE_APPEND_KEYS_SQL, SQLITE_APPEND_SQL};
#[cfg(feature = "kafka")]
pub use consumer::{Consumer, Handler, Received, Store};
pub use db::{Database, migrate};
pub use error::{Error, Refusal};
pub use event::{EVENT_BYTES_MAX, Event, HEADERS_MAX};
pub use inbox::{Inbox, InboxConnection, Once, Progress};
pub use ops::{
    Backlog, BlockedKey, DeadEvent, EXPIRE_ROWS_MAX, Retention, SlotOwner, backlog, blocked_keys,
    dead_count, dead_events, drop_dead, expire, replay, slot_owners,
};
#[doc(hidden)]
pub use publisher::Backend;
#[cfg(feature = "kafka")]
pub use publisher::{InProcessBroker, KafkaPublisher};
pub use publisher::{MemoryPublisher, Publisher, Record};
#[cfg(feature = "postgres")]
pub use relay::RemoteWaker;
pub use relay::{Fencing, Poison, Relay, RelayHandle, Status, Waker};
pub use slot::{SLOTS, slot_of};
