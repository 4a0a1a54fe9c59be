//! The table is Debezium's, and the way from polling to CDC loses nothing and repeats nothing.

use std::collections::HashSet;

use crate::support::{Broker, Db, PATIENCE, Tune, numbered};
use sqlx::Row;

/// What Debezium's outbox event router reads, with the types that it expects: `created_at` is a
/// timestamp without zone, since the router takes an INT64, and a zoned one comes as a string.
#[tokio::test]
#[ignore = "needs Postgres: cargo xtask test"]
async fn the_columns_are_what_the_event_router_expects() {
    let db = Db::postgres().await;
    let Db::Postgres { pool, .. } = &db else {
        unreachable!()
    };
    let columns = sqlx::query(
        "SELECT column_name::text, data_type::text, is_nullable::text \
         FROM information_schema.columns WHERE table_name = 'outbox'",
    )
    .fetch_all(pool)
    .await
    .unwrap();
    let columns: Vec<(String, String, String)> = columns
        .iter()
        .map(|row| (row.get(0), row.get(1), row.get(2)))
        .collect();
    for (name, kind, nullable) in [
        ("id", "uuid", "NO"),
        ("aggregatetype", "character varying", "NO"),
        ("aggregateid", "character varying", "NO"),
        ("type", "character varying", "NO"),
        ("payload", "bytea", "YES"),
        ("tracingspancontext", "character varying", "YES"),
        ("created_at", "timestamp without time zone", "NO"),
    ] {
        let expected = (name.to_owned(), kind.to_owned(), nullable.to_owned());
        assert!(columns.contains(&expected), "{name}: {columns:?}");
    }
}

/// A replication connection by psql, since it is not one of sqlx's: it has to stay open for as
/// long as the snapshot is wanted.
struct Replication(std::process::Child);

impl Replication {
    /// Makes the slot and returns the name of the snapshot that it exports.
    fn create(url: &str, slot: &str) -> (Self, String) {
        use std::io::{BufRead, BufReader, Write};
        use std::process::{Command, Stdio};
        let mut child = Command::new("psql")
            .args([
                "-X",
                "-A",
                "-t",
                "-d",
                &format!("{url}?replication=database"),
            ])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("psql is needed");
        let command = format!("CREATE_REPLICATION_SLOT {slot} LOGICAL pgoutput EXPORT_SNAPSHOT;\n");
        child
            .stdin
            .as_mut()
            .unwrap()
            .write_all(command.as_bytes())
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.as_mut().unwrap())
            .read_line(&mut line)
            .unwrap();
        let snapshot = line
            .split('|')
            .nth(2)
            .expect("a snapshot's name")
            .to_owned();
        (Self(child), snapshot)
    }
}

impl Drop for Replication {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The procedure of `Relay::only_visible_in`, while a writer never stops.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs Postgres: cargo xtask test"]
async fn the_cut_over_to_cdc_is_exact() {
    let db = Db::postgres().await;
    let Db::Postgres { pool, _db: test } = &db else {
        unreachable!()
    };
    let broker = Broker::memory();
    let Broker::Memory(memory) = &broker else {
        unreachable!()
    };
    let relay = broker.relay(&db, Tune::default()).await;
    db.append(&numbered("t", 5, 1, 50)).await.unwrap();
    db.until_empty().await;
    relay.shutdown(PATIENCE).await.unwrap();

    let execute = async |sql: String| {
        sqlx::query(sqlx::AssertSqlSafe(sql))
            .execute(pool)
            .await
            .unwrap();
    };
    execute("CREATE PUBLICATION outbox_pub FOR TABLE outbox WITH (publish = 'insert')".into())
        .await;
    let writes = async {
        for round in 0..40 {
            db.append(&numbered("t", 5, 11 + round, 5)).await.unwrap();
        }
    };
    let slot = testkit::unique("outbox").replace('-', "_");
    let cut = async {
        let (url, name) = (test.url().to_owned(), slot.clone());
        let (replication, exported) =
            tokio::task::spawn_blocking(move || Replication::create(&url, &name))
                .await
                .unwrap();
        let mut tx = pool
            .begin_with("BEGIN ISOLATION LEVEL REPEATABLE READ")
            .await
            .unwrap();
        let set = format!("SET TRANSACTION SNAPSHOT '{exported}'");
        sqlx::query(sqlx::AssertSqlSafe(set))
            .execute(&mut *tx)
            .await
            .unwrap();
        let snapshot: String = sqlx::query_scalar("SELECT pg_current_snapshot()::text")
            .fetch_one(&mut *tx)
            .await
            .unwrap();
        drop(replication);
        snapshot
    };
    let ((), snapshot) = tokio::join!(writes, cut);

    let drain = Tune::default()
        .on(&db, memory.clone())
        .only_visible_in(&snapshot);
    let relay = drain.spawn().await.unwrap();
    testkit::wait_until(
        "what the snapshot sees is published",
        PATIENCE,
        async || {
            let left: i64 = sqlx::query_scalar(
            "SELECT count(*) FROM outbox WHERE pg_visible_in_snapshot(xid, $1::text::pg_snapshot)",
        )
        .bind(&snapshot)
        .fetch_one(pool)
        .await
        .unwrap();
            left == 0
        },
    )
    .await;
    db.append(&numbered("t", 5, 51, 25)).await.unwrap();
    relay.shutdown(PATIENCE).await.unwrap();

    let changes = sqlx::query(
        "SELECT data FROM pg_logical_slot_get_binary_changes($1, NULL, NULL, \
         'proto_version', '1', 'publication_names', 'outbox_pub')",
    )
    .bind(&slot)
    .fetch_all(pool)
    .await
    .unwrap();
    let delivered = changes
        .iter()
        .filter(|row| row.get::<Vec<u8>, _>(0)[0] == b'I')
        .count();
    execute(format!("SELECT pg_drop_replication_slot('{slot}')")).await;
    let published = broker.read("t").await;
    let relayed: HashSet<(String, u64)> = published
        .iter()
        .map(|r| (r.key.clone(), r.number()))
        .collect();
    assert_eq!(published.len(), relayed.len(), "repeats");
    // 50 before, 200 around the slot's beginning, 25 after: each on one of the two ways.
    assert_eq!(relayed.len() + delivered, 275);
    let left: i64 = sqlx::query_scalar("SELECT count(*) FROM outbox")
        .fetch_one(pool)
        .await
        .unwrap();
    assert_eq!(left as usize, delivered);
}
