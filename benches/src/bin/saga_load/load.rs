//! The closed loop, and what it costs.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use sqlx::{PgConnection, query, query_scalar};
use swifttrack_saga::store::Store;
use swifttrack_saga::store::postgres::PgStore;
use swifttrack_saga::store::sqlite::{self, SqliteStore};
use swifttrack_saga::{Engine, Saga};
use tokio::task::JoinHandle;

use super::args::{Args, Mode};
use super::metered::{Meter, Metered};
use super::work::{Events, Input, order, waiting};
use super::{Error, soak, workers};

/// Before the measured time: caches fill, the pool connects.
const WARM_UP: Duration = Duration::from_secs(1);
/// After it: what is in flight ends.
pub(crate) const DRAIN_MAX: Duration = Duration::from_secs(20);
/// How often the price of one commit is taken on each side of the measured time: a disk has
/// better and worse seconds.
const COMMITS: usize = 500;

pub(crate) type Loops = Vec<JoinHandle<Result<(), Error>>>;

pub(crate) async fn run(args: &Args) -> Result<Value, Error> {
    let meter = Arc::new(Meter::default());
    match args.url.strip_prefix("sqlite:") {
        Some(file) => {
            let (write, read) = sqlite::open(file).await?;
            let mut store = SqliteStore::new(write.clone(), read);
            store.migrate().await?;
            if args.events > 0 {
                swifttrack_outbox::migrate(&write).await?;
                store = store.with_hook(Arc::new(Events(args.events)));
            }
            load(args, Metered::new(store, &meter), &meter, &mut None).await
        }
        None => {
            let pool = sqlx::PgPool::connect(&args.url).await?;
            let mut store = PgStore::new(&pool);
            store.migrate().await?;
            if args.events > 0 {
                swifttrack_outbox::migrate(&pool).await?;
                store = store.with_hook(Arc::new(Events(args.events)));
            }
            let conn = pool.acquire().await?.detach();
            load(args, Metered::new(store, &meter), &meter, &mut Some(conn)).await
        }
    }
}

async fn load(
    args: &Args,
    store: impl Store,
    meter: &Arc<Meter>,
    pg: &mut Option<PgConnection>,
) -> Result<Value, Error> {
    let alone = args.share_of.is_none();
    let mut commits = Vec::new();
    if let Some(conn) = pg.as_mut().filter(|_| alone) {
        pay_commits(conn, &mut commits).await?;
    }
    let engine = engine(args, store).await?;
    if let Some(workers) = args.share_of {
        workers::shared_out(&PgStore::connect(&args.url).await?, workers).await?;
    }
    let tasks = begin(args, &engine, meter)?;
    tokio::time::sleep(WARM_UP).await;
    let before = Cost::now(pg).await?;
    let from = meter.begin();
    let start = Instant::now();
    tokio::time::sleep(args.seconds).await;
    let to = meter.end();
    let seconds = start.elapsed().as_secs_f64();
    let after = Cost::now(pg).await?;
    meter.stop();
    for task in tasks {
        tokio::time::timeout(DRAIN_MAX, task).await???;
    }
    engine.shutdown(DRAIN_MAX).await;
    if let Some(conn) = pg.as_mut().filter(|_| alone) {
        pay_commits(conn, &mut commits).await?;
    }
    commits.sort_unstable();

    let latencies = meter.latencies();
    let count = (to.sagas - from.sagas).max(1) as f64;
    let per = |what: u64| what as f64 / count;
    Ok(json!({
        "url": args.url.split('@').next_back(),
        "in_flight": args.in_flight,
        "events": args.events,
        "sagas_per_s": count / seconds,
        "p50_ms": quantile(&latencies, 0.5),
        "p99_ms": quantile(&latencies, 0.99),
        "commits_per_saga": per(to.flushes - from.flushes),
        "transitions_per_flush": (to.rows - from.rows) as f64 / (to.flushes - from.flushes).max(1) as f64,
        "flush_ms": (to.flush_us - from.flush_us) as f64 / 1e3 / (to.flushes - from.flushes).max(1) as f64,
        "reads_per_saga": per(to.reads - from.reads),
        "wal_bytes_per_saga": pg.as_ref().map(|_| (after.wal - before.wal) as f64 / count),
        "xacts_per_saga": pg.as_ref().map(|_| (after.xacts - before.xacts) as f64 / count),
        "one_commit_ms": quantile(&commits, 0.5),
    }))
}

/// An engine for the sagas of `args`.
pub(crate) async fn engine(args: &Args, store: impl Store) -> Result<Engine, Error> {
    let builder = Engine::builder(store)
        .register(&order(args.hold)?)
        .register(&waiting()?)
        .lease(args.lease)
        .active_max(args.in_flight * 2 + 100);
    let builder = match args.mode {
        Mode::Soak(_) => builder.retention(soak::RETENTION),
        _ => builder,
    };
    Ok(builder.spawn().await?)
}

/// As many loops as sagas are in flight, until the meter stops.
pub(crate) fn begin(args: &Args, engine: &Engine, meter: &Arc<Meter>) -> Result<Loops, Error> {
    let saga = order(args.hold)?;
    let one = |_| {
        tokio::spawn(loop_of_sagas(
            engine.clone(),
            saga.clone(),
            Arc::clone(meter),
        ))
    };
    Ok((0..args.in_flight).map(one).collect())
}

async fn loop_of_sagas(
    engine: Engine,
    saga: Saga<Input, ()>,
    meter: Arc<Meter>,
) -> Result<(), Error> {
    while !meter.stopped() {
        let id = uuid::Uuid::now_v7().to_string();
        let input = Input::of(&id);
        let began = Instant::now();
        let started = engine.start(&saga, &id, &input).await?;
        meter.ended(started.saga).await;
        meter.record(began.elapsed());
    }
    Ok(())
}

/// What the server has spent so far.
#[derive(Clone, Copy, Default)]
struct Cost {
    wal: i64,
    xacts: i64,
}

impl Cost {
    async fn now(pg: &mut Option<PgConnection>) -> Result<Self, Error> {
        let Some(conn) = pg else {
            return Ok(Self::default());
        };
        let wal =
            query_scalar("SELECT pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0')::bigint");
        let xacts = query_scalar(
            "SELECT xact_commit FROM pg_stat_database WHERE datname = current_database()",
        );
        Ok(Self {
            wal: wal.fetch_one(&mut *conn).await?,
            xacts: xacts.fetch_one(&mut *conn).await?,
        })
    }
}

/// In milliseconds, of times in their order.
fn quantile(sorted: &[Duration], of: f64) -> Option<f64> {
    let place = sorted.len().saturating_sub(1) as f64 * of;
    sorted.get(place as usize).map(|d| d.as_secs_f64() * 1e3)
}

/// What one-row INSERTs take that commit by themselves.
async fn pay_commits(conn: &mut PgConnection, times: &mut Vec<Duration>) -> Result<(), Error> {
    query("CREATE TABLE IF NOT EXISTS saga_load_commit (n int)")
        .execute(&mut *conn)
        .await?;
    for _ in 0..COMMITS {
        let start = Instant::now();
        query("INSERT INTO saga_load_commit VALUES (1)")
            .execute(&mut *conn)
            .await?;
        times.push(start.elapsed());
    }
    query("DROP TABLE IF EXISTS saga_load_commit")
        .execute(conn)
        .await?;
    Ok(())
}
