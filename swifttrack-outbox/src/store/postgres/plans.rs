//! The plans of a relay's statements, on a table that looked empty when it was analyzed, and on a
//! full one.

use sqlx::{AssertSqlSafe, Connection as _, PgConnection, PgPool};
use testkit::pg::TestDb;

use super::{PostgresStore, STATEMENT_TIMEOUT, keeper, reader, writer};
use crate::store::Store as _;

/// A statement, its arguments, the indexes that it must use, and what must not be in its plan.
struct Expected {
    name: &'static str,
    sql: &'static str,
    arguments: &'static str,
    indexes: &'static [&'static str],
    without: &'static [&'static str],
}

const ALL: [Expected; 7] = [
    Expected {
        name: "backlog",
        sql: reader::BACKLOG,
        arguments: "0, 14, pg_current_snapshot()::text, '{away}', 1000, 1000000",
        // The walk by number ends at the page's last row, so nothing is sorted.
        indexes: &["outbox_pkey", "outbox_dead_blocks"],
        without: &["Sort", "outbox_xid"],
    },
    Expected {
        name: "new",
        sql: reader::NEW,
        arguments: "'900000000', '{900000001,900000002}', 14, 1000, 1000000",
        indexes: &["outbox_xid"],
        without: &["outbox_pkey"],
    },
    Expected {
        name: "more",
        sql: reader::MORE,
        arguments: "0, 14, '10:10:', '20:20:', 1000, 1000000",
        indexes: &["outbox_pkey"],
        without: &["Sort", "outbox_xid"],
    },
    Expected {
        name: "delete",
        sql: writer::DELETE,
        arguments: "'{1,2,3}'",
        indexes: &["outbox_pkey"],
        without: &[],
    },
    Expected {
        name: "marked",
        sql: writer::MARKED,
        arguments: "'{1,2,3}'",
        indexes: &["outbox_pkey"],
        without: &[],
    },
    Expected {
        name: "blocked",
        sql: keeper::BLOCKED,
        arguments: "'{1,2,3}', 1000",
        indexes: &["outbox_dead_blocks"],
        without: &[],
    },
    Expected {
        name: "replays",
        sql: keeper::REPLAYS,
        arguments: "'{1,2,3}', 100",
        indexes: &["outbox_dead_replay"],
        without: &["Sort"],
    },
];

async fn plan(conn: &mut PgConnection, of: &Expected) -> String {
    let (name, sql, arguments) = (of.name, of.sql, of.arguments);
    for statement in [
        "DEALLOCATE ALL".to_owned(),
        format!("PREPARE plan_of_{name} AS {sql}"),
    ] {
        sqlx::raw_sql(AssertSqlSafe(statement))
            .execute(&mut *conn)
            .await
            .unwrap();
    }
    let explain = format!("EXPLAIN (COSTS OFF) EXECUTE plan_of_{name}({arguments})");
    let lines: Vec<String> = sqlx::query_scalar(AssertSqlSafe(explain))
        .persistent(false)
        .fetch_all(conn)
        .await
        .unwrap();
    lines.join("\n")
}

async fn check(conn: &mut PgConnection, when: &str) {
    for expected in &ALL {
        let plan = plan(conn, expected).await;
        let name = expected.name;
        for index in expected.indexes {
            assert!(
                plan.contains(index),
                "{name}, {when}, without {index}:\n{plan}"
            );
        }
        for node in expected.without.iter().chain(&["Seq Scan", "Bitmap"]) {
            assert!(!plan.contains(node), "{name}, {when}, with {node}:\n{plan}");
        }
    }
}

async fn run(pool: &PgPool, sql: &'static str) {
    sqlx::raw_sql(sql).execute(pool).await.unwrap();
}

#[tokio::test]
#[ignore = "needs Postgres: cargo xtask test"]
async fn no_analyze_turns_a_probe_into_a_scan() {
    let db = TestDb::create().await;
    let pool = PgPool::connect(db.url()).await.unwrap();
    let store = PostgresStore::new(pool.clone());
    store.migrate().await.unwrap();
    run(&pool, "ANALYZE").await;
    let mut relay = store.connect("plans", STATEMENT_TIMEOUT).await.unwrap();
    check(&mut relay, "analyzed when empty").await;
    run(
        &pool,
        "INSERT INTO outbox (id, aggregatetype, aggregateid, type, slot) \
         SELECT gen_random_uuid(), 't', n::text, 'T', n % 64 FROM generate_series(1, 20000) n; \
         INSERT INTO outbox_dead (seq, id, aggregatetype, aggregateid, type, slot, created_at, \
         reason, blocks) SELECT n, gen_random_uuid(), 't', n::text, 'T', n % 64, now(), 'r', \
         n % 100 = 0 FROM generate_series(1, 2000) n",
    )
    .await;
    // A new connection, as after a restart: it knows the table by its ANALYZE only.
    let mut stale = store.connect("plans", STATEMENT_TIMEOUT).await.unwrap();
    check(&mut stale, "full since").await;
    run(&pool, "ANALYZE").await;
    let mut full = store.connect("plans", STATEMENT_TIMEOUT).await.unwrap();
    check(&mut full, "analyzed when full").await;
    for conn in [relay, stale, full] {
        conn.close().await.unwrap();
    }
}

/// Dead rows are taken away by their number, not in proportion to a table that is mostly empty.
#[tokio::test]
#[ignore = "needs Postgres: cargo xtask test"]
async fn the_migration_has_autovacuum_keep_up_with_a_queue() {
    let db = TestDb::create().await;
    let pool = PgPool::connect(db.url()).await.unwrap();
    PostgresStore::new(pool.clone()).migrate().await.unwrap();
    let options: Vec<String> =
        sqlx::query_scalar("SELECT unnest(reloptions) FROM pg_class WHERE relname = 'outbox'")
            .fetch_all(&pool)
            .await
            .unwrap();
    for option in [
        "autovacuum_vacuum_scale_factor=0",
        "autovacuum_vacuum_threshold=5000",
        "autovacuum_vacuum_cost_delay=0",
    ] {
        assert!(options.iter().any(|it| it == option), "{options:?}");
    }
}
