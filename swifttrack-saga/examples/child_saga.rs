//! A saga as a step of another: started by one step, waited for by a signal, undone by a cancel.
//!
//! ```text
//!   order    start-payment ──────▶ await "payment" ──▶ check-payment ──▶ pack
//!                 │                      ▲
//!                 ▼                      │ paid, or failed
//!   payment  on-failure ──▶ charge ──▶ say-paid (pivot)
//!               undo: say failed
//! ```
//!
//! The child says how it ended, both ways. Its last word on success is its pivot: from there on
//! nobody can cancel what the parent has heard to be done. Its word on failure is the undo of its
//! *first* step, which comes when all the others are undone.
//!
//! Run it: `cargo run -p swifttrack-saga --example child_saga`

#![allow(clippy::print_stdout)] // an example prints

use std::error::Error;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use swifttrack_saga::hook::End;
use swifttrack_saga::store::Sighting;
use swifttrack_saga::store::memory::MemoryStore;
use swifttrack_saga::{
    Attempt, By, Compensate, DefineError, Engine, Evidence, NotYet, Retry, Saga, Signal, Step,
    StepError, Tune as _,
};

/// How the child says that it has ended.
const PAYMENT: Signal<bool> = Signal::new("payment");
/// Steps talk to an engine that is made from their sagas: they get it when it is there.
type Later = Arc<OnceLock<Engine>>;

#[derive(Clone, Serialize, Deserialize)]
struct Order {
    cents: u32,
}

/// The parent's first step: starts the child under its own id, so that it is one however often
/// the step is repeated.
struct StartPayment {
    engine: Later,
    payment: Saga<Payment>,
}

impl Step for StartPayment {
    const NAME: &'static str = "start-payment";
    type In = Order;
    type Out = ();

    async fn run(&self, attempt: &Attempt, order: &Order) -> Result<(), StepError> {
        let engine = self.engine.get().ok_or_else(not_ready)?;
        let input = Payment {
            order: attempt.id().to_owned(),
            cents: order.cents,
        };
        match engine.start(&self.payment, attempt.id(), &input).await {
            Ok(_) => Ok(()),
            Err(error) if error.is_conflict() || error.is_invalid() => {
                Err(StepError::rejected("NO_PAYMENT", error))
            }
            Err(error) => Err(StepError::unknown("NO_ANSWER", error)),
        }
    }
}

impl Compensate for StartPayment {
    async fn undo(&self, attempt: &Attempt, _: &Order, _: Evidence<&()>) -> Result<(), NotYet> {
        let engine = self
            .engine
            .get()
            .ok_or_else(|| NotYet::new("NOT_READY", ""))?;
        let by = By::new("order", "the order was given up");
        match engine.cancel("payment", attempt.id(), by).await? {
            // It never began, and after the quiet period of this step it will not.
            Sighting::NotFound => Ok(()),
            Sighting::Ended => match engine.ended("payment", attempt.id()).await? {
                Some(End::Completed { .. }) => {
                    println!("{}: the money goes back", attempt.id());
                    Ok(())
                }
                _ => Ok(()),
            },
            // It turns back, or says "paid" in this moment: look again.
            _ => Err(NotYet::new("NOT_ENDED", "the payment has not ended yet")),
        }
    }
}

/// Turns the word of the child into an answer that the parent can act on.
struct CheckPayment;

impl Step for CheckPayment {
    const NAME: &'static str = "check-payment";
    type In = bool;
    type Out = ();

    async fn run(&self, _: &Attempt, paid: &bool) -> Result<(), StepError> {
        match paid {
            true => Ok(()),
            false => Err(StepError::rejected("NOT_PAID", "the payment was undone")),
        }
    }
}

/// Something that the parent does afterwards, and that can fail too.
struct Pack;

impl Step for Pack {
    const NAME: &'static str = "pack";
    type In = Order;
    type Out = ();

    async fn run(&self, _: &Attempt, order: &Order) -> Result<(), StepError> {
        match order.cents {
            0..=50_000 => Ok(()),
            _ => Err(StepError::rejected("TOO_LARGE", "no box is large enough")),
        }
    }
}

/// The parent.
fn order(engine: &Later, payment: &Saga<Payment>) -> Result<Saga<Order>, DefineError> {
    let start = StartPayment {
        engine: engine.clone(),
        payment: payment.clone(),
    };
    Saga::<Order>::define("order", 1, |s, order| {
        s.step(
            start
                .quiet(Duration::from_secs(1))
                .undo_retry(Retry::exponential(Duration::from_millis(50)).without_end()),
            order,
        );
        // If the child says nothing for an hour, the parent gives up, and with it the child.
        let paid = s.await_signal(PAYMENT.within(Duration::from_hours(1)));
        s.step(CheckPayment.read_only(), paid);
        s.step(Pack.irrevocable("a packed box is unpacked by hand"), order);
        s.finish(())
    })
}

#[derive(Clone, Serialize, Deserialize)]
struct Payment {
    order: String,
    cents: u32,
}

/// The child's first step does nothing, so that its undo is the last thing that happens.
struct OnFailure {
    engine: Later,
}

impl Step for OnFailure {
    const NAME: &'static str = "on-failure";
    type In = Payment;
    type Out = ();

    async fn run(&self, _: &Attempt, _: &Payment) -> Result<(), StepError> {
        Ok(())
    }
}

impl Compensate for OnFailure {
    async fn undo(
        &self,
        attempt: &Attempt,
        payment: &Payment,
        _: Evidence<&()>,
    ) -> Result<(), NotYet> {
        let engine = self
            .engine
            .get()
            .ok_or_else(|| NotYet::new("NOT_READY", ""))?;
        // Whether it is heard or comes too late is the parent's business: it is said once.
        engine
            .signal("order", &payment.order, &PAYMENT, attempt.key(), &false)
            .await?;
        Ok(())
    }
}

struct Charge;

impl Step for Charge {
    const NAME: &'static str = "charge";
    type In = Payment;
    type Out = ();

    async fn run(&self, _: &Attempt, payment: &Payment) -> Result<(), StepError> {
        match payment.cents {
            0 => Err(StepError::rejected("NOTHING", "nothing cannot be charged")),
            _ => Ok(()),
        }
    }
}

impl Compensate for Charge {
    async fn undo(&self, _: &Attempt, _: &Payment, _: Evidence<&()>) -> Result<(), NotYet> {
        Ok(())
    }
}

/// The child's last word, after which it cannot be cancelled.
struct SayPaid {
    engine: Later,
}

impl Step for SayPaid {
    const NAME: &'static str = "say-paid";
    type In = Payment;
    type Out = ();

    async fn run(&self, attempt: &Attempt, payment: &Payment) -> Result<(), StepError> {
        let engine = self.engine.get().ok_or_else(not_ready)?;
        engine
            .signal("order", &payment.order, &PAYMENT, attempt.key(), &true)
            .await
            .map_err(|error| StepError::retry("NO_ANSWER", error))?;
        Ok(())
    }
}

/// The child.
fn payment(engine: &Later) -> Result<Saga<Payment>, DefineError> {
    let (on_failure, say_paid) = (engine.clone(), engine.clone());
    Saga::<Payment>::define("payment", 1, |s, payment| {
        s.step(OnFailure { engine: on_failure }.tombstone(), payment);
        s.step(Charge.tombstone(), payment);
        let always = Retry::exponential(Duration::from_millis(50)).without_end();
        let (s, _) = s.pivot(SayPaid { engine: say_paid }.retry(always), payment);
        s.finish(())
    })
}

fn not_ready() -> StepError {
    StepError::retry("NOT_READY", "the engine is not there yet")
}

/// Orders of this many cents, and how they and their payments ended.
pub(crate) async fn run(orders: &[(&str, u32)]) -> Result<Vec<(End, End)>, Box<dyn Error>> {
    let later = Later::default();
    let payment = payment(&later)?;
    let order = order(&later, &payment)?;
    let engine = Engine::builder(MemoryStore::new())
        .register(&payment)
        .register(&order)
        .spawn()
        .await?;
    let _ = later.set(engine.clone());
    let mut ends = Vec::new();
    for (id, cents) in orders {
        engine.start(&order, id, &Order { cents: *cents }).await?;
        let parent = engine.ended("order", id).await?.ok_or("it was started")?;
        let child = engine.ended("payment", id).await?.ok_or("it was started")?;
        ends.push((parent, child));
    }
    engine.shutdown(Duration::from_secs(5)).await;
    Ok(ends)
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    for (parent, child) in run(&[("good", 700), ("free", 0), ("large", 70_000)]).await? {
        println!("order: {parent:?}\n  payment: {child:?}");
    }
    Ok(())
}
