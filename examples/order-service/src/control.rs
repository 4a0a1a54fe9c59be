//! What one replica tells all: a row in `service_control`, applied by each within two seconds.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use crate::app::App;
use crate::event::Draft;
use crate::step::Step;

/// Close this partner's circuit and wake what waits for it.
pub const RECOVER: &str = "recover";
/// How often the table is read.
const POLL: Duration = Duration::from_secs(1);

/// Closes the partner's circuit here, and makes every saga of this process that waits for
/// the partner due at once, whether it waits for the circuit or for a retry.
pub fn recover(app: &App, step: Step) {
    app.partners.close(step);
    let woken = app.engine.wake(step.service());
    tracing::info!(
        service = step.service(),
        woken,
        "the circuit was closed by hand"
    );
}

/// Tells the world, once: by the replica that was asked, whose view `before` it was.
pub async fn announce(app: &App, step: Step, before: &Value) {
    let draft = Draft::new(
        "SERVICE_RECOVERED",
        json!({"from": before["circuit"], "reason": "closed by an operator",
               "consecutiveFailures": before["consecutiveFailures"]}),
    );
    app.outbox.health_event(app, step, &draft).await;
}

/// Applies what other replicas were asked. Starts at the table's end: what was said before
/// this process began has no circuit here to close.
pub async fn follow(app: Arc<App>) {
    let mut after: Option<i64> = None;
    let mut tick = tokio::time::interval(POLL);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = app.stop.cancelled() => return,
            _ = tick.tick() => {}
        }
        let result = match after {
            None => app.db.told_until().await.map(|last| after = Some(last)),
            Some(last) => app.db.told(last).await.map(|told| {
                for (id, service, verb) in told {
                    after = Some(id);
                    if let (Some(step), RECOVER) = (Step::from_service(&service), verb.as_str()) {
                        recover(&app, step);
                    }
                }
            }),
        };
        if let Err(error) = result {
            tracing::warn!(%error, "service_control could not be read");
        }
    }
}
