//! What is refused leaves no trace in the tables of either database.

use std::error::Error as _;
use std::time::Duration;

use sqlx::{Acquire as _, AssertSqlSafe, PgPool, SqlitePool, query_scalar};
use swifttrack_saga::store::postgres::PgStore;
use swifttrack_saga::store::sqlite::{self, SqliteStore};
use swifttrack_saga::store::{Sighting, SignalOutcome};
use swifttrack_saga::{Answer, By, Engine, Erasure, Error, Saga, Signal, StartError};
use testkit::pg::TestDb;
use testkit::wait_until;

use crate::parts::{A, Partner};

const GO: Signal<String> = Signal::new("go");

/// Where sagas are: heartbeats and shards go into other tables.
const TABLES: [&str; 6] = [
    "saga_name",
    "saga_key",
    "saga",
    "saga_event",
    "saga_signal",
    "saga_command",
];

/// Past its pivot when it waits.
fn saga(name: &'static str, version: u32) -> Saga<String, String> {
    Saga::<String>::define(name, version, |s, input| {
        let length = input.map(|text| text.len() as u32);
        let (s, _) = s.pivot(A(Partner::default()), length);
        let word = s.await_signal(GO);
        s.finish(word)
    })
    .unwrap()
}

fn is_unregistered(error: &StartError) -> bool {
    let cause = error.source().and_then(|cause| cause.downcast_ref());
    error.is_invalid() && cause.is_some_and(Error::is_unregistered)
}

async fn verbs(engine: &Engine, definition: &str, id: &str) -> [Sighting; 6] {
    let by = || By::new("alice", "tries");
    let done = Answer::Done("1".to_owned());
    [
        engine.cancel(definition, id, by()).await.unwrap(),
        engine.pause(definition, id, by()).await.unwrap(),
        engine.resume(definition, id, by()).await.unwrap(),
        engine.retry(definition, id, None, by()).await.unwrap(),
        engine.skip(definition, id, "a", by()).await.unwrap(),
        engine
            .resolve(definition, id, "a", done, by())
            .await
            .unwrap(),
    ]
}

/// Asks for sagas of a definition, and of a version, that the engine does not know.
async fn ask_for_the_unregistered(engine: &Engine) {
    let small = String::new();
    for stranger in [saga("other", 1), saga("abc", 2)] {
        let error = engine.start(&stranger, "1", &small).await.unwrap_err();
        assert!(is_unregistered(&error), "{error:?}");
    }
    let heard = engine.signal("other", "1", &GO, "k", &small).await;
    assert_eq!(heard.unwrap(), SignalOutcome::NotFound);
    assert_eq!(verbs(engine, "other", "1").await, [Sighting::NotFound; 6]);
    let erased = engine.erase("other", "1").await.unwrap();
    assert_eq!(erased, Erasure::NotFound);
    assert!(engine.get("other", "1").await.unwrap().is_none());
}

/// Asks for what cannot be: saga 1 waits for its signal, saga 2 has ended, and 3 is not there.
async fn ask_for_the_impossible(engine: &Engine) {
    let abc = saga("abc", 1);
    let (small, large) = (String::new(), "x".repeat(1024 * 1024));
    for id in ["", "a:b", "a b", "ä", &"x".repeat(201)] {
        let error = engine.start(&abc, id, &small).await.unwrap_err();
        assert!(error.is_invalid(), "{id:?}: {error:?}");
        let error = engine.signal("abc", id, &GO, "k", &small).await;
        assert!(error.unwrap_err().is_invalid(), "{id:?}");
        let error = engine.cancel("abc", id, By::new("alice", "tries")).await;
        assert!(error.unwrap_err().is_invalid(), "{id:?}");
    }
    let error = engine.start(&abc, "3", &large).await.unwrap_err();
    assert!(error.is_invalid(), "{error:?}");
    for taken in ["1", "2"] {
        let error = engine.start(&abc, taken, &small).await.unwrap_err();
        assert!(error.is_conflict(), "{error:?}");
    }

    let error = engine.signal("abc", "1", &GO, "k", &large).await;
    assert!(error.unwrap_err().is_invalid(), "the words");
    let key = "k".repeat(201);
    let error = engine.signal("abc", "1", &GO, &key, &small).await;
    assert!(error.unwrap_err().is_invalid(), "the key");
    let typo = Signal::<String>::new("goo");
    let error = engine.signal("abc", "1", &typo, "k", &small).await;
    assert!(error.unwrap_err().is_invalid(), "the name");
    let heard = engine.signal("abc", "2", &GO, "late", &small).await;
    assert_eq!(heard.unwrap(), SignalOutcome::Ended);
    let heard = engine.signal("abc", "3", &GO, "k", &small).await;
    assert_eq!(heard.unwrap(), SignalOutcome::NotFound);

    let by = || By::new("alice", "tries");
    let answer = Answer::Done(large + "x");
    let error = engine.resolve("abc", "1", "a", answer, by()).await;
    assert!(error.unwrap_err().is_invalid(), "the answer");
    let sighting = engine.cancel("abc", "1", by()).await.unwrap();
    assert_eq!(sighting, Sighting::PastPivot);
    let sighting = engine.pause("abc", "1", by().if_seq(1)).await.unwrap();
    assert_eq!(sighting, Sighting::Moved { seq: 2 });
    assert_eq!(verbs(engine, "abc", "2").await, [Sighting::Ended; 6]);
    assert_eq!(verbs(engine, "abc", "3").await, [Sighting::NotFound; 6]);
    assert_eq!(engine.erase("abc", "1").await.unwrap(), Erasure::Running);
}

/// The same on each database: `$rows` reads all of its tables, `$pool` gives a connection.
macro_rules! story {
    ($store:expr, $pool:expr, $rows:expr) => {{
        let (pool, rows) = ($pool, $rows);
        let abc = saga("abc", 1);
        let engine = Engine::builder($store).register(&abc);
        let engine = engine.spawn().await.unwrap();
        let (small, large) = (String::new(), "x".repeat(1024 * 1024));

        let before = rows().await;
        assert!(before.iter().all(|row| row.starts_with("saga_name ")));
        ask_for_the_unregistered(&engine).await;
        {
            let mut conn = pool.acquire().await.unwrap();
            let mut tx = conn.begin().await.unwrap();
            for stranger in [saga("other", 1), saga("abc", 2)] {
                let error = engine.start_in(&mut *tx, &stranger, "1", &small).await;
                let error = error.unwrap_err();
                assert!(is_unregistered(&error), "{error:?}");
            }
            tx.commit().await.unwrap();
        }
        assert_eq!(rows().await, before, "the unregistered");

        for id in ["1", "2"] {
            let input = "input".to_owned();
            engine.start(&abc, id, &input).await.unwrap();
        }
        engine.signal("abc", "2", &GO, "k", &small).await.unwrap();
        engine.ended("abc", "2").await.unwrap();
        wait_until("it waits", Duration::from_secs(10), async || {
            let waits = engine.get("abc", "1").await.unwrap().unwrap().seq == 2;
            waits && engine.active() == 0
        })
        .await;
        let before = rows().await;
        ask_for_the_impossible(&engine).await;
        {
            let mut conn = pool.acquire().await.unwrap();
            let mut tx = conn.begin().await.unwrap();
            for (id, input) in [("a:b", &small), ("3", &large), ("1", &small), ("2", &small)] {
                let error = engine.start_in(&mut *tx, &abc, id, input).await;
                let error = error.unwrap_err();
                assert!(error.is_invalid() || error.is_conflict(), "{error:?}");
            }
            tx.commit().await.unwrap();
        }
        let after = rows().await;
        assert!(before == after, "{} rows, {}", before.len(), after.len());

        // Nor is a key taken that came with a refusal.
        let heard = engine.signal("abc", "1", &GO, "k", &small).await;
        assert!(matches!(heard.unwrap(), SignalOutcome::Accepted { .. }));
        assert!(rows().await != before);
        engine.ended("abc", "1").await.unwrap();
        engine.shutdown(Duration::from_secs(5)).await;
    }};
}

async fn rows_of_postgres(pool: &PgPool) -> Vec<String> {
    let mut rows = Vec::new();
    for table in TABLES {
        let rows_of = format!("SELECT '{table} ' || t::text FROM {table} t ORDER BY 1");
        let found = query_scalar::<_, String>(AssertSqlSafe(rows_of));
        rows.extend(found.fetch_all(pool).await.unwrap());
    }
    rows
}

async fn rows_of_sqlite(pool: &SqlitePool) -> Vec<String> {
    let mut rows = Vec::new();
    for table in TABLES {
        let columns = "SELECT group_concat('quote(' || name || ')', ' || '','' || ') \
                       FROM pragma_table_info(?)";
        let columns: String = query_scalar(columns)
            .bind(table)
            .fetch_one(pool)
            .await
            .unwrap();
        let rows_of = format!("SELECT '{table} ' || {columns} FROM {table} ORDER BY 1");
        let found = query_scalar::<_, String>(AssertSqlSafe(rows_of));
        rows.extend(found.fetch_all(pool).await.unwrap());
    }
    rows
}

#[tokio::test]
#[ignore = "needs Postgres: cargo xtask test"]
async fn what_is_refused_leaves_no_trace_in_postgres() {
    let db = TestDb::create().await;
    let store = PgStore::connect(db.url()).await.unwrap();
    store.migrate().await.unwrap();
    let pool = PgPool::connect(db.url()).await.unwrap();
    story!(store, &pool, async || rows_of_postgres(&pool).await);
}

#[tokio::test]
async fn what_is_refused_leaves_no_trace_in_sqlite() {
    let folder = tempfile::tempdir().unwrap();
    let (write, read) = sqlite::open(folder.path().join("sagas.db")).await.unwrap();
    let store = SqliteStore::new(write.clone(), read.clone());
    store.migrate().await.unwrap();
    story!(store, &write, async || rows_of_sqlite(&read).await);
}
