//! `order-service outbox …`, as an operator meets it beside relays that run.

use serde_json::{Value, json};
use sqlx::{PgPool, SqlitePool};
use swifttrack_outbox::{
    Database, Event, MemoryPublisher, Record, Relay, append_batch, backlog, dead_count, migrate,
};
use swifttrack_saga::store::sqlite;
use tempfile::TempDir;

use crate::support::service::run_command;
use crate::support::{Backend, LIMIT, on_both_backends};

on_both_backends!(
    refused_events_are_found_and_replayed_or_dropped,
    what_cannot_be_done_is_said_in_one_sentence,
);

enum Pool {
    Postgres(PgPool),
    Sqlite(SqlitePool),
}

/// The database that the service would find, with an outbox in it.
struct Place {
    environment: Vec<(&'static str, String)>,
    database: Database,
    pool: Pool,
    _data: TempDir,
    _backend: Backend,
}

impl Place {
    async fn make(backend: Backend) -> Self {
        let data = tempfile::tempdir().unwrap();
        let (database, pool) = match &backend {
            Backend::Sqlite => {
                let file = data.path().join("orders.db");
                let (write, read) = sqlite::open(&file).await.unwrap();
                (Database::sqlite(write.clone(), read), Pool::Sqlite(write))
            }
            Backend::PostgresAndKafka { db, .. } => {
                let pool = PgPool::connect(db.url()).await.unwrap();
                (Database::from(&pool), Pool::Postgres(pool))
            }
        };
        migrate(&database).await.unwrap();
        Self {
            environment: backend.environment(data.path()),
            database,
            pool,
            _data: data,
            _backend: backend,
        }
    }

    async fn append(&self, events: &[Event]) {
        match &self.pool {
            Pool::Postgres(pool) => {
                let mut connection = pool.acquire().await.unwrap();
                append_batch(&mut *connection, events).await.unwrap();
            }
            Pool::Sqlite(pool) => {
                let mut connection = pool.acquire().await.unwrap();
                append_batch(&mut *connection, events).await.unwrap();
            }
        }
    }

    /// The lines of an answer.
    #[track_caller]
    fn ask(&self, words: &str) -> Vec<Value> {
        let output = run_command(&self.environment, words);
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(0), "{words}: {said}");
        assert!(said.is_empty(), "{words}: {said}");
        let answer = String::from_utf8(output.stdout).unwrap();
        answer
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }

    /// The sentence of a refusal.
    #[track_caller]
    fn refused(&self, words: &str, code: i32) -> String {
        refused(&self.environment, words, code)
    }
}

#[track_caller]
fn refused(environment: &[(&'static str, String)], words: &str, code: i32) -> String {
    let output = run_command(environment, words);
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(code), "{words}: {said}");
    assert_eq!(said.trim().lines().count(), 1, "{words}: {said}");
    assert!(output.stdout.is_empty(), "{words}");
    said
}

fn event(order: &str, number: u32) -> Event {
    Event::new("order-events", order.to_owned(), "STEP", number.to_string())
}

/// What the broker does not take: the second event of each order.
fn too_large(record: &Record) -> Option<String> {
    (record.payload.as_deref() == Some(b"2")).then(|| "too large".to_owned())
}

async fn refused_events_are_found_and_replayed_or_dropped(backend: Backend) {
    let place = Place::make(backend).await;
    let orders = ["ORD-1", "ORD-1", "ORD-1", "ORD-2", "ORD-2"];
    let events: Vec<Event> = orders
        .iter()
        .zip([1, 2, 3, 1, 2])
        .map(|(order, number)| event(order, number))
        .collect();
    place.append(&events).await;
    let before = &place.ask("outbox backlog")[0];
    assert_eq!((&before["rows"], &before["dead"]), (&json!(5), &json!(0)));
    assert!(before["oldestAgeSeconds"].is_f64(), "{before}");
    let free = place.ask("outbox slots");
    assert_eq!(free.len(), 64);
    assert!(free.iter().all(|slot| slot["relay"].is_null()), "{free:?}");

    let broker = MemoryPublisher::new();
    broker.refuse(too_large);
    let relay = Relay::new(&place.database, broker.clone())
        .name("here")
        .spawn()
        .await
        .unwrap();
    testkit::wait_until("two are refused, and one waits", LIMIT, async || {
        dead_count(&place.database).await.unwrap() == 2
            && backlog(&place.database).await.unwrap().rows == 1
    })
    .await;
    let owned = place.ask("outbox slots");
    let is_here =
        |slot: &Value| slot["relay"] == "here" && slot["leaseSeconds"].as_f64() > Some(0.0);
    assert!(owned.iter().all(is_here), "{owned:?}");

    let dead = place.ask("outbox dead");
    let told: Vec<_> = dead
        .iter()
        .map(|dead| {
            (
                dead["key"].as_str().unwrap(),
                dead["reason"].as_str().unwrap(),
            )
        })
        .collect();
    assert_eq!(told, [("ORD-1", "too large"), ("ORD-2", "too large")]);
    for name in ["id", "topic", "type", "diedAt"] {
        assert!(dead[0][name].is_string(), "{name}: {dead:?}");
    }
    let (first, second) = (&dead[0]["seq"], &dead[1]["seq"]);
    assert_eq!(
        place.ask(&format!("outbox dead {first}"))[0]["seq"],
        *second
    );
    assert_eq!(place.ask("outbox dead 0 1").len(), 1);
    let waiting: Vec<Value> = place
        .ask("outbox blocked")
        .iter()
        .map(|blocked| {
            json!([
                blocked["topic"],
                blocked["key"],
                blocked["seq"],
                blocked["waiting"]
            ])
        })
        .collect();
    let expected = [
        json!(["order-events", "ORD-1", first, 1]),
        json!(["order-events", "ORD-2", second, 0]),
    ];
    assert_eq!(waiting, expected);

    let dropped = place.ask(&format!("outbox drop {second}"));
    assert_eq!(dropped, [json!({ "seq": second, "done": "dropped" })]);
    let twice = place.refused(&format!("outbox drop {second}"), 1);
    assert!(
        twice.contains(&format!("no dead event {second}")),
        "{twice}"
    );

    broker.refuse_nothing();
    let replayed = place.ask(&format!("outbox replay {first}"));
    assert_eq!(replayed, [json!({ "seq": first, "done": "replayed" })]);
    testkit::wait_until("all is published", LIMIT, async || {
        let rest = &place.ask("outbox backlog")[0];
        rest["rows"] == 0 && rest["dead"] == 0
    })
    .await;
    assert!(place.ask("outbox dead").is_empty());
    assert!(place.ask("outbox blocked").is_empty());
    relay.shutdown(LIMIT).await.unwrap();
    let published: Vec<_> = broker
        .records()
        .into_iter()
        .filter(|record| record.key == "ORD-1")
        .filter_map(|record| record.payload)
        .collect();
    assert_eq!(published, [b"1", b"2", b"3"]);
}

async fn what_cannot_be_done_is_said_in_one_sentence(backend: Backend) {
    let is_file = matches!(backend, Backend::Sqlite);
    let place = Place::make(backend).await;
    for words in ["outbox replay 7", "outbox drop 7"] {
        let said = place.refused(words, 1);
        assert!(said.contains("no dead event 7"), "{said}");
    }
    // Nothing was asked.
    for (words, named) in [
        ("outbox", "backlog, dead [AFTER [LIMIT]], replay SEQ"),
        ("outbox replay", "replay SEQ"),
        ("outbox drop seven", "\"seven\""),
        ("outbox dead 0 0", "LIMIT is 1 to 1000"),
        ("inbox", "there is `outbox`"),
    ] {
        let said = place.refused(words, 2);
        assert!(said.contains(named), "{words}: {said}");
    }
    // Somewhere else.
    if is_file {
        let elsewhere = tempfile::tempdir().unwrap();
        let folder = elsewhere.path().display().to_string();
        let said = refused(&[("DATA_DIR", folder.clone())], "outbox backlog", 1);
        assert!(
            said.contains(&folder) && said.contains("DATA_DIR"),
            "{said}"
        );
        let left = std::fs::read_dir(elsewhere.path()).unwrap().count();
        assert_eq!(left, 0, "a question makes no database");
    } else {
        let nowhere = "postgres://postgres@127.0.0.1:1/orders".to_owned();
        let said = refused(&[("DATABASE_URL", nowhere)], "outbox backlog", 1);
        assert!(said.contains("the database cannot be reached"), "{said}");
    }
}
