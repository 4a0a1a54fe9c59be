//! What a step gets.

use std::sync::atomic::{AtomicUsize, Ordering};

use serde::{Deserialize, Serialize};
use swifttrack_saga::hook::End;
use swifttrack_saga::store::memory::MemoryStore;
use swifttrack_saga::{Attempt, Engine, Saga, Step, StepError, Tune as _};

static COPIES: AtomicUsize = AtomicUsize::new(0);

/// Dear to copy.
#[derive(Debug, Serialize, Deserialize)]
struct Dear(u32);

impl Clone for Dear {
    fn clone(&self) -> Self {
        COPIES.fetch_add(1, Ordering::Relaxed);
        Self(self.0)
    }
}

struct Next;

impl Step for Next {
    const NAME: &'static str = "next";
    type In = Dear;
    type Out = Dear;

    async fn run(&self, attempt: &Attempt, last: &Dear) -> Result<Dear, StepError> {
        match attempt.number() {
            1 => Err(StepError::retry("AGAIN", "not at once")),
            _ => Ok(Dear(last.0 + 1)),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_input_that_is_one_output_is_not_copied_for_an_attempt() {
    let next = |name| Next.named(name).irrevocable("it only counts");
    let saga = Saga::<Dear>::define("dear", 1, |s, input| {
        let one = s.step(next("one"), input);
        let two = s.step(next("two"), one);
        s.finish(two)
    });
    let saga = saga.unwrap();
    let engine = Engine::builder(MemoryStore::new()).register(&saga);
    let engine = engine.spawn().await.unwrap();
    engine.start(&saga, "1", &Dear(5)).await.unwrap();
    let end = engine.ended("dear", "1").await.unwrap().unwrap();
    let result = b"7"[..].into();
    assert_eq!(end, End::Completed { result });
    // The starter keeps its own.
    assert_eq!(COPIES.load(Ordering::Relaxed), 1);
}
