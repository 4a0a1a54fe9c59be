//! What is hard to wait for from outside.

use std::time::Duration;

use swifttrack_saga::store::sqlite;
use tokio_util::sync::CancellationToken;

use super::{Cursor, Db};
use crate::feed::{Feed, PAGE};
use crate::idempotency::Idempotency;
use crate::order::NewOrder;

async fn database() -> (tempfile::TempDir, Db) {
    let folder = tempfile::tempdir().unwrap();
    let (write, read) = sqlite::open(&folder.path().join("orders.db"))
        .await
        .unwrap();
    let db = Db::Sqlite { write, read };
    db.migrate().await.unwrap();
    (folder, db)
}

fn order(id: &str) -> NewOrder {
    NewOrder::parse(&serde_json::json!({
        "id": id, "clientId": "CLIENT-001",
        "packages": [{"sku": "ITEM-001"}], "deliveryAddresses": ["1 Main Street"],
    }))
    .unwrap()
}

#[tokio::test]
async fn a_key_stands_for_its_order_for_a_day_and_is_then_forgotten() {
    const DAY_US: i64 = Duration::from_hours(24).as_micros() as i64;
    let (_folder, db) = database().await;
    let (first, other) = (order("ORD-1"), order("ORD-2"));
    let key = |order: &NewOrder| Idempotency::new("key".to_owned(), order);
    let known = async |at| {
        let known = db.key("CLIENT-001", "key", at).await.unwrap();
        known.map(|(_, order)| order)
    };
    assert!(db.remember_key(&first, &key(&first), 0).await.unwrap());

    assert_eq!(known(DAY_US).await.as_deref(), Some("ORD-1"));
    assert!(!db.remember_key(&other, &key(&other), DAY_US).await.unwrap());
    assert_eq!(db.forget_keys(DAY_US, 10).await.unwrap(), 0);

    assert_eq!(known(DAY_US + 1).await, None);
    assert!(
        db.remember_key(&other, &key(&other), DAY_US + 1)
            .await
            .unwrap()
    );
    assert_eq!(known(DAY_US + 1).await.as_deref(), Some("ORD-2"));
    assert_eq!(db.forget_keys(2 * DAY_US + 2, 10).await.unwrap(), 1);
    assert_eq!(known(DAY_US + 1).await, None);
}

/// A stream of all orders reads only when it is told to, and nothing else would end its wait.
#[tokio::test]
async fn what_is_committed_before_the_feed_first_looks_is_told_all_the_same() {
    let (_folder, db) = database().await;
    let Db::Sqlite { write, .. } = &db else {
        unreachable!("{db:?}")
    };
    // A stream has read all there is, which is nothing; then this is committed.
    sqlx::query(
        "INSERT INTO order_events (order_id, sequence, envelope) VALUES ('ORD-1', 1, '{}')",
    )
    .execute(write)
    .await
    .unwrap();
    let stop = CancellationToken::new();
    let mut pages = Feed::spawn(db.clone(), stop.clone()).listen();

    let told = tokio::time::timeout(Duration::from_secs(60), pages.recv()).await;
    assert!(matches!(told, Ok(Ok(_))), "{told:?}");
    let events = db.feed(Cursor::default(), PAGE).await.unwrap();
    assert_eq!(events.len(), 1);
    stop.cancel();
}
