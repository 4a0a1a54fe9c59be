//! What an engine keeps in memory: a saga that is parked and has left it, nothing.
//!
//! A program of its own, since it counts what the whole process allocates.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::time::Duration;

use allocation_counter::measure;
use swifttrack_saga::store::memory::MemoryStore;
use swifttrack_saga::{
    Attempt, Compensate, Engine, Evidence, NotYet, Retry, Saga, Status, Step, StepError, Tune as _,
};
use tokio::runtime::{Builder, Runtime};

/// Cannot be done, and cannot be undone either.
struct Hopeless;

impl Step for Hopeless {
    const NAME: &'static str = "hopeless";
    type In = String;
    type Out = ();

    async fn run(&self, _: &Attempt, _: &String) -> Result<(), StepError> {
        Err(StepError::unknown("SILENT", "nobody answers"))
    }
}

impl Compensate for Hopeless {
    async fn undo(&self, _: &Attempt, _: &String, _: Evidence<&()>) -> Result<(), NotYet> {
        Err(NotYet::new("SILENT", "nobody answers"))
    }
}

/// Parks so many sagas, one after another. The store, which lives on, keeps its rows.
async fn park(store: &MemoryStore, sagas: usize) -> Engine {
    let saga = Saga::<String>::define("hopeless", 1, |s, input| {
        let hopeless = Hopeless.retry(Retry::never()).undo_retry(Retry::never());
        s.step(hopeless.tombstone(), input);
        s.finish(())
    });
    let saga = saga.unwrap();
    let engine = Engine::builder(store.clone()).register(&saga);
    let engine = engine.spawn().await.unwrap();
    for id in 0..sagas {
        let (id, input) = (id.to_string(), "x".repeat(1_000));
        engine.start(&saga, &id, &input).await.unwrap();
        while engine.active() > 0 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let parked = engine.get("hopeless", &id).await.unwrap().unwrap().status;
        assert!(matches!(parked, Status::Parked { .. }), "{parked:?}");
    }
    engine
}

/// What the engine gives back when it ends: all that it held.
fn held(sagas: usize) -> i64 {
    let runtime: Runtime = Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap();
    let store = MemoryStore::new();
    let engine = runtime.block_on(park(&store, sagas));
    let counted = measure(|| {
        runtime.block_on(engine.shutdown(Duration::from_secs(5)));
        drop(engine);
        drop(runtime);
    });
    -counted.bytes_current
}

#[test]
fn a_parked_saga_holds_no_memory() {
    // What grows once, such as the largest of its buffers, is there by then.
    let (few, many) = (held(500), held(1_500));
    // Not even a pointer to it.
    assert!(many - few < 8 * 1_000, "{few} bytes, and {many}");
    assert!(few > 0, "an engine holds something: {few}");
}
