//! The laws, on a real Postgres.

use std::sync::Arc;

use swifttrack_saga::conformance::Probe;
use swifttrack_saga::store::postgres::PgStore;
use testkit::pg::TestDb;

async fn make() -> (PgStore, TestDb) {
    let db = TestDb::create().await;
    let store = PgStore::connect(db.url()).await.unwrap();
    store.migrate().await.unwrap();
    (store, db)
}

async fn make_with(probe: Arc<Probe>) -> (PgStore, TestDb) {
    let (store, db) = make().await;
    (store.with_hook(probe), db)
}

swifttrack_saga::store_conformance!(
    #[ignore = "needs Postgres: cargo xtask test"]
    make
);
swifttrack_saga::hook_conformance!(
    #[ignore = "needs Postgres: cargo xtask test"]
    make_with
);
