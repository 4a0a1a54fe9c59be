//! What every database owes a relay, where no test of whole relays can see it.

use std::time::Duration;

use sqlx::PgPool;
use sqlx::sqlite::SqlitePoolOptions;
use testkit::pg::TestDb;
use uuid::Uuid;

use super::{Burial, Lessee, id_mark};
use crate::{Database, Event, append, backlog, dead_count, migrate, replay, slot_of};

const TTL: Duration = Duration::from_secs(60);

/// The only event of the outbox, refused and moved; returns its number.
async fn bury(database: &Database, event: &Event) -> i64 {
    let store = &database.store;
    let me = Lessee {
        id: Uuid::from_u128(1),
        name: "test".to_owned(),
        fencing: "kafka-transactions",
        ttl: TTL,
        unit: 8,
    };
    let mut keeper = store.keeper(TTL).await.unwrap();
    let holding = keeper.keep(&me, true).await.unwrap().unwrap();
    let slot = slot_of(event.topic(), event.key());
    let (_, epoch) = holding.slots[usize::from(slot)];
    let burial = Burial {
        // The first of a fresh table.
        seq: 1,
        slot,
        epoch,
        reason: "too large".to_owned(),
        blocks: true,
        key: (event.topic().into(), event.key().to_owned()),
    };
    let mut writer = store.writer().await.unwrap();
    assert!(writer.bury(me.id, &burial).await.unwrap());
    burial.seq
}

/// A relay published it again, and died before it had deleted it.
async fn a_marker_takes_a_replayed_event_away(database: &Database, event: &Event) {
    let seq = bury(database, event).await;
    let mut writer = database.store.writer().await.unwrap();
    let marker = [(seq, id_mark(event.id()))];
    // Not asked for again: it cannot be what was published.
    writer.delete_marked(&marker).await.unwrap();
    assert_eq!(dead_count(database).await.unwrap(), 1);
    assert!(replay(database, seq).await.unwrap());
    // Of another life of the table, which gave the number out too.
    writer.delete_marked(&[(seq, !marker[0].1)]).await.unwrap();
    assert_eq!(dead_count(database).await.unwrap(), 1);
    writer.delete_marked(&marker).await.unwrap();
    assert_eq!(dead_count(database).await.unwrap(), 0);
    assert_eq!(backlog(database).await.unwrap().rows, 0);
}

#[tokio::test]
async fn a_marker_takes_a_replayed_event_away_on_sqlite() {
    let options = SqlitePoolOptions::new().max_connections(1);
    let pool = options.connect("sqlite::memory:").await.unwrap();
    migrate(&pool).await.unwrap();
    let event = Event::new("t", "k", "T", b"1".to_vec());
    append(&mut *pool.acquire().await.unwrap(), &event)
        .await
        .unwrap();
    a_marker_takes_a_replayed_event_away(&Database::from(pool), &event).await;
}

#[tokio::test]
#[ignore = "needs Postgres: cargo xtask test"]
async fn a_marker_takes_a_replayed_event_away_on_postgres() {
    let db = TestDb::create().await;
    let pool = PgPool::connect(db.url()).await.unwrap();
    migrate(&pool).await.unwrap();
    let event = Event::new("t", "k", "T", b"1".to_vec());
    append(&mut *pool.acquire().await.unwrap(), &event)
        .await
        .unwrap();
    a_marker_takes_a_replayed_event_away(&Database::from(pool), &event).await;
}
