//! Handling an event twice has the effect of handling it once.

use swifttrack_outbox::{Error, Inbox, Once, Progress};
use uuid::Uuid;

use crate::support::Db;

macro_rules! on_both {
    ($($law:ident),+ $(,)?) => {
        mod sqlite {
            $(#[tokio::test]
            async fn $law() {
                let db = crate::support::Db::sqlite().await;
                let crate::support::Db::Sqlite { writer, .. } = &db else { unreachable!() };
                super::laws::$law!(writer);
            })+
        }
        mod postgres {
            $(#[tokio::test]
            #[ignore = "needs Postgres: cargo xtask test"]
            async fn $law() {
                let db = crate::support::Db::postgres().await;
                let crate::support::Db::Postgres { pool, .. } = &db else { unreachable!() };
                super::laws::$law!(pool);
            })+
        }
    };
}

/// The same lines for both databases' types.
mod laws {
    macro_rules! a_repeat_is_not_handled {
        ($pool:ident) => {{
            use super::*;
            let inbox = Inbox::new("billing");
            let id = Uuid::now_v7();
            for (round, expected) in [Once::Handled(7), Once::Repeated].into_iter().enumerate() {
                let mut tx = $pool.begin().await.unwrap();
                let once: Result<Once<i32>, Error> =
                    inbox.process_once(&mut *tx, id, async |_conn| Ok(7)).await;
                assert_eq!(once.unwrap(), expected, "round {round}");
                tx.commit().await.unwrap();
            }
            let mut tx = $pool.begin().await.unwrap();
            assert!(Inbox::new("another").is_new(&mut *tx, id).await.unwrap());
        }};
    }
    pub(super) use a_repeat_is_not_handled;

    macro_rules! what_is_rolled_back_is_forgotten {
        ($pool:ident) => {{
            use super::*;
            let inbox = Inbox::new("billing");
            let id = Uuid::now_v7();
            for _ in 0..2 {
                let mut tx = $pool.begin().await.unwrap();
                assert!(inbox.is_new(&mut *tx, id).await.unwrap());
                tx.rollback().await.unwrap();
            }
        }};
    }
    pub(super) use what_is_rolled_back_is_forgotten;

    macro_rules! a_batch_is_handled_without_its_repeats {
        ($pool:ident) => {{
            use super::*;
            let inbox = Inbox::new("billing");
            let ids: Vec<Uuid> = (0..6).map(|_| Uuid::now_v7()).collect();
            let progress = |next| {
                let (cluster, topic) = ("c".to_owned(), "t".to_owned());
                Progress {
                    cluster,
                    topic,
                    partition: 0,
                    next,
                }
            };
            for (batch, next, expected) in [
                (vec![ids[3], ids[1], ids[3]], 3, vec![ids[3], ids[1]]),
                (vec![ids[1], ids[5], ids[0]], 6, vec![ids[5], ids[0]]),
            ] {
                let mut tx = $pool.begin().await.unwrap();
                let mut seen = Vec::new();
                let count: Result<usize, Error> = inbox
                    .process_batch(
                        &mut *tx,
                        &batch,
                        |id| *id,
                        &[progress(next)],
                        async |_, fresh| {
                            seen = fresh.into_iter().copied().collect();
                            Ok(())
                        },
                    )
                    .await;
                tx.commit().await.unwrap();
                assert_eq!((count.unwrap(), seen), (2, expected));
            }
            let mut tx = $pool.begin().await.unwrap();
            // An offset never goes back.
            inbox.store(&mut *tx, &[progress(2)]).await.unwrap();
            assert_eq!(inbox.progress(&mut *tx, "t").await.unwrap(), [progress(6)]);
        }};
    }
    pub(super) use a_batch_is_handled_without_its_repeats;
}

on_both!(
    a_repeat_is_not_handled,
    what_is_rolled_back_is_forgotten,
    a_batch_is_handled_without_its_repeats,
);

/// Two consumers get the same event at once: one waits, and then finds it handled.
#[tokio::test]
#[ignore = "needs Postgres: cargo xtask test"]
async fn a_concurrent_duplicate_waits() {
    let db = Db::postgres().await;
    let Db::Postgres { pool, .. } = &db else {
        unreachable!()
    };
    let (inbox, id) = (Inbox::new("billing"), Uuid::now_v7());
    let mut first = pool.begin().await.unwrap();
    assert!(inbox.is_new(&mut *first, id).await.unwrap());
    let mut second = pool.begin().await.unwrap();
    let (late, ()) = tokio::join!(inbox.is_new(&mut *second, id), async {
        first.commit().await.unwrap();
    });
    assert!(!late.unwrap());
}
