//! The partners' circuits, as people and other services see them.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use serde_json::{Value, json};
use swifttrack_breaker::{BreakerHandle, Event, State, Transition};

use crate::app::App;
use crate::event::{Draft, rfc3339};
use crate::step::Step;

/// One circuit a partner, by [`Step::index`].
#[derive(Clone, Debug)]
pub struct Circuits([BreakerHandle; 3]);

impl Circuits {
    /// The circuits of CMS, WMS and ROS.
    #[must_use]
    pub const fn new(circuits: [BreakerHandle; 3]) -> Self {
        Self(circuits)
    }

    /// A partner's circuit.
    #[must_use]
    pub const fn of(&self, step: Step) -> &BreakerHandle {
        &self.0[step.index()]
    }

    /// Whether a call made now would be let through.
    #[must_use]
    pub fn available(&self, step: Step) -> bool {
        self.of(step).snapshot().is_available()
    }

    /// How long a call would have to wait for the circuit.
    #[must_use]
    pub fn wait(&self, step: Step) -> Duration {
        self.of(step).snapshot().retry_after.unwrap_or_default()
    }

    /// Closes a partner's circuit.
    pub fn close(&self, step: Step) {
        self.of(step).reset();
    }

    /// A partner as `/api/services/health` shows it.
    #[must_use]
    pub fn view(&self, step: Step) -> Value {
        let snapshot = self.of(step).snapshot();
        let retry_after = snapshot.retry_after.map(|wait| wait.as_millis());
        json!({
            "available": snapshot.is_available(),
            "circuit": snapshot.state.as_str(),
            "consecutiveFailures": snapshot.consecutive_failures,
            "lastFailure": snapshot.last_failure.map(|at| rfc3339(DateTime::<Utc>::from(at))),
            "retryAfterMs": retry_after.and_then(|ms| u64::try_from(ms).ok()),
        })
    }
}

/// Publishes what a circuit does, and wakes what waits for it once it lets calls through.
pub async fn follow(app: Arc<App>, step: Step) {
    let mut transitions = app.partners.of(step).subscribe();
    loop {
        let event = tokio::select! {
            () = app.stop.cancelled() => return,
            event = transitions.next() => event,
        };
        let transition = match event {
            Some(Event::Changed(transition)) => transition,
            Some(Event::Missed(missed)) => {
                tracing::warn!(
                    service = step.service(),
                    missed,
                    "circuit changes went by unseen"
                );
                // Whatever they were: if calls pass now, nobody should wait.
                if app.partners.available(step) {
                    app.engine.wake(step.service());
                }
                continue;
            }
            None => return,
        };
        tracing::info!(
            service = step.service(), from = %transition.from, to = %transition.to,
            reason = %transition.reason, "a circuit changed"
        );
        if transition.to == State::Closed {
            app.engine.wake(step.service());
        }
        if let Some(draft) = draft(&transition) {
            app.outbox.health_event(&app, step, &draft).await;
        }
    }
}

fn draft(transition: &Transition) -> Option<Draft> {
    let kind = match transition.to {
        State::Open | State::ForcedOpen => "CIRCUIT_OPENED",
        State::HalfOpen => "CIRCUIT_HALF_OPEN",
        State::Closed => "CIRCUIT_CLOSED",
        State::Disabled | State::Observe => return None,
    };
    Some(Draft::new(
        kind,
        json!({
            "from": transition.from.as_str(),
            "reason": transition.reason.as_str(),
            "consecutiveFailures": transition.consecutive_failures,
            "openForMs": transition.open_for.and_then(|time| u64::try_from(time.as_millis()).ok()),
        }),
    ))
}
