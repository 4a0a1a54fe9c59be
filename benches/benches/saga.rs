//! What a saga costs apart from its database: the engine over the store in memory, the drawing
//! of a definition, and the exploration of a saga.

use std::hint::black_box;
use std::time::Duration;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use swifttrack_saga::store::memory::MemoryStore;
use swifttrack_saga::{Attempt, DefineError, Engine, Saga, Step, StepError, Tune as _};

/// Sagas in flight, as many as fill a batch.
const IN_FLIGHT: u32 = 500;

/// Does nothing.
struct Nothing;

impl Step for Nothing {
    const NAME: &'static str = "nothing";
    type In = u32;
    type Out = u32;

    async fn run(&self, _: &Attempt, input: &u32) -> Result<u32, StepError> {
        Ok(*input)
    }
}

fn three_steps() -> Result<Saga<u32, u32>, DefineError> {
    Saga::define("load", 1, |s, input| {
        let one = s.step(Nothing.named("one").irrevocable("it does nothing"), input);
        let two = s.step(Nothing.named("two").irrevocable("it does nothing"), one);
        let three = s.step(Nothing.named("three").irrevocable("it does nothing"), two);
        s.finish(three)
    })
}

/// Runs `many` sagas at a time to their ends.
async fn run(engine: &Engine, saga: &Saga<u32, u32>, many: u32) {
    let sagas = (0..many).map(|n| {
        let (engine, saga) = (engine.clone(), saga.clone());
        tokio::spawn(async move {
            let id = uuid::Uuid::now_v7().to_string();
            engine.start(&saga, &id, &n).await.expect("it starts");
            engine.ended("load", &id).await.expect("it ends");
        })
    });
    let sagas: Vec<_> = sagas.collect();
    for saga in sagas {
        saga.await.expect("it does not panic");
    }
}

fn sagas(c: &mut Criterion) {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let saga = three_steps().expect("a definition");
    let begin = Engine::builder(MemoryStore::new())
        .register(&saga)
        .retention(Duration::from_secs(5))
        .spawn();
    let engine = runtime.block_on(begin).expect("an engine");
    let mut group = c.benchmark_group("three steps in memory");
    for many in [1, IN_FLIGHT] {
        group.throughput(Throughput::Elements(many.into()));
        group.bench_function(format!("{many} in flight"), |b| {
            b.to_async(&runtime).iter(|| run(&engine, &saga, many));
        });
    }
    group.finish();
    c.bench_function("define three steps", |b| {
        b.iter(|| black_box(three_steps()))
    });
}

criterion_group!(benches, sagas);
criterion_main!(benches);
