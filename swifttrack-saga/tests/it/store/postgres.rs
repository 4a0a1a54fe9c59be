//! The laws, on a real Postgres.

use std::sync::Arc;

use swifttrack_saga::conformance::Probe;
use swifttrack_saga::store::postgres::PgStore;

use super::schema::TestSchema;

async fn make() -> (PgStore, TestSchema) {
    let schema = TestSchema::create().await;
    let store = PgStore::connect(&schema.url()).await.unwrap();
    store.migrate().await.unwrap();
    (store, schema)
}

async fn make_with(probe: Arc<Probe>) -> (PgStore, TestSchema) {
    let (store, schema) = make().await;
    (store.with_hook(probe), schema)
}

swifttrack_saga::store_conformance!(
    #[ignore = "needs Postgres: cargo xtask test"]
    make
);
swifttrack_saga::hook_conformance!(
    #[ignore = "needs Postgres: cargo xtask test"]
    make_with
);
