//! Full load for minutes, with a relay that publishes and deletes, and retention.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use sqlx::{PgPool, query_as};
use swifttrack_outbox::{InProcessBroker, KafkaPublisher, Relay};
use swifttrack_saga::store::postgres::PgStore;
use tokio::time::{sleep, timeout};

use super::args::Args;
use super::metered::{Meter, Metered};
use super::work::{Events, TOPIC};
use super::{Error, load};

/// Ended sagas go after so long, so that the tables can be flat within minutes.
pub(crate) const RETENTION: Duration = Duration::from_secs(20);
const MINUTE: Duration = Duration::from_secs(60);

pub(crate) async fn run(args: &Args, minutes: usize) -> Result<Value, Error> {
    let pool = PgPool::connect(&args.url).await?;
    let mut store = PgStore::new(&pool);
    store.migrate().await?;
    swifttrack_outbox::migrate(&pool).await?;
    let broker = InProcessBroker::start(&[TOPIC], 4)?;
    let publisher = KafkaPublisher::new(broker.bootstrap_servers().to_owned());
    let relay = Relay::new(&pool, publisher)
        .source("/saga_load")
        .spawn()
        .await?;
    if args.events > 0 {
        store = store.with_hook(Arc::new(Events(args.events)));
    }
    let meter = Arc::new(Meter::default());
    let engine = load::engine(args, Metered::new(store, &meter)).await?;
    let loops = load::begin(args, &engine, &meter)?;
    let mut rates = Vec::new();
    let mut tables = Vec::new();
    for minute in 1..=minutes {
        let (began, before) = (Instant::now(), meter.sagas());
        sleep(MINUTE).await;
        let rate = (meter.sagas() - before) as f64 / began.elapsed().as_secs_f64();
        let sizes = sizes(&pool).await?;
        println!("minute {minute}: {rate:.0} sagas/s, {sizes}");
        rates.push(rate);
        tables.push(sizes);
    }
    meter.stop();
    for task in loops {
        timeout(load::DRAIN_MAX, task).await???;
    }
    engine.shutdown(load::DRAIN_MAX).await;
    relay.shutdown(load::DRAIN_MAX).await?;
    let last = rates.last().copied().unwrap_or_default();
    let ratio = rates.get(1).map(|second| last / second);
    Ok(json!({
        "minutes": minutes,
        "last_to_second": ratio,
        "sagas_per_s": rates,
        "tables": tables,
    }))
}

/// Mebibytes of each table with its indexes.
async fn sizes(pool: &PgPool) -> Result<Value, Error> {
    let rows: Vec<(String, i64)> = query_as(
        "SELECT relname::text, pg_total_relation_size(oid) / 1048576 FROM pg_class
         WHERE relname IN ('saga', 'saga_key', 'saga_event', 'outbox') AND relkind = 'r'
         ORDER BY relname",
    )
    .fetch_all(pool)
    .await?;
    let sizes = rows.into_iter().map(|(table, mib)| (table, mib.into()));
    Ok(Value::Object(sizes.collect()))
}
