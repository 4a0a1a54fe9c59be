//! Postgres: transactions that commit late, or never, and connections that break.

use swifttrack_outbox::append_batch;

use crate::support::{Broker, Db, PATIENCE, Tune, check_order, numbered};

async fn set_up() -> (Db, sqlx::PgPool, Broker) {
    let db = Db::postgres().await;
    let Db::Postgres { pool, .. } = &db else {
        unreachable!()
    };
    let pool = pool.clone();
    (db, pool, Broker::memory())
}

#[tokio::test]
#[ignore = "needs Postgres: cargo xtask test"]
async fn commits_in_inverted_order_are_all_found() {
    let (db, pool, broker) = set_up().await;
    let relay = broker.relay(&db, Tune::default()).await;
    relay.ready().await;
    let mut open = Vec::new();
    for n in 0..10 {
        let mut tx = pool.begin().await.unwrap();
        append_batch(&mut *tx, &numbered(&format!("t{n}"), 1, 1, 20))
            .await
            .unwrap();
        open.push((n, tx));
    }
    while let Some((n, tx)) = open.pop() {
        tx.commit().await.unwrap();
        let topic = format!("t{n}");
        testkit::wait_until("a late commit is published", PATIENCE, async || {
            broker.read(&topic).await.len() == 20
        })
        .await;
        assert_eq!(check_order(&broker.read(&topic).await, 1, 20), 0);
    }
    db.until_empty().await;
    relay.shutdown(PATIENCE).await.unwrap();
}

/// The transaction gets its number early and writes late, after another wrote the same key.
#[tokio::test]
#[ignore = "needs Postgres: cargo xtask test"]
async fn an_early_transaction_that_writes_late_comes_second() {
    let (db, pool, broker) = set_up().await;
    let relay = broker.relay(&db, Tune::default()).await;
    relay.ready().await;
    let mut early = pool.begin().await.unwrap();
    sqlx::query("SELECT pg_current_xact_id()")
        .execute(&mut *early)
        .await
        .unwrap();
    db.append(&numbered("t", 1, 1, 3)).await.unwrap();
    append_batch(&mut *early, &numbered("t", 1, 4, 3))
        .await
        .unwrap();
    early.commit().await.unwrap();
    db.until_empty().await;
    relay.shutdown(PATIENCE).await.unwrap();
    assert_eq!(check_order(&broker.read("t").await, 1, 6), 0);
}

#[tokio::test]
#[ignore = "needs Postgres: cargo xtask test"]
async fn idle_readers_and_writers_hold_nobody_up() {
    let (db, pool, broker) = set_up().await;
    let relay = broker.relay(&db, Tune::default()).await;
    relay.ready().await;
    let mut reader = pool
        .begin_with("BEGIN ISOLATION LEVEL REPEATABLE READ")
        .await
        .unwrap();
    sqlx::query("SELECT count(*) FROM outbox")
        .execute(&mut *reader)
        .await
        .unwrap();
    let mut writer = pool.begin().await.unwrap();
    append_batch(&mut *writer, &numbered("late", 2, 1, 20))
        .await
        .unwrap();
    for round in 0..20 {
        db.append(&numbered("t", 5, 1 + 20 * round, 100))
            .await
            .unwrap();
    }
    testkit::wait_until("all others are published", PATIENCE, async || {
        db.rows().await == 0
    })
    .await;
    assert_eq!(check_order(&broker.read("t").await, 5, 400), 0);
    writer.commit().await.unwrap();
    testkit::wait_until("the late ones too", PATIENCE, async || {
        broker.read("late").await.len() == 20
    })
    .await;
    reader.rollback().await.unwrap();
    relay.shutdown(PATIENCE).await.unwrap();
}

/// A page holds ten rows here, so one transaction is many pages of one difference.
#[tokio::test]
#[ignore = "needs Postgres: cargo xtask test"]
async fn a_huge_transaction_costs_pages() {
    let (db, _pool, broker) = set_up().await;
    let relay = broker
        .relay(
            &db,
            Tune {
                batch: 10,
                ..Tune::default()
            },
        )
        .await;
    relay.ready().await;
    db.append(&numbered("t", 7, 1, 1_400)).await.unwrap();
    db.append(&numbered("t", 7, 201, 70)).await.unwrap();
    db.until_empty().await;
    relay.shutdown(PATIENCE).await.unwrap();
    assert_eq!(check_order(&broker.read("t").await, 7, 210), 0);
}

#[tokio::test]
#[ignore = "needs Postgres: cargo xtask test"]
async fn connections_that_break_lose_nothing() {
    let (db, pool, broker) = set_up().await;
    let relay = broker
        .relay(
            &db,
            Tune {
                batch: 20,
                ..Tune::default()
            },
        )
        .await;
    relay.ready().await;
    for round in 0..20 {
        db.append(&numbered("t", 5, 1 + 20 * round, 100))
            .await
            .unwrap();
        sqlx::query(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
             WHERE datname = current_database() AND application_name LIKE 'outbox %'",
        )
        .execute(&pool)
        .await
        .unwrap();
    }
    db.until_empty().await;
    relay.shutdown(PATIENCE).await.unwrap();
    assert_eq!(check_order(&broker.read("t").await, 5, 400), 0);
}

/// A writer in another process wakes the relay, which would have polled much later.
#[tokio::test]
#[ignore = "needs Postgres: cargo xtask test"]
async fn a_wake_reaches_the_relay_of_another_process() {
    use std::time::{Duration, Instant};
    use swifttrack_outbox::{RemoteWaker, Waker};
    let (db, pool, broker) = set_up().await;
    let Broker::Memory(memory) = &broker else {
        unreachable!()
    };
    let relay = Tune::default()
        .on(&db, memory.clone())
        .poll(Duration::from_secs(600), Duration::from_secs(600))
        .spawn()
        .await
        .unwrap();
    let _near = RemoteWaker::start(pool.clone(), &Waker::new(), &relay.waker());
    relay.ready().await;
    let writer = Waker::new();
    let _far = RemoteWaker::start(pool.clone(), &writer, &Waker::new());
    let start = Instant::now();
    db.append(&numbered("t", 1, 1, 3)).await.unwrap();
    testkit::wait_until("it is published", PATIENCE, async || {
        writer.wake();
        db.rows().await == 0
    })
    .await;
    assert!(start.elapsed() < Duration::from_secs(600));
    relay.shutdown(PATIENCE).await.unwrap();
}
