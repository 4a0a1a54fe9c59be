//! The engine over a real Postgres.

use std::time::Duration;

use swifttrack_saga::Engine;
use swifttrack_saga::hook::End;
use swifttrack_saga::store::postgres::PgStore;
use testkit::pg::TestDb;

use crate::parts::{Partner, Trouble, abc};

const LEASE: Duration = Duration::from_secs(2);

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
