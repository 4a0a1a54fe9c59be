//! The consumer's side.

use std::time::Instant;

use serde_json::{Value, json};
use sqlx::{PgConnection, PgPool};
use swifttrack_outbox::{Inbox, Progress};
use uuid::Uuid;

use super::Error;
use super::args::Args;
use super::setting::{Setting, median, ratio, whole};

const BATCH: usize = 500;

/// Events that are handled one by one: they are slow.
const SINGLE: usize = 2_000;

/// Events a second by batches of 500, beside batches of one: each in a transaction with the
/// handler's effect, the ids and the offset.
pub(crate) async fn batches(setting: &Setting, args: &Args) -> Result<Value, Error> {
    let pool = setting.pool.postgres()?;
    sqlx::raw_sql("DROP TABLE IF EXISTS load_effect; CREATE TABLE load_effect (id uuid NOT NULL)")
        .execute(pool)
        .await?;
    let (mut many, mut one, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..args.rounds {
        many.push(rate(pool, args.rows as usize, BATCH).await?);
        one.push(rate(pool, SINGLE, 1).await?);
        ratios.push(many[round] / one[round]);
        println!(
            "round {round}: by {BATCH} {:.0} events/s, one by one {:.0}",
            many[round], one[round]
        );
    }
    Ok(json!({
        "batch": BATCH,
        "batch_events_per_s": median(&many).round(),
        "single_events_per_s": median(&one).round(),
        "ratio": ratio(median(&ratios), 1.0),
        "batch_events_per_s_all": whole(&many),
        "single_events_per_s_all": whole(&one),
    }))
}

async fn rate(pool: &PgPool, events: usize, batch: usize) -> Result<f64, Error> {
    let inbox = Inbox::new(format!("load-{}", Uuid::new_v4()));
    let ids: Vec<Uuid> = (0..events).map(|_| Uuid::now_v7()).collect();
    let mut conn = pool.acquire().await?;
    let start = Instant::now();
    let mut handled = 0;
    for (number, chunk) in ids.chunks(batch).enumerate() {
        let progress = Progress {
            cluster: "cluster".to_owned(),
            topic: "topic".to_owned(),
            partition: 0,
            next: ((number + 1) * batch) as i64,
        };
        let mut tx = sqlx::Connection::begin(&mut *conn).await?;
        handled += inbox
            .process_batch(&mut *tx, chunk, |id| *id, &[progress], effects)
            .await?;
        tx.commit().await?;
    }
    if handled != events {
        return Err(format!("{handled} of {events} events were new").into());
    }
    Ok(events as f64 / start.elapsed().as_secs_f64())
}

async fn effects(conn: &mut PgConnection, ids: Vec<&Uuid>) -> Result<(), Error> {
    let ids: Vec<Uuid> = ids.into_iter().copied().collect();
    sqlx::query("INSERT INTO load_effect (id) SELECT unnest($1::uuid[])")
        .bind(ids)
        .execute(conn)
        .await?;
    Ok(())
}
