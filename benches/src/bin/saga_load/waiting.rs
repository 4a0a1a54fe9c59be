//! What sagas that wait in the store cost new ones.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use sqlx::{PgPool, query, raw_sql};
use swifttrack_saga::store::postgres::PgStore;
use tokio::time::{sleep, timeout};
use uuid::Uuid;

use super::args::Args;
use super::work::{Input, waiting};
use super::{Error, load, median};

/// Measured so often before, and so often after.
const ROUNDS: usize = 3;
const LIMIT: Duration = Duration::from_secs(60);

pub(crate) async fn run(args: &Args, sagas: i64) -> Result<Value, Error> {
    let pool = PgPool::connect(&args.url).await?;
    PgStore::new(&pool).migrate().await?;
    let mut before = Vec::new();
    for _ in 0..ROUNDS {
        before.push(rate(args).await?);
    }
    let filling = Instant::now();
    fill(args, &pool, sagas).await?;
    let filling = filling.elapsed();
    let mut after = Vec::new();
    for _ in 0..ROUNDS {
        after.push(rate(args).await?);
    }
    Ok(json!({
        "waiting": sagas,
        "ratio": median(after.clone()) / median(before.clone()),
        "before": before,
        "after": after,
        "filled_in_s": filling.as_secs_f64(),
    }))
}

async fn rate(args: &Args) -> Result<f64, Error> {
    let told = load::run(args).await?;
    Ok(told["sagas_per_s"].as_f64().ok_or("no rate")?)
}

/// One that the engine wrote, and as many like it, in all shards.
async fn fill(args: &Args, pool: &PgPool, sagas: i64) -> Result<(), Error> {
    let engine = load::engine(args, PgStore::new(pool)).await?;
    let model = engine
        .start(&waiting()?, "model", &Input::of("model"))
        .await?
        .saga;
    let asleep = async {
        while engine.active() > 0 {
            sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(LIMIT, asleep).await?;
    engine.shutdown(LIMIT).await;

    // Uuids in the order of time, as the engine's are.
    raw_sql(
        "CREATE FUNCTION saga_load_uuid(n bigint) RETURNS uuid LANGUAGE sql IMMUTABLE AS $$
             SELECT (lpad(to_hex(1700000000000 + n), 12, '0') || '7' || left(md5(n::text), 3)
                 || '8' || right(md5(n::text), 15))::uuid $$",
    )
    .execute(pool)
    .await?;
    for insert in [
        "INSERT INTO saga_key (definition, id, saga, input_hash)
         SELECT k.definition, 'waiting-' || n, saga_load_uuid(n), k.input_hash
         FROM saga_key k, generate_series(1, $2) n WHERE k.saga = $1",
        "INSERT INTO saga_event (saga, seq, kind, node, at, payload, facts)
         SELECT saga_load_uuid(n), e.seq, e.kind, e.node, e.at, e.payload, e.facts
         FROM saga_event e, generate_series(1, $2) n WHERE e.saga = $1",
        "INSERT INTO saga
             (saga, ctl, wake_at, seq, grp, version, shard, state, crashes, past_pivot, attention)
         SELECT saga_load_uuid(n), s.ctl, s.wake_at + n, s.seq, s.grp, s.version, n % 64, s.state,
             s.crashes, s.past_pivot, s.attention
         FROM saga s, generate_series(1, $2) n WHERE s.saga = $1",
    ] {
        query(insert)
            .bind::<Uuid>(model)
            .bind(sagas)
            .execute(pool)
            .await?;
    }
    for done in ["VACUUM ANALYZE", "CHECKPOINT"] {
        query(done).execute(pool).await?;
    }
    Ok(())
}
