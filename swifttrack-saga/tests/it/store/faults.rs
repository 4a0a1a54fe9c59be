//! What goes wrong between a flusher and its Postgres, and what it may say then.

use std::sync::Arc;
use std::time::Duration;

use sqlx::postgres::PgConnectOptions;
use sqlx::{Connection, PgConnection, PgPool, Postgres, query, query_scalar, raw_sql};
use swifttrack_saga::hook::{HookError, OnTransition, Transition};
use swifttrack_saga::store::postgres::PgStore;
use swifttrack_saga::store::{Outcome, Shape, Store, StoreError};
use testkit::wait_until;
use tokio::sync::Notify;

use super::proxy::{Cut, Proxy};
use super::sagas::{GROUP, LONG, loaded, next, owner, start, worker};
use super::schema::TestSchema;

/// What ends a broken test.
const LIMIT: Duration = Duration::from_secs(60);

async fn migrated(url: &str) -> PgStore {
    let store = PgStore::connect(url).await.unwrap();
    store.migrate().await.unwrap();
    store
}

/// A hook that is one SQL statement, or waits for ever after it.
struct Sql(&'static str, After);

enum After {
    Return,
    /// As a process that is frozen inside its transaction.
    Hang(Arc<Notify>),
    /// Goes on when it is told.
    Wait(Arc<Notify>, Arc<Notify>),
    /// Hides the statement's error.
    Swallow,
}

#[async_trait::async_trait]
impl OnTransition<Postgres> for Sql {
    async fn on_transitions(
        &self,
        conn: &mut PgConnection,
        _: &[&Transition],
    ) -> Result<(), HookError> {
        let done = query(self.0).execute(conn).await;
        match &self.1 {
            After::Return => done.map(drop).map_err(HookError::from),
            After::Swallow => Ok(()),
            After::Hang(inside) => {
                inside.notify_one();
                std::future::pending().await
            }
            After::Wait(inside, go_on) => {
                inside.notify_one();
                go_on.notified().await;
                done.map(drop).map_err(HookError::from)
            }
        }
    }
}

/// A process that stops inside its transaction holds the shards that it checked, but no longer
/// than the timeouts of its session (law 5).
#[tokio::test]
#[ignore = "needs Postgres: cargo xtask test"]
async fn a_frozen_flusher_does_not_hold_up_its_successor() {
    let schema = TestSchema::create().await;
    let inside = Arc::new(Notify::new());
    let hook = Sql("SELECT", After::Hang(Arc::clone(&inside)));
    let frozen = migrated(&schema.url()).await.with_hook(Arc::new(hook));
    let (old, leases) = owner(&frozen, Duration::from_secs(2)).await;
    let change = start(&leases[0], "a");
    let flush = tokio::spawn(async move { frozen.commit(old, &[change]).await });
    inside.notified().await;

    let heir = migrated(&schema.url()).await;
    let new = worker();
    heir.register(new, &[], LONG).await.unwrap();
    let mut taken = Vec::new();
    wait_until("all shards are taken over", LIMIT, async || {
        taken.extend(heir.claim(new, GROUP, 64).await.unwrap());
        taken.len() == 64
    })
    .await;
    assert!(taken.iter().all(|lease| lease.unclean));
    let outcomes = heir.commit(new, &[start(&taken[0], "b")]).await.unwrap();
    assert!(matches!(outcomes[..], [Outcome::Committed]), "{outcomes:?}");

    let error = flush.await.unwrap().unwrap_err();
    assert!(error.is_unavailable(), "nothing happened: {error:?}");
    assert!(heir.find("conform", "a").await.unwrap().is_none());
}

/// A takeover leaves out the shards that a flush has checked, and waits for none of them: what the
/// flush writes is either seen by whoever takes the shard over, or was never written (law 5).
#[tokio::test]
#[ignore = "needs Postgres: cargo xtask test"]
async fn a_takeover_leaves_out_what_a_flush_is_about_to_write() {
    let schema = TestSchema::create().await;
    let (inside, go_on) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let hook = Sql(
        "SELECT",
        After::Wait(Arc::clone(&inside), Arc::clone(&go_on)),
    );
    let slow = migrated(&schema.url()).await.with_hook(Arc::new(hook));
    let (old, leases) = owner(&slow, LONG).await;
    let change = start(&leases[0], "a");
    let flush = tokio::spawn(async move { slow.commit(old, &[change]).await });
    inside.notified().await;

    let mut admin = PgConnection::connect(&schema.url()).await.unwrap();
    raw_sql("UPDATE saga_worker SET lease_until = 0")
        .execute(&mut admin)
        .await
        .unwrap();
    let heir = migrated(&schema.url()).await;
    let new = worker();
    heir.register(new, &[], LONG).await.unwrap();
    let taken = tokio::time::timeout(LIMIT, heir.claim(new, GROUP, 64));
    let taken = taken.await.expect("no wait for the flush").unwrap();
    let flushed = leases[0].shard;
    assert_eq!(taken.len(), 63, "all but the flush's");
    assert!(taken.iter().all(|lease| lease.shard != flushed));

    go_on.notify_one();
    let outcomes = flush.await.unwrap().unwrap();
    assert!(matches!(outcomes[..], [Outcome::Committed]), "{outcomes:?}");
    let rest = heir.claim(new, GROUP, 64).await.unwrap();
    assert_eq!(rest.len(), 1);
    assert!(rest[0].shard == flushed && rest[0].unclean);
    assert!(heir.find("conform", "a").await.unwrap().is_some());
}

/// COMMIT hangs until somebody ends the session: whether it happened can only be read back.
#[tokio::test]
#[ignore = "needs Postgres: cargo xtask test"]
async fn a_session_that_ends_during_commit_is_ambiguous() {
    let schema = TestSchema::create().await;
    let url = schema.url();
    let mut admin = PgConnection::connect(&url).await.unwrap();
    raw_sql(
        "CREATE TABLE slow (n int);
         CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS
             $$ BEGIN PERFORM pg_sleep(60); RETURN NULL; END $$;
         CREATE CONSTRAINT TRIGGER slow AFTER INSERT ON slow DEFERRABLE INITIALLY DEFERRED
             FOR EACH ROW EXECUTE FUNCTION slow()",
    )
    .execute(&mut admin)
    .await
    .unwrap();
    let hook = Sql("INSERT INTO slow VALUES (1)", After::Return);
    let store = Arc::new(migrated(&url).await.with_hook(Arc::new(hook)));
    let (worker, leases) = owner(&*store, LONG).await;
    let change = start(&leases[0], "a");
    let flusher = Arc::clone(&store);
    let flush = tokio::spawn(async move { flusher.commit(worker, &[change]).await });
    wait_until("its COMMIT is ended", LIMIT, async || {
        let ended: i64 = query_scalar(
            "SELECT count(pg_terminate_backend(a.pid)) FROM pg_stat_activity a
             JOIN pg_locks l ON l.pid = a.pid AND l.relation = 'slow'::regclass
             WHERE a.state = 'active' AND a.query = 'COMMIT'",
        )
        .fetch_one(&mut admin)
        .await
        .unwrap();
        ended == 1
    })
    .await;
    let error = flush.await.unwrap().unwrap_err();
    assert!(error.is_ambiguous(), "{error:?}");
    assert!(store.find("conform", "a").await.unwrap().is_none());
}

/// A session that ends before COMMIT was sent has done nothing, and that is known.
#[tokio::test]
#[ignore = "needs Postgres: cargo xtask test"]
async fn a_session_that_ends_before_commit_is_not_ambiguous() {
    let schema = TestSchema::create().await;
    let hook = Sql(
        "SELECT pg_terminate_backend(pg_backend_pid())",
        After::Return,
    );
    let store = migrated(&schema.url()).await.with_hook(Arc::new(hook));
    let (worker, leases) = owner(&store, LONG).await;
    let error = store
        .commit(worker, &[start(&leases[0], "a")])
        .await
        .unwrap_err();
    assert!(error.is_unavailable(), "{error:?}");
    assert!(store.find("conform", "a").await.unwrap().is_none());
}

/// COMMIT of a transaction that has failed says ROLLBACK and no error.
#[tokio::test]
#[ignore = "needs Postgres: cargo xtask test"]
async fn a_hook_that_hides_an_error_fails_its_batch() {
    let schema = TestSchema::create().await;
    let hook = Sql("SELECT 1 / 0", After::Swallow);
    let store = migrated(&schema.url()).await.with_hook(Arc::new(hook));
    let (worker, leases) = owner(&store, LONG).await;
    let error = store
        .commit(worker, &[start(&leases[0], "a")])
        .await
        .unwrap_err();
    assert!(error.is_hook(), "{error:?}");
    assert!(store.find("conform", "a").await.unwrap().is_none());
}

/// One flush whose connection is cut around the word that commits it; its error, and whether
/// the transition turned out to have happened.
async fn cut(cut: Cut, hook: bool) -> (StoreError, bool) {
    let schema = TestSchema::create().await;
    let direct = migrated(&schema.url()).await;
    let word: &[u8] = if hook { b"COMMIT" } else { b"words" };
    let proxy = Proxy::to(&schema.url(), word).await;
    let mut store = PgStore::connect(&proxy.url(&schema.url())).await.unwrap();
    if hook {
        store = store.with_hook(Arc::new(Sql("SELECT", After::Return)));
    }
    let (worker, mut leases) = owner(&store, LONG).await;
    let first = start(&leases[0], "a");
    let saga = first.saga;
    store.commit(worker, &[first]).await.unwrap();
    let step = next(&leases[0], &loaded(&direct, saga).await);

    proxy.arm(cut);
    let error = store.commit(worker, std::slice::from_ref(&step)).await;
    // The way out: take one's own shards over, which waits for the lost session, and read back.
    leases = store.reclaim(worker, &leases).await.unwrap();
    leases.sort_by_key(|lease| lease.shard);
    let found = loaded(&store, saga).await;
    let happened = found.seq == 2;
    assert_eq!(found.journal.len(), usize::try_from(found.seq).unwrap());

    let outcomes = store
        .commit(worker, std::slice::from_ref(&step))
        .await
        .unwrap();
    assert!(matches!(outcomes[..], [Outcome::Fenced]), "{outcomes:?}");
    let mut again = step;
    again.lease = leases[0].clone();
    let outcomes = store.commit(worker, &[again]).await.unwrap();
    match happened {
        true => assert!(matches!(outcomes[..], [Outcome::Conflict]), "{outcomes:?}"),
        false => assert!(matches!(outcomes[..], [Outcome::Committed]), "{outcomes:?}"),
    }
    assert_eq!(
        loaded(&store, saga).await.journal.len(),
        2,
        "once, not twice"
    );
    (error.unwrap_err(), happened)
}

#[tokio::test]
#[ignore = "needs Postgres: cargo xtask test"]
async fn a_lost_answer_to_commit_is_ambiguous_and_it_happened() {
    let (error, happened) = cut(Cut::After, true).await;
    assert!(error.is_ambiguous() && happened, "{error:?}, {happened}");
}

#[tokio::test]
#[ignore = "needs Postgres: cargo xtask test"]
async fn a_lost_commit_is_ambiguous_and_it_did_not_happen() {
    let (error, happened) = cut(Cut::Before, true).await;
    assert!(error.is_ambiguous() && !happened, "{error:?}, {happened}");
}

#[tokio::test]
#[ignore = "needs Postgres: cargo xtask test"]
async fn a_lost_answer_to_the_single_statement_is_ambiguous_too() {
    let (error, happened) = cut(Cut::After, false).await;
    assert!(error.is_ambiguous() && happened, "{error:?}, {happened}");
    let (error, happened) = cut(Cut::Before, false).await;
    assert!(error.is_ambiguous() && !happened, "{error:?}, {happened}");
}

/// A row lock that does not come is no reason to wait: the batch can be tried again.
#[tokio::test]
#[ignore = "needs Postgres: cargo xtask test"]
async fn a_lock_that_does_not_come_is_retriable() {
    let schema = TestSchema::create().await;
    let store = migrated(&schema.url()).await;
    let (worker, leases) = owner(&store, LONG).await;
    let first = start(&leases[0], "a");
    let saga = first.saga;
    store.commit(worker, &[first]).await.unwrap();
    let step = next(&leases[0], &loaded(&store, saga).await);

    let mut other = PgConnection::connect(&schema.url()).await.unwrap();
    let mut tx = other.begin().await.unwrap();
    query("SELECT FROM saga FOR UPDATE")
        .execute(&mut *tx)
        .await
        .unwrap();
    let error = store
        .commit(worker, std::slice::from_ref(&step))
        .await
        .unwrap_err();
    assert!(error.is_retriable(), "{error:?}");
    tx.rollback().await.unwrap();
    let outcomes = store.commit(worker, &[step]).await.unwrap();
    assert!(matches!(outcomes[..], [Outcome::Committed]), "{outcomes:?}");
}

/// What is allowed by a commit happens at once, so the commit must not be lost in a crash (law 1).
#[tokio::test]
#[ignore = "needs Postgres: cargo xtask test"]
async fn what_is_told_as_durable_is_where_commits_need_not_be() {
    let looks = "CREATE FUNCTION looks() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
        IF current_setting('synchronous_commit') = 'off' THEN RAISE 'not durable'; END IF;
        RETURN NEW;
    END $$;
    CREATE TRIGGER looks BEFORE INSERT ON saga_worker FOR EACH ROW EXECUTE FUNCTION looks();
    CREATE TRIGGER looks BEFORE INSERT ON saga FOR EACH ROW EXECUTE FUNCTION looks()";
    let schema = TestSchema::create().await;
    let options = schema.url().parse::<PgConnectOptions>().unwrap();
    let hasty = options.options([("synchronous_commit", "off")]);
    let pool = PgPool::connect_with(hasty).await.unwrap();
    let store = PgStore::new(&pool);
    store.migrate().await.unwrap();
    raw_sql(looks).execute(&pool).await.unwrap();
    let (worker, leases) = owner(&store, LONG).await;
    let outcomes = store.commit(worker, &[start(&leases[0], "a")]).await;
    assert!(
        matches!(outcomes, Ok(ref all) if matches!(all[..], [Outcome::Committed])),
        "{outcomes:?}"
    );
}

/// A serialization failure, a deadlock, a lock that did not come, a cancelled statement: nobody
/// in the batch is to blame, and it is run again (law 12).
#[tokio::test]
#[ignore = "needs Postgres: cargo xtask test"]
async fn what_others_cause_is_retriable_and_leaves_nothing() {
    macro_rules! raise {
        ($code:literal) => {
            concat!("DO $$ BEGIN RAISE SQLSTATE '", $code, "'; END $$")
        };
    }
    let schema = TestSchema::create().await;
    let plain = migrated(&schema.url()).await;
    let (worker, leases) = owner(&plain, LONG).await;
    for (sql, retriable) in [
        (raise!("40001"), true),
        (raise!("40P01"), true),
        (raise!("55P03"), true),
        (raise!("57014"), true),
        (raise!("23514"), false),
        (raise!("P0001"), false),
    ] {
        let store = PgStore::connect(&schema.url()).await.unwrap();
        let store = store.with_hook(Arc::new(Sql(sql, After::Return)));
        let change = start(&leases[0], "a");
        let error = store.commit(worker, &[change]).await.unwrap_err();
        assert_eq!(error.is_retriable(), retriable, "{sql}: {error:?}");
        assert!(!error.is_ambiguous(), "{sql}: {error:?}");
        assert!(plain.find("conform", "a").await.unwrap().is_none());
    }
    let outcomes = plain.commit(worker, &[start(&leases[0], "a")]).await;
    assert!(
        matches!(outcomes.unwrap()[..], [Outcome::Committed]),
        "the id is free"
    );
}

/// After a restart of the server the flusher connects again by itself.
#[tokio::test]
#[ignore = "needs Postgres: cargo xtask test"]
async fn a_flusher_reconnects() {
    let schema = TestSchema::create().await;
    let store = migrated(&schema.url()).await;
    let (worker, leases) = owner(&store, LONG).await;
    store
        .commit(worker, &[start(&leases[0], "a")])
        .await
        .unwrap();
    let mut admin = PgConnection::connect(&schema.url()).await.unwrap();
    let killed: i64 = query_scalar(
        "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
         WHERE application_name = current_setting('application_name')
           AND pid <> pg_backend_pid()",
    )
    .fetch_one(&mut admin)
    .await
    .unwrap();
    assert!(killed >= 2, "the flusher's and another");
    let change = start(&leases[0], "b");
    // It cannot know that the session ended before its statement came.
    let lost = store.commit(worker, std::slice::from_ref(&change)).await;
    if let Err(error) = lost {
        assert!(error.is_ambiguous(), "{error:?}");
        let outcomes = store.commit(worker, &[change]).await.unwrap();
        assert!(matches!(outcomes[..], [Outcome::Committed]), "{outcomes:?}");
    }
}

/// The tables of the first version, with a saga in them, come to this version as they are.
#[tokio::test]
#[ignore = "needs Postgres: cargo xtask test"]
async fn tables_of_an_older_binary_are_brought_forward() {
    let schema = TestSchema::create().await;
    let url = schema.url();
    let mut admin = PgConnection::connect(&url).await.unwrap();
    raw_sql(include_str!("../../../src/store/postgres/schema.sql"))
        .execute(&mut admin)
        .await
        .unwrap();
    raw_sql(
        "CREATE TABLE saga_schema (version int PRIMARY KEY); INSERT INTO saga_schema VALUES (1)",
    )
    .execute(&mut admin)
    .await
    .unwrap();
    let store = PgStore::connect(&url).await.unwrap();
    let (worker, leases) = owner(&store, LONG).await;
    let change = start(&leases[0], "a");
    let saga = change.saga;
    store.commit(worker, &[change]).await.unwrap();
    let error = store.describe(&[], true).await;
    assert!(error.is_ok(), "nothing was asked");
    let shape = Shape {
        definition: "conform".to_owned(),
        version: 1,
        text: "shape".to_owned(),
    };
    let shapes = std::slice::from_ref(&shape);
    let error = store.describe(shapes, true).await.unwrap_err();
    assert!(error.is_schema(), "{error:?}");
    store.migrate().await.unwrap();
    store.migrate().await.unwrap();
    assert_eq!(store.describe(shapes, true).await.unwrap(), ["shape"]);
    let step = next(&leases[0], &loaded(&store, saga).await);
    let outcomes = store.commit(worker, &[step]).await.unwrap();
    assert!(matches!(outcomes[..], [Outcome::Committed]), "{outcomes:?}");
}

#[tokio::test]
#[ignore = "needs Postgres: cargo xtask test"]
async fn several_starters_migrate_once() {
    let schema = TestSchema::create().await;
    let url = schema.url();
    let stores: Vec<PgStore> =
        futures_util::future::join_all((0..6).map(|_| PgStore::connect(&url)))
            .await
            .into_iter()
            .map(Result::unwrap)
            .collect();
    let worker = worker();
    let error = stores[0].register(worker, &[], LONG).await.unwrap_err();
    assert!(error.is_schema(), "there are no tables: {error:?}");
    let all = futures_util::future::join_all(stores.iter().map(PgStore::migrate)).await;
    assert!(all.iter().all(Result::is_ok), "{all:?}");
    let mut admin = PgConnection::connect(&url).await.unwrap();
    let versions: Vec<i32> = query_scalar("SELECT version FROM saga_schema")
        .fetch_all(&mut admin)
        .await
        .unwrap();
    assert_eq!(versions, [1, 2]);

    query("INSERT INTO saga_schema (version) VALUES (99)")
        .execute(&mut admin)
        .await
        .unwrap();
    let error = stores[0].migrate().await.unwrap_err();
    assert!(error.is_schema(), "{error:?}");
    // Nor is a process that did not ask for migrations let in.
    let error = stores[1].register(worker, &[], LONG).await.unwrap_err();
    assert!(error.is_schema(), "{error:?}");
    let shape = Shape {
        definition: "conform".to_owned(),
        version: 1,
        text: "shape".to_owned(),
    };
    let error = stores[1].describe(&[shape], true).await.unwrap_err();
    assert!(error.is_schema(), "{error:?}");
    let rows: i64 = query_scalar(
        "SELECT (SELECT count(*) FROM saga_worker) + (SELECT count(*) FROM saga_name)
             + (SELECT count(*) FROM saga_definition)",
    )
    .fetch_one(&mut admin)
    .await
    .unwrap();
    assert_eq!(rows, 0);
}
