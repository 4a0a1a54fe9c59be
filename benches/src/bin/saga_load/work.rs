//! A saga of three steps that do nothing, and the events that tell of it.

use std::fmt::Write as _;

use swifttrack_outbox::{Connection, Event, append_batch};
use swifttrack_saga::hook::{HookError, OnTransition, Transition};
use swifttrack_saga::{Attempt, DefineError, Payload, Saga, Step, StepError, Tune as _};

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

/// Does nothing, and says so in about 100 bytes.
struct Nothing;

impl Step for Nothing {
    const NAME: &'static str = "nothing";
    type In = Order;
    type Out = String;

    async fn run(&self, _: &Attempt, order: &Order) -> Result<String, StepError> {
        Ok(answer(&order.order))
    }
}

fn answer(id: &str) -> String {
    let mut answer = String::with_capacity(100);
    // Writing to a string does not fail.
    let _ = write!(answer, "{id:x<98}");
    answer
}

pub(crate) fn order() -> Result<Saga<Order, ()>, DefineError> {
    Saga::define("load", 1, |s, order| {
        s.step(Nothing.named("one").irrevocable("it does nothing"), order);
        s.step(Nothing.named("two").irrevocable("it does nothing"), order);
        s.step(Nothing.named("three").irrevocable("it does nothing"), order);
        s.finish(())
    })
}

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
        batch: &[Transition],
    ) -> Result<(), HookError> {
        let mut events = Vec::with_capacity(batch.len() * self.0);
        for transition in batch {
            for n in 0..self.0 {
                let key = transition.id.to_string();
                let mut payload = format!(
                    r#"{{"order":"{key}","seq":{},"n":{n},"note":""#,
                    transition.seq
                );
                while payload.len() < 198 {
                    payload.push('x');
                }
                payload.push_str("\"}");
                events.push(Event::new(
                    "orders",
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
