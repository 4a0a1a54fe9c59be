//! The engine over a real Postgres.

use std::sync::Arc;
use std::time::{Duration, Instant};

use sqlx::{PgConnection, Postgres, query};
use swifttrack_saga::hook::{End, HookError, OnTransition, Transition};
use swifttrack_saga::store::postgres::PgStore;
use swifttrack_saga::{Engine, Started};
use testkit::pg::TestDb;
use testkit::wait_until;

use crate::parts::{Partner, Trouble, abc};
use crate::store::proxy::Proxy;

/// So long that a busy machine does not lose it by itself.
const LEASE: Duration = Duration::from_secs(10);

async fn engine(db: &TestDb, partner: &Partner) -> Engine {
    let store = PgStore::connect(db.url()).await.unwrap();
    store.migrate().await.unwrap();
    let engine = Engine::builder(store).register(&abc(partner)).lease(LEASE);
    engine.spawn().await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs Postgres: cargo xtask test"]
async fn many_sagas_end_and_one_that_crashed_goes_on_elsewhere() {
    let db = TestDb::create().await;
    let partner = Partner::default();
    let saga = abc(&partner);
    let first = engine(&db, &partner).await;
    partner.trouble("c", [Trouble::Reject]);
    let starts = (0..500).map(|id| {
        let (first, saga) = (first.clone(), saga.clone());
        tokio::spawn(async move { first.start(&saga, &id.to_string(), &7).await })
    });
    for start in starts.collect::<Vec<_>>() {
        start.await.unwrap().unwrap();
    }
    let mut compensated = 0;
    for id in 0..500 {
        let end = first.ended("abc", &id.to_string()).await.unwrap();
        compensated += usize::from(matches!(end, Some(End::Compensated { .. })));
    }
    assert_eq!(compensated, 1);
    assert_eq!(partner.calls().len(), 500 * 3 + 2);

    partner.trouble("b", [Trouble::Hang]);
    first.start(&saga, "last", &7).await.unwrap();
    while !partner.calls().ends_with(&["a".to_owned(), "b".to_owned()]) {
        tokio::task::yield_now().await;
    }
    first.crash();
    let second = engine(&db, &partner).await;
    let end = second.ended("abc", "last").await.unwrap();
    assert!(matches!(end, Some(End::Completed { .. })));
    assert!(
        partner
            .calls()
            .ends_with(&["b", "b?", "b", "c"].map(str::to_owned))
    );
    second.shutdown(Duration::from_secs(5)).await;
}

/// Writes a row for each transition, and never succeeds for one of them.
struct Projection;

#[async_trait::async_trait]
impl OnTransition<Postgres> for Projection {
    async fn on_transitions(
        &self,
        conn: &mut PgConnection,
        batch: &[&Transition],
    ) -> Result<(), HookError> {
        let ids: Vec<&str> = batch.iter().map(|t| &*t.id).collect();
        let seqs: Vec<i32> = batch.iter().map(|t| t.seq.cast_signed()).collect();
        // A check of the table refuses the second transition of saga 250.
        query("INSERT INTO seen (id, seq) SELECT * FROM unnest($1::text[], $2::int[])")
            .bind(ids)
            .bind(seqs)
            .execute(conn)
            .await?;
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs Postgres: cargo xtask test"]
async fn a_hook_that_always_fails_for_one_of_500_holds_up_nobody() {
    let db = TestDb::create().await;
    let pool = sqlx::PgPool::connect(db.url()).await.unwrap();
    query("CREATE TABLE seen (id text, seq int, CHECK (id <> '250' OR seq <> 2))")
        .execute(&pool)
        .await
        .unwrap();
    let partner = Partner::default();
    let saga = abc(&partner);
    let store = PgStore::connect(db.url()).await.unwrap();
    store.migrate().await.unwrap();
    let store = store.with_hook(Arc::new(Projection));
    let engine = Engine::builder(store).register(&saga).lease(LEASE);
    let engine = engine.spawn().await.unwrap();
    let starts = (0..500).map(|id| {
        let (engine, saga) = (engine.clone(), saga.clone());
        tokio::spawn(async move { engine.start(&saga, &id.to_string(), &7).await })
    });
    for start in starts.collect::<Vec<_>>() {
        start.await.unwrap().unwrap();
    }
    for id in (0..500).filter(|id| *id != 250) {
        let end = engine.ended("abc", &id.to_string()).await.unwrap();
        assert!(matches!(end, Some(End::Completed { .. })), "{id}: {end:?}");
    }
    let count = async |what: &str| -> i64 {
        sqlx::query_scalar(sqlx::AssertSqlSafe(format!("SELECT count(*) FROM {what}")))
            .fetch_one(&pool)
            .await
            .unwrap()
    };
    assert_eq!(count("seen").await, 499 * 4 + 1, "each transition once");
    assert_eq!(count("saga").await, 1);
    // What is in its way goes, and it goes on.
    query("ALTER TABLE seen DROP CONSTRAINT seen_check")
        .execute(&pool)
        .await
        .unwrap();
    assert!(engine.ended("abc", "250").await.unwrap().is_some());
    assert_eq!(count("seen").await, 500 * 4);
    engine.shutdown(Duration::from_secs(5)).await;
}

/// What goes over the wire, whoever sends it: one statement is one call of the store.
#[tokio::test]
#[ignore = "needs Postgres: cargo xtask test"]
async fn an_idle_worker_sends_at_most_one_statement_a_second_over_the_wire() {
    let db = TestDb::create().await;
    let proxy = Proxy::to(db.url(), b"COMMIT").await;
    let store = PgStore::connect(&proxy.url(db.url())).await.unwrap();
    store.migrate().await.unwrap();
    let saga = abc(&Partner::default());
    // As by default: the settings are what is counted.
    let engine = Engine::builder(store)
        .register(&saga)
        .spawn()
        .await
        .unwrap();
    wait_until("it has looked into its shards", LEASE, async || {
        let before = proxy.statements();
        tokio::time::sleep(Duration::from_millis(500)).await;
        proxy.statements() == before
    })
    .await;
    let (began, before) = (Instant::now(), proxy.statements());
    tokio::time::sleep(Duration::from_secs(10)).await;
    let (took, sent) = (began.elapsed(), proxy.statements() - before);
    assert!(sent > 0, "it is alive");
    assert!(sent as f64 <= took.as_secs_f64(), "{sent} in {took:?}");
    engine.shutdown(Duration::from_secs(5)).await;
}

/// An order and its saga, or neither.
#[tokio::test]
#[ignore = "needs Postgres: cargo xtask test"]
async fn a_start_is_one_with_the_transaction_of_its_caller() {
    let db = TestDb::create().await;
    let pool = sqlx::PgPool::connect(db.url()).await.unwrap();
    let partner = Partner::default();
    let engine = engine(&db, &partner).await;
    let saga = abc(&partner);

    let mut tx = pool.begin().await.unwrap();
    engine.start_in(&mut *tx, &saga, "1", &7).await.unwrap();
    tx.rollback().await.unwrap();
    engine.hint();
    assert!(engine.get("abc", "1").await.unwrap().is_none());

    let mut tx = pool.begin().await.unwrap();
    let first = engine.start_in(&mut *tx, &saga, "1", &7).await.unwrap();
    let again = engine.start_in(&mut *tx, &saga, "1", &7).await.unwrap();
    let existing = Started {
        existing: true,
        ..first
    };
    assert_eq!(again, existing);
    let other = engine.start_in(&mut *tx, &saga, "1", &8).await.unwrap_err();
    assert!(other.is_conflict(), "{other:?}");
    let bad = engine
        .start_in(&mut *tx, &saga, "a:b", &7)
        .await
        .unwrap_err();
    assert!(bad.is_invalid(), "{bad:?}");
    tx.commit().await.unwrap();
    engine.hint();
    let end = engine.ended("abc", "1").await.unwrap();
    assert!(matches!(end, Some(End::Completed { .. })), "{end:?}");
    assert_eq!(partner.calls(), ["a", "b", "c"]);

    let mut conn = pool.acquire().await.unwrap();
    let error = engine.start_in(&mut *conn, &saga, "2", &7).await;
    assert!(error.unwrap_err().is_invalid(), "it is in no transaction");
    engine.shutdown(Duration::from_secs(5)).await;
}
