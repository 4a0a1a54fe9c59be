//! Parts of the outbox without a disk and without a network: appending on SQLite in memory, and
//! the way of a row through the relay to the publisher in memory. How fast the relay is with real
//! parts is `relay_load`'s to say.

use std::time::{Duration, Instant};

use criterion::{Criterion, Throughput};
use sqlx::SqlitePool;
use sqlx::sqlite::SqlitePoolOptions;
use swifttrack_outbox::{Event, MemoryPublisher, Relay, append_batch, migrate};
use tokio::runtime::Runtime;

const PAYLOAD_BYTES: usize = 200;
/// Rows that go through the relay at once.
const ROWS: usize = 1_000;
/// Between two looks whether they have gone.
const LOOK: Duration = Duration::from_micros(200);

fn main() {
    let runtime = Runtime::new().expect("a runtime");
    let mut criterion = Criterion::default()
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(1))
        .sample_size(10)
        .configure_from_args();
    append(&mut criterion, &runtime);
    relay(&mut criterion, &runtime);
    criterion.final_summary();
}

/// A transaction that appends and is rolled back, so that the table stays as it is.
fn append(criterion: &mut Criterion, runtime: &Runtime) {
    let pool = runtime.block_on(database());
    let mut group = criterion.benchmark_group("append");
    for rows in [1, 100] {
        let events = events(rows);
        group.throughput(Throughput::Elements(rows as u64));
        group.bench_function(format!("{rows} in a transaction"), |bencher| {
            bencher.to_async(runtime).iter(async || {
                let mut tx = pool.begin().await.expect("a transaction");
                let appended = append_batch(&mut *tx, &events).await;
                assert_eq!(appended.expect("appended"), rows as u64);
                tx.rollback().await.expect("rolled back");
            });
        });
    }
    group.finish();
}

/// From the commit of a thousand rows until all are published and deleted.
fn relay(criterion: &mut Criterion, runtime: &Runtime) {
    let mut group = criterion.benchmark_group("relay");
    group.throughput(Throughput::Elements(ROWS as u64));
    group.bench_function(format!("{ROWS} rows to memory"), |bencher| {
        bencher.iter_custom(|times| runtime.block_on(through(times)));
    });
    group.finish();
}

async fn through(times: u64) -> Duration {
    let pool = database().await;
    let relay = Relay::new(&pool, MemoryPublisher::new());
    let relay = relay.spawn().await.expect("a relay");
    relay.ready().await;
    let waker = relay.waker();
    let mut took = Duration::ZERO;
    for _ in 0..times {
        let mut tx = pool.begin().await.expect("a transaction");
        append_batch(&mut *tx, &events(ROWS))
            .await
            .expect("appended");
        tx.commit().await.expect("committed");
        let start = Instant::now();
        waker.wake();
        while has_rows(&pool).await {
            tokio::time::sleep(LOOK).await;
        }
        took += start.elapsed();
    }
    relay
        .shutdown(Duration::from_secs(10))
        .await
        .expect("drained");
    took
}

async fn has_rows(pool: &SqlitePool) -> bool {
    sqlx::query_scalar("SELECT EXISTS (SELECT 1 FROM outbox)")
        .fetch_one(pool)
        .await
        .expect("an answer")
}

async fn database() -> SqlitePool {
    let pool = SqlitePoolOptions::new().max_connections(1);
    let pool = pool.connect("sqlite::memory:").await.expect("a database");
    migrate(&pool).await.expect("its tables");
    pool
}

fn events(rows: usize) -> Vec<Event> {
    let payload = vec![b'x'; PAYLOAD_BYTES];
    let event = |n| {
        Event::new(
            "orders",
            format!("ORD-{n}"),
            "CMS_VERIFIED",
            payload.clone(),
        )
    };
    (0..rows).map(event).collect()
}
