//! What the process keeps in memory for sagas that are parked.

use std::time::Duration;

use serde_json::{Value, json};
use swifttrack_saga::store::postgres::PgStore;
use swifttrack_saga::{Engine, Saga};
use tokio::time::{sleep, timeout};

use super::Error;
use super::args::Args;
use super::work::{Input, parking};

/// As many at a time, so that what is in flight does not count.
const WAVE: usize = 500;
const PARTS: usize = 5;
const LIMIT: Duration = Duration::from_secs(60);

pub(crate) async fn run(args: &Args, sagas: usize) -> Result<Value, Error> {
    let store = PgStore::connect(&args.url).await?;
    store.migrate().await?;
    let saga = parking()?;
    let engine = Engine::builder(store).register(&saga).spawn().await?;
    let mut resident = Vec::new();
    for _ in 0..PARTS {
        for _ in 0..sagas.div_ceil(PARTS * WAVE) {
            wave(&engine, &saga).await?;
        }
        resident.push(resident_bytes()?);
    }
    // What is taken once, such as buffers of the largest batch, is in the first part.
    let grown = resident[PARTS - 1].saturating_sub(resident[0]) as f64;
    let each = grown / (sagas * (PARTS - 1) / PARTS) as f64;
    engine.shutdown(LIMIT).await;
    Ok(json!({ "parked": sagas, "bytes_per_saga": each, "resident_bytes": resident }))
}

/// Starts some, and waits until they are parked and gone from memory.
async fn wave(engine: &Engine, saga: &Saga<Input, ()>) -> Result<(), Error> {
    let starts = (0..WAVE).map(|_| {
        let (engine, saga) = (engine.clone(), saga.clone());
        tokio::spawn(async move {
            let id = uuid::Uuid::now_v7().to_string();
            engine.start(&saga, &id, &Input::of(&id)).await
        })
    });
    for start in starts.collect::<Vec<_>>() {
        start.await??;
    }
    let gone = async {
        while engine.active() > 0 {
            sleep(Duration::from_millis(2)).await;
        }
    };
    Ok(timeout(LIMIT, gone).await?)
}

/// As the kernel counts it.
fn resident_bytes() -> Result<u64, Error> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.split_whitespace().next());
    Ok(kib.ok_or("no VmRSS")?.parse::<u64>()? * 1024)
}
