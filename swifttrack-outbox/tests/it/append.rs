//! An event exists exactly if the caller's transaction commits.

use swifttrack_outbox::Event;

use crate::support::{Db, numbered};

macro_rules! on_both {
    ($($law:ident),+ $(,)?) => {
        mod sqlite {
            $(#[tokio::test]
            async fn $law() {
                super::$law(crate::support::Db::sqlite().await).await;
            })+
        }
        mod postgres {
            $(#[tokio::test]
            #[ignore = "needs Postgres: cargo xtask test"]
            async fn $law() {
                super::$law(crate::support::Db::postgres().await).await;
            })+
        }
    };
}

on_both!(
    a_rolled_back_event_does_not_exist,
    a_large_batch_is_written_whole,
    a_refused_event_refuses_its_batch,
    an_idempotency_key_writes_once,
    migrating_again_and_at_once_is_harmless,
);

async fn a_rolled_back_event_does_not_exist(db: Db) {
    db.append_and_roll_back(&numbered("t", 1, 1, 3)).await;
    assert_eq!(db.rows().await, 0);
    assert_eq!(db.append(&numbered("t", 1, 1, 3)).await.unwrap(), 3);
    assert_eq!(db.rows().await, 3);
}

async fn a_large_batch_is_written_whole(db: Db) {
    assert_eq!(db.append(&numbered("t", 7, 1, 2_500)).await.unwrap(), 2_500);
    assert_eq!(db.rows().await, 2_500);
}

async fn a_refused_event_refuses_its_batch(db: Db) {
    let mut events = numbered("t", 1, 1, 3);
    events.push(Event::new("no such topic", "k", "T", b"".to_vec()));
    let refused = db.append(&events).await.unwrap_err();
    assert!(refused.refusal().is_some());
    assert_eq!(db.rows().await, 0);
}

async fn an_idempotency_key_writes_once(db: Db) {
    let event =
        |key: &str| Event::new("t", "k", "T", b"1".to_vec()).idempotency_key(key.to_owned());
    let plain = Event::new("t", "k", "T", b"2".to_vec());
    assert_eq!(
        db.append(&[event("a"), plain.clone(), event("a")])
            .await
            .unwrap(),
        2
    );
    assert_eq!(
        db.append(&[event("a"), event("b"), plain]).await.unwrap(),
        2
    );
    db.append_and_roll_back(&[event("c")]).await;
    assert_eq!(db.append(&[event("c")]).await.unwrap(), 1);
}

async fn migrating_again_and_at_once_is_harmless(db: Db) {
    let database = db.database();
    let (a, b) = tokio::join!(
        swifttrack_outbox::migrate(&database),
        swifttrack_outbox::migrate(&database)
    );
    a.unwrap();
    b.unwrap();
}
