//! What a child process does.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use sqlx::{PgConnection, PgPool, Postgres, query};
use swifttrack_saga::hook::{HookError, OnTransition, Transition};
use swifttrack_saga::store::postgres::PgStore;
use swifttrack_saga::{Attempt, Engine, Retry, Saga, Step, StepError, Tune as _};

/// Short, so that a takeover is soon; long enough for a busy machine not to lose it by itself.
const LEASE: Duration = Duration::from_secs(5);
/// So that a blow hits a step that is under way.
const STEP: Duration = Duration::from_millis(10);
/// A partner that fails is asked again at once, and for long.
const PATIENT: Retry = Retry::exponential(Duration::from_millis(200))
    .factor(1)
    .times(1_000);

/// Takes effect once a key, however often it is called.
struct Effect(PgPool);

impl Step for Effect {
    const NAME: &'static str = "effect";
    type In = u32;
    type Out = u32;

    async fn run(&self, attempt: &Attempt, input: &u32) -> Result<u32, StepError> {
        tokio::time::sleep(STEP).await;
        let done = query(
            "INSERT INTO effect (key, calls) VALUES ($1, 1)
             ON CONFLICT (key) DO UPDATE SET calls = effect.calls + 1",
        )
        .bind(attempt.key())
        .execute(&self.0)
        .await;
        match done {
            Ok(_) => Ok(*input),
            Err(error) => Err(StepError::unknown("DATABASE", error.to_string())),
        }
    }
}

pub(super) fn work(version: u32, pool: &PgPool) -> Saga<u32, u32> {
    let step = |name| {
        Effect(pool.clone())
            .named(name)
            .retry(PATIENT)
            .irrevocable("the ledger keeps all")
    };
    Saga::define("work", version, |s, input| {
        let one = s.step(step("one"), input);
        let two = s.step(step("two"), one);
        let three = s.step(step("three"), two);
        s.finish(three)
    })
    .unwrap()
}

pub(super) async fn engine(url: &str, pool: &PgPool, versions: &[u32], hooked: bool) -> Engine {
    let mut store = PgStore::connect(url).await.unwrap();
    if hooked {
        store = store.with_hook(Arc::new(Freeze::default()));
    }
    // A process that stands still for long counts as one that crashed, which is not looked at here.
    let mut builder = Engine::builder(store).lease(LEASE).crashes_max(100);
    for version in versions {
        builder = builder.register(&work(*version, pool));
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
    let freezes = !word("WORKER_FREEZES").is_empty();
    let hooked = freezes || !word("WORKER_HOOKED").is_empty();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async move {
        let pool = PgPool::connect(&url).await.unwrap();
        let engine = engine(&url, &pool, &versions, hooked).await;
        if let [version, from, to] = starts[..] {
            let (engine, pool) = (engine.clone(), pool.clone());
            let mut acknowledged = File::options()
                .append(true)
                .open(word("WORKER_ACKNOWLEDGED"))
                .unwrap();
            tokio::spawn(async move {
                let saga = work(version, &pool);
                for id in from..to {
                    if freezes && id == to - 10 {
                        // A start that cannot come back does not hold up the others.
                        let (engine, saga) = (engine.clone(), saga.clone());
                        tokio::spawn(async move { engine.start(&saga, "freeze", &7).await });
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
