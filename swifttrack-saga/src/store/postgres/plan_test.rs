//! The flusher's plans, as its own sessions make them.

use sqlx::{AssertSqlSafe, PgConnection, Row, raw_sql};
use testkit::pg::TestDb;

use super::PgStore;
use super::statements::Parts;

/// Empty tables make the planner believe that to read them whole is cheapest, and a prepared
/// statement keeps that plan until they are full.
#[tokio::test]
#[ignore = "needs Postgres: cargo xtask test"]
async fn a_flush_goes_by_the_index_even_on_empty_tables() {
    let db = TestDb::create().await;
    let store = PgStore::connect(db.url()).await.unwrap();
    store.migrate().await.unwrap();
    let mut lane = store.lanes.checkout().await.unwrap();
    for parts in Parts::all() {
        goes_by_the_index(lane.conn(), parts).await;
    }
}

async fn goes_by_the_index(conn: &mut PgConnection, parts: Parts) {
    let sql = parts.assert();
    let by_key = usize::from(parts.updates) + usize::from(parts.deletes);
    let prepare = format!("PREPARE flush AS {sql}");
    raw_sql(AssertSqlSafe(prepare))
        .execute(&mut *conn)
        .await
        .unwrap();
    // The fence, the updates and the deletes name one of theirs twice, to count.
    let parameters = sql.matches('$').count() - 1 - by_key;
    let nulls = vec!["NULL"; parameters].join(", ");
    let rows = raw_sql(AssertSqlSafe(format!("EXPLAIN EXECUTE flush ({nulls})")))
        .fetch_all(&mut *conn)
        .await
        .unwrap();
    let plan: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
    let plan = plan.join("\n");
    assert!(
        plan.contains("owner = $4"),
        "a generic plan keeps its parameters:\n{plan}"
    );
    for scan in ["Seq Scan", "Bitmap", "Hash Join", "Merge Join"] {
        assert!(!plan.contains(scan), "{scan} in\n{plan}");
    }
    let found = plan.matches("Index Scan using saga_pkey on saga x").count();
    assert_eq!(found, by_key, "{plan}");
    assert!(plan.contains("Index Scan using saga_shard_pkey"), "{plan}");
    raw_sql("DEALLOCATE flush").execute(conn).await.unwrap();
}
