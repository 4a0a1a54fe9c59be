//! A start that joins the caller's transaction, on both databases.

use std::sync::Arc;

use sqlx::{Acquire, query, query_scalar};
use swifttrack_saga::conformance::Probe;
use swifttrack_saga::store::postgres::PgStore;
use swifttrack_saga::store::sqlite::{self, SqliteStore};
use swifttrack_saga::store::{Outcome, ShardLease, Store};

use super::sagas::{LONG, loaded, next, owner, start};
use super::schema::TestSchema;

/// The same story on each database: `$conn` gives a connection, `$store` a store with `$probe`.
macro_rules! story {
    ($store:expr, $probe:expr, $conn:expr) => {{
        let (store, probe) = ($store, $probe);
        let (worker, leases) = owner(&store, LONG).await;
        // Whoever starts from outside owns no shard.
        let nobody = ShardLease {
            epoch: 0,
            ..leases[3].clone()
        };
        let due = async || store.load_due(&leases, 10).await.unwrap();

        {
            let mut outside = $conn;
            let error = store.start_in(&mut outside, &start(&nobody, "a")).await;
            assert!(error.unwrap_err().is_invalid(), "it is in no transaction");
        }

        // Rolled back, it never was, and its id is free.
        {
            let mut conn = $conn;
            let mut tx = conn.begin().await.unwrap();
            let outcome = store.start_in(&mut tx, &start(&nobody, "a")).await.unwrap();
            assert!(matches!(outcome, Outcome::Committed), "{outcome:?}");
            tx.rollback().await.unwrap();
        }
        assert!(store.find("conform", "a").await.unwrap().is_none());
        assert!(due().await.is_empty());

        // Committed, it is due at once, beside what else the transaction wrote.
        let change = start(&nobody, "a");
        let refused = start(&nobody, "b");
        probe.reset();
        probe.refuse(refused.saga);
        {
            let mut conn = $conn;
            query("CREATE TABLE mine (n INTEGER)")
                .execute(&mut *conn)
                .await
                .unwrap();
            let mut tx = conn.begin().await.unwrap();
            query("INSERT INTO mine VALUES (1)")
                .execute(&mut *tx)
                .await
                .unwrap();
            let outcome = store.start_in(&mut tx, &change).await.unwrap();
            assert!(matches!(outcome, Outcome::Committed), "{outcome:?}");
            let outcome = store.start_in(&mut tx, &refused).await.unwrap();
            assert!(matches!(outcome, Outcome::Refused(_)), "{outcome:?}");
            let outcome = store.start_in(&mut tx, &start(&nobody, "a")).await.unwrap();
            let Outcome::Exists {
                saga,
                same_input: true,
            } = outcome
            else {
                panic!("{outcome:?}");
            };
            assert_eq!(saga, change.saga);
            tx.commit().await.unwrap();
            let rows: i64 = query_scalar("SELECT count(*) FROM mine")
                .fetch_one(&mut *conn)
                .await
                .unwrap();
            assert_eq!(rows, 1, "a refusal leaves the rest alone");
        }
        assert_eq!(probe.batches(), [[(change.saga, 1)], [(refused.saga, 1)]]);
        assert!(store.find("conform", "b").await.unwrap().is_none());
        let found = due().await;
        assert_eq!(found.len(), 1);
        assert_eq!(
            (found[0].saga, found[0].shard, found[0].seq),
            (change.saga, 3, 1)
        );

        // The owner goes on with it, and later starts meet it.
        let step = next(&leases[3], &found[0]);
        let outcomes = store.commit(worker, &[step]).await.unwrap();
        assert!(matches!(outcomes[..], [Outcome::Committed]), "{outcomes:?}");
        assert_eq!(loaded(&store, change.saga).await.seq, 2);
        let outcomes = store
            .commit(worker, &[start(&leases[0], "a")])
            .await
            .unwrap();
        assert!(
            matches!(outcomes[..], [Outcome::Exists { .. }]),
            "{outcomes:?}"
        );
    }};
}

#[tokio::test]
#[ignore = "needs Postgres: cargo xtask test"]
async fn a_start_joins_a_transaction_of_postgres() {
    let schema = TestSchema::create().await;
    let probe = Arc::new(Probe::default());
    let store = PgStore::connect(&schema.url()).await.unwrap();
    store.migrate().await.unwrap();
    let store = store.with_hook(Arc::clone(&probe) as _);
    let pool = sqlx::PgPool::connect(&schema.url()).await.unwrap();
    story!(store, probe, pool.acquire().await.unwrap());
    pool.close().await;
}

#[tokio::test]
async fn a_start_joins_a_transaction_of_sqlite() {
    let folder = tempfile::tempdir().unwrap();
    let probe = Arc::new(Probe::default());
    let (write, read) = sqlite::open(folder.path().join("sagas.db")).await.unwrap();
    let store = SqliteStore::new(write.clone(), read);
    store.migrate().await.unwrap();
    let store = store.with_hook(Arc::clone(&probe) as _);
    story!(store, probe, write.acquire().await.unwrap());
}
