//! The laws, on a real file.

use std::error::Error as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use swifttrack_saga::conformance::Probe;
use swifttrack_saga::store::sqlite::{self, SqliteStore};
use swifttrack_saga::store::{Shape, Store as _, WorkerId};
use tempfile::TempDir;
use uuid::Uuid;

async fn make() -> (SqliteStore, TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let (write, read) = sqlite::open(folder.path().join("sagas.db")).await.unwrap();
    let store = SqliteStore::new(write, read);
    store.migrate().await.unwrap();
    (store, folder)
}

async fn make_with(probe: Arc<Probe>) -> (SqliteStore, TempDir) {
    let (store, folder) = make().await;
    (store.with_hook(probe), folder)
}

swifttrack_saga::store_conformance!(make);
swifttrack_saga::hook_conformance!(make_with);

const LONG: Duration = Duration::from_secs(300);
const GROUP: &str = "conform@1";

async fn on(path: &Path) -> SqliteStore {
    let (write, read) = sqlite::open(path).await.unwrap();
    let store = SqliteStore::new(write, read);
    store.migrate().await.unwrap();
    store
}

/// Not even from the same process, whose locks a careless system would share.
#[tokio::test]
async fn a_second_engine_is_refused_in_one_sentence() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("sagas.db");
    let first = on(&path).await;
    let worker = WorkerId(Uuid::now_v7());
    first.register(worker, &[], LONG).await.unwrap();

    let second = on(&path).await;
    let stranger = WorkerId(Uuid::now_v7());
    let error = second.register(stranger, &[], LONG).await.unwrap_err();
    let sentence = error.source().unwrap().to_string();
    assert!(error.is_unavailable());
    assert!(
        sentence.starts_with("another engine already runs on"),
        "{sentence}"
    );

    first.deregister(worker).await.unwrap();
    second.register(stranger, &[], LONG).await.unwrap();
}

/// The lock says that the process before has ended; its lease says only that it meant to live.
#[tokio::test]
async fn a_restart_waits_for_no_lease() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("sagas.db");
    let before = on(&path).await;
    let crashed = WorkerId(Uuid::now_v7());
    before.register(crashed, &[], LONG).await.unwrap();
    let held = before.claim(crashed, GROUP, 64).await.unwrap();
    drop(before);

    let after = on(&path).await;
    let worker = WorkerId(Uuid::now_v7());
    after.register(worker, &[], LONG).await.unwrap();
    let taken = after.claim(worker, GROUP, 64).await.unwrap();
    assert_eq!((held.len(), taken.len()), (64, 64));
    assert!(taken.iter().all(|lease| lease.unclean && lease.epoch == 2));
}

#[tokio::test]
async fn a_newer_schema_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("sagas.db");
    let (write, read) = sqlite::open(&path).await.unwrap();
    let store = SqliteStore::new(write.clone(), read);
    let worker = WorkerId(Uuid::now_v7());
    let error = store.register(worker, &[], LONG).await.unwrap_err();
    assert!(error.is_schema(), "there are no tables: {error:?}");
    store.migrate().await.unwrap();
    store.migrate().await.unwrap();
    sqlx::query("INSERT INTO saga_schema (version) VALUES (99)")
        .execute(&write)
        .await
        .unwrap();
    let error = store.migrate().await.unwrap_err();
    assert!(error.is_schema(), "{error:?}");
    // Nor is a process that did not ask for migrations let in.
    let error = store.register(worker, &[], LONG).await.unwrap_err();
    assert!(error.is_schema(), "{error:?}");
    let shape = Shape {
        definition: "conform".to_owned(),
        version: 1,
        text: "shape".to_owned(),
    };
    let error = store.describe(&[shape], true).await.unwrap_err();
    assert!(error.is_schema(), "{error:?}");
    let rows: i64 = sqlx::query_scalar(
        "SELECT (SELECT count(*) FROM saga_worker) + (SELECT count(*) FROM saga_name)
             + (SELECT count(*) FROM saga_definition)",
    )
    .fetch_one(&write)
    .await
    .unwrap();
    assert_eq!(rows, 0);
}

#[tokio::test]
async fn several_starters_migrate_once() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("sagas.db");
    let mut stores = Vec::new();
    for _ in 0..4 {
        let (write, read) = sqlite::open(&path).await.unwrap();
        stores.push((SqliteStore::new(write.clone(), read), write));
    }
    let all = futures_util::future::join_all(stores.iter().map(|(store, _)| store.migrate())).await;
    assert!(all.iter().all(Result::is_ok), "{all:?}");
    let versions: Vec<i64> = sqlx::query_scalar("SELECT version FROM saga_schema")
        .fetch_all(&stores[0].1)
        .await
        .unwrap();
    assert_eq!(versions, [1, 2]);
}
