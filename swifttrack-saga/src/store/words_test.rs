//! Every guard in the words of the SQL stores is needed: without it, a law of the suite breaks.
//!
//! What two transactions that meet need (`FOR SHARE`, `SKIP LOCKED`) is not here, since one of
//! them has to be stopped in the middle: see `faults` and `process` among the tests of the crate.

use std::any::Any;
use std::panic::AssertUnwindSafe;

use futures_util::FutureExt as _;
use futures_util::future::LocalBoxFuture;

use super::Store;
use crate::conformance::{commits, inbox, leases, reading, starts};
use crate::guard::{REWORDED, Reworded};

/// A guard, what stands in its place so that the statement is still one, and who misses it.
struct Case {
    without: &'static str,
    instead: &'static str,
    name: &'static str,
    law: for<'a> fn(&'a dyn Store) -> LocalBoxFuture<'a, ()>,
}

macro_rules! cases {
    ($($without:literal => $instead:literal breaks $module:ident::$law:ident;)*) => {
        [$(Case {
            without: $without,
            instead: $instead,
            name: stringify!($law),
            law: |store| Box::pin($module::$law(store)),
        }),*]
    };
}

impl Case {
    /// Why the guard seems not to be needed in a store that is fresh and empty.
    async fn survives(&self, store: &dyn Store) -> Option<String> {
        REWORDED.set(Some(Reworded {
            without: self.without,
            instead: self.instead,
            met: 0,
        }));
        let told = AssertUnwindSafe((self.law)(store)).catch_unwind().await;
        let met = REWORDED.take().map_or(0, |reworded| reworded.met);
        let panic = told.err();
        let words = panic.as_deref().map(words_of).unwrap_or_default();
        // A statement that is none breaks every law, and proves nothing.
        let wrong = [r#"code: "42"#, r#"code: "08"#, "SqliteError { code: 1,"];
        let why = match () {
            () if met == 0 => "no statement has these words",
            () if panic.is_none() => "the law holds without",
            () if wrong.iter().any(|wrong| words.contains(wrong)) => "it is no statement without",
            () => return None,
        };
        let Self { without, name, .. } = self;
        Some(format!("{name}: {why}: {without}\n    {words}"))
    }
}

fn words_of(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
    text.unwrap_or_default()
}

#[cfg(feature = "postgres")]
#[tokio::test]
#[ignore = "needs Postgres: cargo xtask test"]
async fn every_guard_of_postgres_is_needed() {
    use super::postgres::PgStore;

    let cases = cases! {
        // A flush, in both forms.
        "AND s.epoch = e.epoch WHERE s.owner = $4" => "WHERE s.owner = $4"
            breaks leases::a_stale_owner_changes_nothing;
        "AND s.epoch = e.epoch WHERE s.owner = $4" => "WHERE s.owner = $4"
            breaks leases::a_stale_epoch_is_fenced_and_holds_up_nobody;
        "WHERE s.owner = $4" => "WHERE $4::uuid IS NOT NULL"
            breaks leases::a_released_shard_is_taken_cleanly;
        "AS attention) r WHERE x.saga = r.saga AND x.seq = r.expect"
            => "AS attention) r WHERE x.saga = r.saga"
            breaks commits::a_stale_seq_changes_nothing;
        "AS attention) r WHERE x.saga = r.saga AND x.seq = r.expect AND x.ctl = r.ctl"
            => "AS attention) r WHERE x.saga = r.saga AND x.seq = r.expect"
            breaks commits::a_changed_ctl_conflicts;
        "AS attention) r WHERE x.saga = r.saga AND x.seq = r.expect AND x.ctl = r.ctl AND x.grp = r.grp AND x.shard = r.shard"
            => "AS attention) r WHERE x.saga = r.saga AND x.seq = r.expect AND x.ctl = r.ctl"
            breaks leases::a_lease_is_of_its_own_shard;
        "AS ctl) r WHERE x.saga = r.saga AND x.seq = r.expect" => "AS ctl) r WHERE x.saga = r.saga"
            breaks commits::a_stale_seq_changes_nothing;
        "AS ctl) r WHERE x.saga = r.saga AND x.seq = r.expect AND x.ctl = r.ctl"
            => "AS ctl) r WHERE x.saga = r.saga AND x.seq = r.expect"
            breaks inbox::an_accepted_request_is_a_promise;
        "AS ctl) r WHERE x.saga = r.saga AND x.seq = r.expect AND x.ctl = r.ctl AND x.grp = r.grp AND x.shard = r.shard"
            => "AS ctl) r WHERE x.saga = r.saga AND x.seq = r.expect AND x.ctl = r.ctl"
            breaks leases::a_lease_is_of_its_own_shard;
        // What the asserting form counts.
        "(SELECT count(*) FROM f) = cardinality($1)" => "true"
            breaks leases::a_released_shard_is_taken_cleanly;
        "(SELECT count(*) FROM f) = cardinality($1)" => "true"
            breaks leases::a_stale_epoch_is_fenced_and_holds_up_nobody;
        "(SELECT count(*) FROM u) = cardinality($5)" => "true"
            breaks commits::a_changed_ctl_conflicts;
        "(SELECT count(*) FROM d) = cardinality($5)" => "true"
            breaks inbox::an_accepted_request_is_a_promise;
        "k.input_hash = r.input_hash" => "true" breaks starts::another_input_is_told;
        "AND s.n = r.n" => "" breaks inbox::a_consumed_signal_stays_known;
        "AND c.n <= r.until" => "" breaks inbox::an_applied_request_is_forgotten;
        // Leases.
        "AND w.lease_until > t.at RETURNING" => "RETURNING"
            breaks leases::an_expired_worker_does_not_come_back;
        "WHERE lease_until <= (SELECT saga_now())" => ""
            breaks leases::a_live_owner_keeps_its_shards;
        "AND (s.owner IS NULL OR NOT EXISTS (SELECT FROM saga_worker w WHERE w.worker = s.owner))" => ""
            breaks leases::a_live_owner_keeps_its_shards;
        "AND EXISTS (SELECT FROM saga_worker w WHERE w.worker = $1 AND w.lease_until > (SELECT saga_now()))" => ""
            breaks leases::a_worker_that_is_gone_claims_nothing;
        "SET owner = $1, epoch = s.epoch + 1" => "SET owner = $1"
            breaks leases::an_expired_owner_loses_its_shards;
        "l.owner IS NOT NULL" => "false" breaks leases::an_expired_owner_loses_its_shards;
        "AND s.epoch = r.epoch WHERE s.owner = $1 ORDER BY s.grp, s.shard FOR UPDATE OF s) UPDATE saga_shard s SET epoch"
            => "WHERE s.owner = $1 ORDER BY s.grp, s.shard FOR UPDATE OF s) UPDATE saga_shard s SET epoch"
            breaks leases::a_reclaim_raises_the_epoch;
        "WHERE s.owner = $1 ORDER BY s.grp, s.shard FOR UPDATE OF s) UPDATE saga_shard s SET epoch"
            => "WHERE $1::uuid IS NOT NULL FOR UPDATE OF s) UPDATE saga_shard s SET epoch"
            breaks leases::a_released_shard_is_taken_cleanly;
        "SET epoch = s.epoch + 1" => "SET epoch = s.epoch"
            breaks leases::a_reclaim_raises_the_epoch;
        "AND s.epoch = r.epoch WHERE s.owner = $1 ORDER BY s.grp, s.shard FOR UPDATE OF s) UPDATE saga_shard s SET owner"
            => "WHERE s.owner = $1 FOR UPDATE OF s) UPDATE saga_shard s SET owner"
            breaks leases::a_reclaim_raises_the_epoch;
        "WHERE owner = $1 ORDER BY grp, shard FOR UPDATE" => "WHERE $1::uuid IS NOT NULL FOR UPDATE"
            breaks leases::a_deregistered_worker_leaves_cleanly;
        // Requests and signals.
        "AND ($3::bigint IS NULL OR s.seq = $3)" => "AND ($3::bigint IS NULL OR true)"
            breaks inbox::a_request_at_another_seq_is_refused;
        "AND NOT ($4 AND s.past_pivot)" => "AND ($4 OR true)"
            breaks inbox::a_request_past_the_pivot_is_refused;
        "SET ctl = s.ctl + 1, wake_at = (SELECT saga_now()) FROM saga_key" => "SET wake_at = (SELECT saga_now()) FROM saga_key"
            breaks inbox::an_accepted_request_is_a_promise;
        "SET ctl = s.ctl + 1, wake_at = (SELECT saga_now()) FROM saga_key" => "SET ctl = s.ctl + 1 FROM saga_key"
            breaks inbox::an_accepted_request_is_a_promise;
        "SET ctl = s.ctl + 1, wake_at = (SELECT saga_now()) FROM i" => "SET wake_at = (SELECT saga_now()) FROM i"
            breaks inbox::a_signal_is_one_however_often_it_is_sent;
        "SET ctl = s.ctl + 1, wake_at = (SELECT saga_now()) FROM i" => "SET ctl = s.ctl + 1 FROM i"
            breaks inbox::a_signal_is_one_however_often_it_is_sent;
        // Reading.
        "AND s.wake_at IS NULL" => "" breaks reading::active_sagas_come_by_id;
        "AND s.saga > $3" => "AND s.saga >= $3" breaks reading::active_sagas_come_by_id;
        "row_number() OVER (ORDER BY s.saga) AS ord FROM saga s WHERE s.grp"
            => "row_number() OVER (ORDER BY s.saga DESC) AS ord FROM saga s WHERE s.grp"
            breaks reading::active_sagas_come_by_id;
        "AND s.wake_at <= (SELECT saga_now())" => "" breaks reading::due_sagas_come_oldest_first;
        "OVER (ORDER BY s.wake_at, s.saga)" => "OVER (ORDER BY s.saga)"
            breaks reading::due_sagas_come_oldest_first;
        "ORDER BY s.wake_at, s.saga LIMIT" => "ORDER BY s.saga LIMIT"
            breaks reading::due_sagas_come_oldest_first;
        "ORDER BY t, n" => "ORDER BY t, n DESC" breaks commits::chained_rows_are_one_change;
        "AND NOT g.consumed" => "" breaks inbox::a_consumed_signal_stays_known;
        "AND seq > $2 ORDER BY seq" => "AND seq > $2 ORDER BY seq DESC"
            breaks reading::history_goes_by_seq;
        "AND seq > $2" => "AND seq >= $2" breaks reading::history_goes_by_seq;
        "WHERE s.saga > $1" => "WHERE s.saga >= $1" breaks reading::lists_go_by_keyset;
        // Retention.
        "WHERE NOT EXISTS (SELECT FROM saga s WHERE s.saga = k.saga) AND" => "WHERE"
            breaks reading::only_old_ended_sagas_are_pruned;
        "AND e.at <= (SELECT saga_now()) - $3" => "AND (SELECT saga_now()) > $3"
            breaks reading::only_old_ended_sagas_are_pruned;
        "ORDER BY e.seq DESC LIMIT 1" => "ORDER BY e.seq LIMIT 1"
            breaks reading::only_old_ended_sagas_are_pruned;
        "WHERE NOT EXISTS (SELECT FROM saga WHERE saga = $1)" => ""
            breaks reading::a_running_saga_is_not_erased;
    };
    let db = testkit::pg::TestDb::create().await;
    let pool = sqlx::PgPool::connect(db.url()).await.unwrap();
    // One store for all, since sessions that are warm are quicker by far.
    let store = PgStore::new(&pool);
    store.migrate().await.unwrap();
    let mut surviving = Vec::new();
    for case in &cases {
        surviving.extend(case.survives(&store).await);
        sqlx::raw_sql(
            "DELETE FROM saga; DELETE FROM saga_key; DELETE FROM saga_event;
             DELETE FROM saga_signal; DELETE FROM saga_command; DELETE FROM saga_worker;
             UPDATE saga_shard SET owner = NULL, epoch = 0",
        )
        .execute(&pool)
        .await
        .unwrap();
    }
    assert!(surviving.is_empty(), "{}", surviving.join("\n"));
}

#[cfg(feature = "sqlite")]
#[tokio::test]
async fn every_guard_of_sqlite_is_needed() {
    use super::sqlite::{self, SqliteStore};

    let cases = cases! {
        // A flush.
        "AND s.epoch = r.column3" => "" breaks leases::a_stale_owner_changes_nothing;
        "AND s.epoch = r.column3" => ""
            breaks leases::a_stale_epoch_is_fenced_and_holds_up_nobody;
        "AND s.owner = r.column4" => ""
            breaks leases::a_released_shard_is_taken_cleanly;
        "AND saga.seq = r.column4" => "" breaks commits::a_stale_seq_changes_nothing;
        "AND saga.ctl = r.column5" => "" breaks commits::a_changed_ctl_conflicts;
        "AND saga.grp = r.column2 AND saga.shard = r.column3" => ""
            breaks leases::a_lease_is_of_its_own_shard;
        "AND s.seq = r.column4" => "" breaks commits::a_stale_seq_changes_nothing;
        "AND s.ctl = r.column5" => "" breaks inbox::an_accepted_request_is_a_promise;
        "AND s.grp = r.column2 AND s.shard = r.column3 AND s.seq" => "AND s.seq"
            breaks leases::a_lease_is_of_its_own_shard;
        "input_hash = ?3 FROM" => "?3 IS NOT NULL FROM" breaks starts::another_input_is_told;
        "saga_signal.n = r.column1 AND" => "" breaks inbox::a_consumed_signal_stays_known;
        "AND c.n <= r.column2" => "" breaks inbox::an_applied_request_is_forgotten;
        // Leases.
        "AND lease_until > ?3" => "AND ?3 > 0" breaks leases::an_expired_worker_does_not_come_back;
        "DELETE FROM saga_worker WHERE lease_until <= ?" => "DELETE FROM saga_worker WHERE ? > 0"
            breaks leases::a_live_owner_keeps_its_shards;
        "AND NOT EXISTS (SELECT 1 FROM saga_worker w WHERE w.worker = s.owner)" => ""
            breaks leases::a_live_owner_keeps_its_shards;
        "AND EXISTS (SELECT 1 FROM saga_worker w WHERE w.worker = ?2)" => "AND ?2 IS NOT NULL"
            breaks leases::a_worker_that_is_gone_claims_nothing;
        "s.epoch + 1" => "s.epoch" breaks leases::an_expired_owner_loses_its_shards;
        "s.owner IS NOT NULL FROM" => "0 FROM" breaks leases::an_expired_owner_loses_its_shards;
        "AND epoch = ?3" => "AND ?3 > 0" breaks leases::a_reclaim_raises_the_epoch;
        "AND owner = ?4" => "AND ?4 IS NOT NULL" breaks leases::a_released_shard_is_taken_cleanly;
        "SET owner = NULL WHERE owner = ?" => "SET owner = NULL WHERE ? IS NOT NULL"
            breaks leases::a_deregistered_worker_leaves_cleanly;
        // Requests and signals.
        "SET ctl = ctl + 1," => "SET" breaks inbox::an_accepted_request_is_a_promise;
        "wake_at = ?2 WHERE saga = ?1" => "wake_at = nullif(?2, ?2) WHERE saga = ?1"
            breaks inbox::an_accepted_request_is_a_promise;
        "AND g.dedupe = ?4" => "AND ?4 IS NOT NULL"
            breaks inbox::a_signal_is_one_however_often_it_is_sent;
        // Reading.
        "AND s.wake_at IS NULL" => "" breaks reading::active_sagas_come_by_id;
        "AND s.saga > ?3" => "AND s.saga >= ?3" breaks reading::active_sagas_come_by_id;
        "row_number() OVER (ORDER BY s.saga) AS ord FROM saga s WHERE s.grp"
            => "row_number() OVER (ORDER BY s.saga DESC) AS ord FROM saga s WHERE s.grp"
            breaks reading::active_sagas_come_by_id;
        "AND wake_at <= ?2" => "AND ?2 > 0" breaks reading::due_sagas_come_oldest_first;
        "OVER (ORDER BY s.wake_at, s.saga)" => "OVER (ORDER BY s.saga)"
            breaks reading::due_sagas_come_oldest_first;
        "ORDER BY wake_at LIMIT" => "ORDER BY saga LIMIT"
            breaks reading::due_sagas_come_oldest_first;
        "ORDER BY t, n" => "ORDER BY t, n DESC" breaks commits::chained_rows_are_one_change;
        "AND NOT g.consumed" => "" breaks inbox::a_consumed_signal_stays_known;
        "AND seq > ?2 ORDER BY seq" => "AND seq > ?2 ORDER BY seq DESC"
            breaks reading::history_goes_by_seq;
        "AND seq > ?2" => "AND seq >= ?2" breaks reading::history_goes_by_seq;
        "WHERE s.saga > ?1" => "WHERE s.saga >= ?1" breaks reading::lists_go_by_keyset;
        // Retention.
        "s.saga IS NULL AND (" => "(" breaks reading::only_old_ended_sagas_are_pruned;
        "LIMIT 1) <= ?2" => "LIMIT 1) > 0 * ?2" breaks reading::only_old_ended_sagas_are_pruned;
        "ORDER BY e.seq DESC LIMIT 1" => "ORDER BY e.seq LIMIT 1"
            breaks reading::only_old_ended_sagas_are_pruned;
        "count(*) > 0 FROM saga WHERE" => "false FROM saga WHERE"
            breaks reading::a_running_saga_is_not_erased;
    };
    let mut surviving = Vec::new();
    for case in cases {
        let folder = tempfile::tempdir().unwrap();
        let (write, read) = sqlite::open(folder.path().join("sagas.db")).await.unwrap();
        let store = SqliteStore::new(write, read);
        store.migrate().await.unwrap();
        surviving.extend(case.survives(&store).await);
    }
    assert!(surviving.is_empty(), "{}", surviving.join("\n"));
}
