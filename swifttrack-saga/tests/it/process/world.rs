//! What the processes share, and what is said of it in the end.

use std::collections::HashSet;
use std::ops::Range;
use std::time::Duration;

use sqlx::{AssertSqlSafe, PgPool, query, query_as, query_scalar};
use swifttrack_saga::hook::{End, Transition, What};
use swifttrack_saga::store::Standing;
use swifttrack_saga::store::postgres::PgStore;
use tempfile::NamedTempFile;
use testkit::wait_until;
use uuid::Uuid;

use super::LIMIT;
use super::replica::Replica;
use super::worker::{STEP, engine, is_rejected, turning_back, work};

/// A database, and what the tests read of it by themselves.
pub(super) struct World {
    pub(super) url: String,
    pool: PgPool,
    /// The ids of the starts that came back, outside of the database that may lose them.
    acknowledged: NamedTempFile,
}

/// Where a saga stands.
#[derive(Debug)]
pub(super) struct Head {
    saga: Uuid,
    seq: i32,
    state: i16,
}

impl Head {
    pub(super) fn turns_back(&self) -> bool {
        self.state == Standing::TurningBack.number()
    }
}

impl World {
    pub(super) async fn at(url: &str) -> Self {
        let pool = PgPool::connect(url).await.unwrap();
        PgStore::new(&pool).migrate().await.unwrap();
        for table in [
            "CREATE SEQUENCE effect_order",
            "CREATE TABLE effect (key text PRIMARY KEY, done bigint, undone bigint)",
        ] {
            query(table).execute(&pool).await.unwrap();
        }
        Self {
            url: url.to_owned(),
            pool,
            acknowledged: NamedTempFile::new().unwrap(),
        }
    }

    pub(super) fn replica(&self) -> Replica {
        self.replica_at(&self.url)
    }

    /// One that reaches the database by a way of its own.
    pub(super) fn replica_at(&self, url: &str) -> Replica {
        Replica::new(url, self.acknowledged.path())
    }

    pub(super) async fn count(&self, sql: &str) -> i64 {
        // Only literals of these tests come here.
        let count = query_scalar(AssertSqlSafe(sql.to_owned()));
        count.fetch_one(&self.pool).await.unwrap_or(-1)
    }

    pub(super) async fn until(&self, what: &str, sql: &str, holds: impl Fn(i64) -> bool) {
        wait_until(what, LIMIT, async || holds(self.count(sql).await)).await;
    }

    pub(super) async fn until_effects(&self, many: i64) {
        let what = format!("{many} steps took effect");
        self.until(&what, "SELECT count(*) FROM effect", |n| n >= many)
            .await;
    }

    pub(super) async fn until_workers(&self, many: i64) {
        let what = format!("{many} workers are registered");
        self.until(&what, "SELECT count(*) FROM saga_worker", |n| n == many)
            .await;
    }

    pub(super) async fn until_shared_by(&self, many: i64) {
        let what = format!("{many} workers have shards");
        let owners = "SELECT count(DISTINCT owner) FROM saga_shard";
        self.until(&what, owners, |n| n == many).await;
    }

    pub(super) async fn until_one_turns_back(&self) {
        wait_until("a saga turns back", LIMIT, async || {
            self.turning_back().await > 0
        })
        .await;
    }

    pub(super) async fn turning_back(&self) -> i64 {
        turning_back(&self.pool).await
    }

    pub(super) async fn until_all_ended(&self) {
        self.until("no saga runs", "SELECT count(*) FROM saga", |n| n == 0)
            .await;
    }

    /// The youngest saga; uuids are in the order of time.
    pub(super) async fn youngest(&self) -> Uuid {
        let sagas = query_scalar("SELECT saga FROM saga_key ORDER BY saga DESC LIMIT 1");
        sagas.fetch_one(&self.pool).await.unwrap()
    }

    /// The journal in one word, up to a saga, but for the one that freezes its process.
    pub(super) async fn digest(&self, last: Uuid) -> String {
        query_scalar(
            "SELECT md5(string_agg(e::text, '' ORDER BY e.saga, e.seq)) FROM saga_event e
             JOIN saga_key k ON k.saga = e.saga WHERE k.id <> 'freeze' AND e.saga <= $1",
        )
        .bind(last)
        .fetch_one(&self.pool)
        .await
        .unwrap()
    }

    /// A worker by the order in which they came; their uuids are in the order of time.
    pub(super) async fn worker(&self, number: i64) -> Uuid {
        query_scalar("SELECT worker FROM saga_worker ORDER BY worker OFFSET $1 LIMIT 1")
            .bind(number)
            .fetch_one(&self.pool)
            .await
            .unwrap()
    }

    pub(super) async fn sagas_of(&self, worker: Uuid) -> Vec<Head> {
        let heads: Vec<(Uuid, i32, i16)> = query_as(
            "SELECT saga, seq, state FROM saga JOIN saga_shard USING (grp, shard)
             WHERE owner = $1",
        )
        .bind(worker)
        .fetch_all(&self.pool)
        .await
        .unwrap();
        let heads = heads.into_iter();
        heads
            .map(|(saga, seq, state)| Head { saga, seq, state })
            .collect()
    }

    /// How many of these stand where they stood.
    pub(super) async fn still(&self, heads: &[Head]) -> i64 {
        let (sagas, seqs): (Vec<_>, Vec<_>) =
            heads.iter().map(|head| (head.saga, head.seq)).unzip();
        query_scalar(
            "SELECT count(*) FROM saga JOIN unnest($1::uuid[], $2::int[]) h (saga, seq)
             USING (saga, seq)",
        )
        .bind(sagas)
        .bind(seqs)
        .fetch_one(&self.pool)
        .await
        .unwrap()
    }

    /// What happened at the partner for a saga, in order: what did, and what was undone.
    async fn effects(&self, id: &str) -> Vec<String> {
        query_scalar(
            "SELECT substr(name, length($1) + 2) FROM effect
             CROSS JOIN LATERAL (VALUES (done, key), (undone, key || ':undo')) e (n, name)
             WHERE key LIKE $1 || ':%' AND n IS NOT NULL ORDER BY n",
        )
        .bind(id)
        .fetch_all(&self.pool)
        .await
        .unwrap()
    }

    /// The starts of these that came back.
    pub(super) fn acknowledged(&self, ids: &Range<u32>) -> HashSet<u32> {
        let lines = std::fs::read_to_string(self.acknowledged.path()).unwrap();
        let known = lines.lines().map(|line| line.parse::<u32>().unwrap());
        known.filter(|id| ids.contains(id)).collect()
    }

    /// Every saga that was acknowledged is there; every one has ended well, did and undid each
    /// step once and in order, and was journalled once.
    pub(super) async fn judge(&self, ids: Range<u32>, version: u32) {
        let known = self.acknowledged(&ids);
        assert!(!known.is_empty(), "no start came back");
        let saga = work(version, &self.pool, STEP);
        let other = work(3 - version, &self.pool, STEP);
        let judge = engine(&self.url, &[saga.clone(), other], false).await;
        for number in ids {
            let id = number.to_string();
            let mut existing = false;
            // What was cut off before its start was durable starts now; the rest is known.
            // A newcomer waits for its share of the shards.
            wait_until("it can start", LIMIT, async || {
                let started = judge.start(&saga, &id, &7).await;
                existing = started.as_ref().is_ok_and(|started| started.existing);
                started.is_ok()
            })
            .await;
            assert!(
                existing || !known.contains(&number),
                "{id} was started and is lost"
            );
            let end = judge.ended("work", &id).await.unwrap().unwrap();
            let history = judge.history("work", &id, 0, 1_000).await.unwrap();
            assert!(
                history.iter().zip(1..).all(|(t, seq)| t.seq == seq),
                "{history:?}"
            );
            assert!(history.iter().all(|t| t.version == version), "{history:?}");
            assert_eq!(history.iter().filter(|t| t.end.is_some()).count(), 1);
            // A last step that was cut off may have happened, so its undo is asked for too.
            let maybe = history
                .iter()
                .any(|t| matches!(&t.what, What::StepFailed { unknown: true, .. }));
            let expected = match (is_rejected(&id), maybe) {
                (false, _) => &["one", "two", "three"][..],
                (true, false) => &["one", "two", "two:undo", "one:undo"],
                (true, true) => &["one", "two", "three:undo", "two:undo", "one:undo"],
            };
            match is_rejected(&id) {
                false => assert!(matches!(end, End::Completed { .. }), "{id}: {end:?}"),
                true => assert!(matches!(end, End::Compensated { .. }), "{id}: {end:?}"),
            }
            assert_eq!(journalled(&history), expected, "{history:?}");
            assert_eq!(self.effects(&id).await, expected, "the effects of {id}");
        }
        judge.shutdown(Duration::from_secs(5)).await;
    }
}

/// The same as the journal tells it.
fn journalled(history: &[Transition]) -> Vec<String> {
    let told = history.iter().filter_map(|t| match &t.what {
        What::StepDone { step, .. } => Some(step.to_string()),
        What::UndoDone { step, .. } => Some(format!("{step}:undo")),
        _ => None,
    });
    told.collect()
}
