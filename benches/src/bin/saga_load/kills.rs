//! How soon another worker goes on with what a killed one had.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use sqlx::{PgPool, query, query_scalar};
use swifttrack_saga::store::postgres::PgStore;
use tokio::process::Command;
use tokio::time::{sleep, timeout};

use super::args::Args;
use super::{Error, load, median, workers};

/// How often it is looked whether they went on.
const LOOK_EVERY: Duration = Duration::from_millis(20);
const LIMIT: Duration = Duration::from_secs(120);

pub(crate) async fn run(args: &Args, rounds: usize) -> Result<Value, Error> {
    let pool = PgPool::connect(&args.url).await?;
    let store = PgStore::new(&pool);
    store.migrate().await?;
    let heir = load::engine(args, PgStore::new(&pool)).await?;
    let mut seconds = Vec::new();
    let mut sagas = 0;
    for round in 0..rounds {
        let mut victim = Command::new(std::env::current_exe()?)
            .args(args.of_a_victim())
            .stdout(std::process::Stdio::null())
            .kill_on_drop(true)
            .spawn()?;
        workers::shared_out(&store, 2).await?;
        until(&pool, RUNNING, |running| {
            running >= args.in_flight as i64 / 2
        })
        .await?;
        // Anywhere between two heartbeats.
        sleep(args.lease.mul_f64((round as f64 * 0.37).fract() / 3.0)).await;
        let killed = Instant::now();
        victim.kill().await?;
        query("CREATE TABLE saga_load_left AS SELECT saga, seq FROM saga")
            .execute(&pool)
            .await?;
        sagas += until(&pool, "SELECT count(*) FROM saga_load_left", |left| {
            left > 0
        })
        .await?;
        until(&pool, STILL, |still| still == 0).await?;
        seconds.push(killed.elapsed().as_secs_f64());
        query("DROP TABLE saga_load_left").execute(&pool).await?;
        until(&pool, RUNNING, |running| running == 0).await?;
    }
    heir.shutdown(load::DRAIN_MAX).await;
    let slowest = seconds.iter().copied().fold(0.0, f64::max);
    Ok(json!({
        "lease_s": args.lease.as_secs_f64(),
        "sagas": sagas,
        "slowest_s": slowest,
        "median_s": median(seconds.clone()),
        "seconds": seconds,
    }))
}

const RUNNING: &str = "SELECT count(*) FROM saga";

/// Those that have not moved since.
const STILL: &str = "SELECT count(*) FROM saga_load_left l JOIN saga s USING (saga)
    WHERE s.seq = l.seq";

/// The count once it is as wanted.
async fn until(
    pool: &PgPool,
    count: &'static str,
    wanted: impl Fn(i64) -> bool,
) -> Result<i64, Error> {
    let looking = async {
        loop {
            let now: i64 = query_scalar(count).fetch_one(pool).await?;
            if wanted(now) {
                return Ok::<_, Error>(now);
            }
            sleep(LOOK_EVERY).await;
        }
    };
    timeout(LIMIT, looking).await?
}
