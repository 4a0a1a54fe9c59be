//! What has to be looked at, or forgotten, in time.

use std::sync::Arc;
use std::time::Duration;

use chrono::Utc;

use crate::app::App;

/// How often.
const EVERY: Duration = Duration::from_secs(60);
/// How many rows one statement forgets, so that it never holds a lock for long.
const ROWS_MAX: i64 = 1_000;

/// How often the broker is asked whether it is there.
const BROKER_EVERY: Duration = Duration::from_secs(5);

/// Keeps the health check's view of the broker fresh.
pub async fn watch_broker(app: Arc<App>) {
    let mut tick = tokio::time::interval(BROKER_EVERY);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = app.stop.cancelled() => return,
            _ = tick.tick() => app.outbox.probe().await,
        }
    }
}

/// Forgets idempotency keys after a day.
pub async fn forget_keys(app: Arc<App>) {
    let mut tick = tokio::time::interval(EVERY);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = app.stop.cancelled() => return,
            _ = tick.tick() => {}
        }
        let now = Utc::now().timestamp_micros();
        loop {
            match app.db.forget_keys(now, ROWS_MAX).await {
                Ok(forgotten) if forgotten == ROWS_MAX.unsigned_abs() => {}
                Ok(_) => break,
                Err(error) => {
                    tracing::warn!(%error, "old idempotency keys were not forgotten");
                    break;
                }
            }
        }
    }
}
