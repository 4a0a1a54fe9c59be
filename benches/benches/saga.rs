//! What a saga costs apart from its database: the engine over the store in memory, and the
//! definition.

use std::hint::black_box;
use std::time::Duration;

use criterion::{Criterion, Throughput};
use swifttrack_saga::store::memory::MemoryStore;
use swifttrack_saga::{Attempt, DefineError, Engine, Saga, Step, StepError, Tune as _};
use tokio::runtime::Runtime;

/// Sagas at a time: one, and as many as fill a batch.
const AT_A_TIME: [u32; 2] = [1, 500];

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
    let step = |name| Nothing.named(name).irrevocable("it does nothing");
    Saga::define("load", 1, |s, input| {
        let one = s.step(step("one"), input);
        let two = s.step(step("two"), one);
        let three = s.step(step("three"), two);
        s.finish(three)
    })
}

/// Runs so many sagas to their ends, side by side.
async fn run(engine: &Engine, saga: &Saga<u32, u32>, many: u32) {
    let sagas = (0..many).map(|n| {
        let (engine, saga) = (engine.clone(), saga.clone());
        tokio::spawn(async move {
            let id = uuid::Uuid::now_v7().to_string();
            engine.start(&saga, &id, &n).await.expect("it starts");
            engine.ended("load", &id).await.expect("it ends");
        })
    });
    for saga in sagas.collect::<Vec<_>>() {
        saga.await.expect("it does not panic");
    }
}

fn sagas(c: &mut Criterion) {
    let runtime = Runtime::new().expect("a runtime");
    let saga = three_steps().expect("a definition");
    let mut group = c.benchmark_group("three steps in memory");
    for many in AT_A_TIME {
        // What has ended is forgotten, as far as it keeps up.
        let engine = Engine::builder(MemoryStore::new())
            .register(&saga)
            .retention(Duration::from_secs(1))
            .spawn();
        let engine = runtime.block_on(engine).expect("an engine");
        group.throughput(Throughput::Elements(many.into()));
        group.bench_function(format!("{many} at a time"), |b| {
            b.iter(|| runtime.block_on(run(&engine, &saga, many)));
        });
        runtime.block_on(engine.shutdown(Duration::from_secs(5)));
    }
    group.finish();
    c.bench_function("define three steps", |b| {
        b.iter(|| black_box(three_steps()));
    });
}

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    sagas(&mut criterion);
    criterion.final_summary();
}
