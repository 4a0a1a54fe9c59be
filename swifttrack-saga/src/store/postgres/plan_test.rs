//! The flusher's plans, as its own sessions make them.

use sqlx::{AssertSqlSafe, Row, raw_sql};
use testkit::pg::TestDb;

use super::PgStore;
use super::flush::ASSERT;

/// Empty tables make the planner believe that to read them whole is cheapest, and a prepared
/// statement keeps that plan until they are full.
#[tokio::test]
#[ignore = "needs Postgres: cargo xtask test"]
async fn a_flush_goes_by_the_index_even_on_empty_tables() {
    let db = TestDb::create().await;
    let store = PgStore::connect(db.url()).await.unwrap();
    store.migrate().await.unwrap();
    let mut lane = store.lanes.checkout().await.unwrap();
    let prepare = format!("PREPARE flush AS {ASSERT}");
    raw_sql(AssertSqlSafe(prepare))
        .execute(lane.conn())
        .await
        .unwrap();
    let nulls = vec!["NULL"; 41].join(", ");
    let rows = raw_sql(AssertSqlSafe(format!("EXPLAIN EXECUTE flush ({nulls})")))
        .fetch_all(lane.conn())
        .await
        .unwrap();
    let plan: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
    let plan = plan.join("\n");
    assert!(
        plan.contains("$1"),
        "a generic plan keeps its parameters:\n{plan}"
    );
    for scan in ["Seq Scan", "Bitmap", "Hash Join", "Merge Join"] {
        assert!(!plan.contains(scan), "{scan} in\n{plan}");
    }
    let by_key = plan.matches("Index Scan using saga_pkey on saga x").count();
    assert_eq!(by_key, 2, "the update and the delete:\n{plan}");
    assert!(plan.contains("Index Scan using saga_shard_pkey"), "{plan}");
}
