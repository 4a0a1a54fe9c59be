//! A saga of three steps that do nothing, the events that tell of it, and sagas that go nowhere.

use std::fmt::Write as _;
use std::time::Duration;

use swifttrack_outbox::{Connection, Event, append_batch};
use swifttrack_saga::hook::{HookError, OnTransition, Transition};
use swifttrack_saga::{
    Attempt, Compensate, DefineError, Evidence, NotYet, Payload, Retry, Saga, Step, StepError,
    Tune as _,
};

/// About 250 bytes as JSON.
pub(crate) type Input = Order;

#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub(crate) struct Order {
    order: String,
    note: String,
}

impl Order {
    pub(crate) fn of(id: &str) -> Self {
        Self {
            order: id.to_owned(),
            note: "x".repeat(190),
        }
    }
}

/// Does nothing, for a while, and says so in about 100 bytes.
struct Nothing(Duration);

impl Step for Nothing {
    const NAME: &'static str = "nothing";
    type In = Order;
    type Out = String;

    async fn run(&self, _: &Attempt, order: &Order) -> Result<String, StepError> {
        if !self.0.is_zero() {
            tokio::time::sleep(self.0).await;
        }
        Ok(answer(&order.order))
    }
}

fn answer(id: &str) -> String {
    [id, padding(98, id)].concat()
}

/// What `text` lacks to so many bytes, 128 at most.
fn padding(bytes: usize, text: &str) -> &'static str {
    const ALL: &[u8] = &[b'x'; 128];
    let lacks = bytes.saturating_sub(text.len()).min(ALL.len());
    str::from_utf8(&ALL[..lacks]).unwrap_or_default()
}

/// Three steps, each of which takes `hold`.
pub(crate) fn order(hold: Duration) -> Result<Saga<Order, ()>, DefineError> {
    let step = |name| Nothing(hold).named(name).irrevocable("it does nothing");
    Saga::define("load", 1, |s, order| {
        s.step(step("one"), order);
        s.step(step("two"), order);
        s.step(step("three"), order);
        s.finish(())
    })
}

/// Sleeps longer than anybody looks.
pub(crate) fn waiting() -> Result<Saga<Order, ()>, DefineError> {
    Saga::<Order>::define("waiting", 1, |s, _| {
        s.sleep("a-year", Duration::from_hours(24 * 365));
        s.finish(())
    })
}

/// Cannot be done, and cannot be undone either.
struct Hopeless;

impl Step for Hopeless {
    const NAME: &'static str = "hopeless";
    type In = Order;
    type Out = ();

    async fn run(&self, _: &Attempt, _: &Order) -> Result<(), StepError> {
        Err(StepError::unknown("SILENT", "nobody answers"))
    }
}

impl Compensate for Hopeless {
    async fn undo(&self, _: &Attempt, _: &Order, _: Evidence<&()>) -> Result<(), NotYet> {
        Err(NotYet::new("SILENT", "nobody answers"))
    }
}

/// Is parked at once.
pub(crate) fn parking() -> Result<Saga<Order, ()>, DefineError> {
    Saga::define("parking", 1, |s, order| {
        let hopeless = Hopeless.retry(Retry::never()).undo_retry(Retry::never());
        s.step(hopeless.tombstone(), order);
        s.finish(())
    })
}

/// Where the events go.
pub(crate) const TOPIC: &str = "orders";

/// So many events a transition, through the outbox.
pub(crate) struct Events(pub(crate) usize);

#[async_trait::async_trait]
impl<DB> OnTransition<DB> for Events
where
    DB: sqlx::Database,
    DB::Connection: Connection,
{
    async fn on_transitions(
        &self,
        conn: &mut DB::Connection,
        batch: &[&Transition],
    ) -> Result<(), HookError> {
        let mut events = Vec::with_capacity(batch.len() * self.0);
        for transition in batch {
            for n in 0..self.0 {
                let key = transition.id.to_string();
                let mut payload = String::with_capacity(200);
                // Writing to a string does not fail.
                let _ = write!(
                    payload,
                    r#"{{"order":"{key}","seq":{},"n":{n},"note":"{}"}}"#,
                    transition.seq,
                    padding(164, &key),
                );
                events.push(Event::new(
                    TOPIC,
                    key,
                    "ORDER_STEP_COMPLETED",
                    payload.into_bytes(),
                ));
            }
        }
        append_batch(conn, &events).await?;
        Ok(())
    }
}

const _: fn() = || {
    fn is_payload<T: Payload>() {}
    is_payload::<Order>();
};
