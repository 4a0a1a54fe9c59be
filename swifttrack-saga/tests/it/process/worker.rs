//! What a child process does.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use sqlx::{PgConnection, PgPool, Postgres, query, query_scalar};
use swifttrack_saga::hook::{HookError, OnTransition, Transition};
use swifttrack_saga::store::Standing;
use swifttrack_saga::store::postgres::PgStore;
use swifttrack_saga::{
    Attempt, Compensate, Engine, Evidence, NotYet, Retry, Saga, Step, StepError, Tune as _,
};

/// Short, so that a takeover is soon; long enough for a busy machine not to lose it by itself.
pub(super) const LEASE: Duration = Duration::from_secs(5);
/// So that a blow hits a step that is under way.
pub(super) const STEP: Duration = Duration::from_millis(10);
/// A partner that fails is asked again at once, and for long.
const PATIENT: Retry = Retry::exponential(Duration::from_millis(200))
    .factor(1)
    .times(1_000);

/// One of three is rejected at its last step.
pub(super) fn is_rejected(id: &str) -> bool {
    id.parse::<u32>().is_ok_and(|id| id % 3 == 0)
}

/// How many sagas are being undone.
pub(super) async fn turning_back(pool: &PgPool) -> i64 {
    query_scalar("SELECT count(*) FROM saga WHERE state = $1")
        .bind(Standing::TurningBack.number())
        .fetch_one(pool)
        .await
        .unwrap()
}

/// Takes effect once a key, however often it is called, and never after its undo.
struct Effect {
    pool: PgPool,
    takes: Duration,
    last: bool,
}

impl Step for Effect {
    const NAME: &'static str = "effect";
    type In = u32;
    type Out = u32;

    async fn run(&self, attempt: &Attempt, input: &u32) -> Result<u32, StepError> {
        tokio::time::sleep(self.takes).await;
        if self.last && is_rejected(attempt.id()) {
            return Err(StepError::rejected("THIRD", "one of three is rejected"));
        }
        let done = query(
            "INSERT INTO effect (key, done) VALUES ($1, nextval('effect_order'))
             ON CONFLICT DO NOTHING",
        )
        .bind(attempt.key())
        .execute(&self.pool)
        .await;
        match done {
            Ok(_) => Ok(*input),
            Err(error) => Err(StepError::unknown("DATABASE", error.to_string())),
        }
    }
}

impl Compensate for Effect {
    async fn undo(&self, attempt: &Attempt, _: &u32, _: Evidence<&u32>) -> Result<(), NotYet> {
        tokio::time::sleep(self.takes).await;
        query(
            "INSERT INTO effect (key, undone) VALUES ($1, nextval('effect_order'))
             ON CONFLICT (key) DO UPDATE
             SET undone = coalesce(effect.undone, excluded.undone)",
        )
        .bind(attempt.key().strip_suffix(":undo").unwrap())
        .execute(&self.pool)
        .await?;
        Ok(())
    }
}

pub(super) fn work(version: u32, pool: &PgPool, takes: Duration) -> Saga<u32, u32> {
    let step = |name| {
        let (pool, last) = (pool.clone(), name == "three");
        Effect { pool, takes, last }
            .named(name)
            .retry(PATIENT)
            .undo_retry(PATIENT)
            .tombstone()
    };
    Saga::define("work", version, |s, input| {
        let one = s.step(step("one"), input);
        let two = s.step(step("two"), one);
        let three = s.step(step("three"), two);
        s.finish(three)
    })
    .unwrap()
}

pub(super) async fn engine(url: &str, sagas: &[Saga<u32, u32>], hooked: bool) -> Engine {
    let mut store = PgStore::connect(url).await.unwrap();
    if hooked {
        store = store.with_hook(Arc::new(Freeze::default()));
    }
    // A process that stands still for long counts as one that crashed, which is not looked at here.
    let mut builder = Engine::builder(store).lease(LEASE).crashes_max(100);
    for saga in sagas {
        builder = builder.register(saga);
    }
    builder.spawn().await.unwrap()
}

/// Stops its own process inside the transaction that starts the saga `freeze`, once.
#[derive(Default)]
struct Freeze {
    done: AtomicBool,
}

#[async_trait::async_trait]
impl OnTransition<Postgres> for Freeze {
    async fn on_transitions(
        &self,
        _: &mut PgConnection,
        batch: &[&Transition],
    ) -> Result<(), HookError> {
        let meant = batch.iter().any(|t| &*t.id == "freeze");
        if meant && !self.done.swap(true, Ordering::Relaxed) {
            super::replica::kill("STOP", std::process::id());
        }
        Ok(())
    }
}

/// Runs an engine until its input ends, if the environment says so.
pub(super) fn main_if_told() {
    let Ok(url) = std::env::var("WORKER_URL") else {
        return;
    };
    let word = |name: &str| std::env::var(name).unwrap_or_default();
    let numbers = |text: String| -> Vec<u32> { text.split(',').flat_map(str::parse).collect() };
    let versions = numbers(word("WORKER_VERSIONS"));
    let starts = numbers(word("WORKER_STARTS"));
    let takes = numbers(word("WORKER_STEP_MS"));
    let takes = takes
        .first()
        .map_or(STEP, |ms| Duration::from_millis((*ms).into()));
    let freezes = !word("WORKER_FREEZES").is_empty();
    let hooked = freezes || !word("WORKER_HOOKED").is_empty();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async move {
        let pool = PgPool::connect(&url).await.unwrap();
        let sagas: Vec<_> = versions
            .iter()
            .map(|version| work(*version, &pool, takes))
            .collect();
        let engine = engine(&url, &sagas, hooked).await;
        if let [version, from, to] = starts[..] {
            let engine = engine.clone();
            let mut acknowledged = File::options()
                .append(true)
                .open(word("WORKER_ACKNOWLEDGED"))
                .unwrap();
            tokio::spawn(async move {
                let saga = work(version, &pool, takes);
                for id in from..to {
                    // So that a blow to slow steps finds it still starting.
                    tokio::time::sleep(takes / 25).await;
                    if freezes && id == to - 10 {
                        // A start that cannot come back does not hold up the others.
                        let (engine, saga, pool) = (engine.clone(), saga.clone(), pool.clone());
                        tokio::spawn(async move {
                            while turning_back(&pool).await == 0 {
                                tokio::time::sleep(STEP).await;
                            }
                            engine.start(&saga, "freeze", &7).await
                        });
                    }
                    if engine.start(&saga, &id.to_string(), &7).await.is_ok() {
                        // In one write, so that a kill leaves a whole line or none.
                        acknowledged
                            .write_all(format!("{id}\n").as_bytes())
                            .unwrap();
                    }
                }
            });
        }
        tokio::task::spawn_blocking(|| std::io::stdin().read_to_end(&mut Vec::new()))
            .await
            .unwrap()
            .unwrap();
        engine.shutdown(Duration::from_secs(10)).await;
    });
    // Not through the harness, which would print.
    std::process::exit(0);
}
