//! The order's saga: three partners forward, and back if one of them refuses for good.

use std::sync::Arc;
use std::time::Instant;

use swifttrack_adapters::{Adapter, CallContext, Cancelled, Error, Lookup};
use swifttrack_saga::{
    Attempt, Compensate, DefineError, Evidence, NotYet, Policy, Resolution, Retry, Saga,
    Step as SagaStep, StepError, Tune,
};

use crate::config;
use crate::gate::{CALLS_MAX, Gate, Refused};
use crate::order::NewOrder;
use crate::partner::{CmsAdapter, Contract, Registration, RosAdapter, Route, Subject, WmsAdapter};
use crate::step::Step;

#[cfg(test)]
mod verified;

/// The saga's name in the journal.
pub const NAME: &str = "order-processing";

/// What an order that is ready has from its partners.
pub type Ready = (Contract, Registration, Route);

/// The three partners, each behind its gate. Who they are is a parameter, so that the saga can
/// be verified against models of them.
#[derive(Debug)]
pub struct Partners<C = CmsAdapter, W = WmsAdapter, R = RosAdapter> {
    /// Contracts.
    pub cms: Arc<Gate<C>>,
    /// The warehouse.
    pub wms: Arc<Gate<W>>,
    /// Routes.
    pub ros: Arc<Gate<R>>,
}

/// Writes the saga down.
///
/// All three partners keep a tombstone for what was cancelled, so that a forward
/// call that arrives after its cancel is refused.
///
/// # Errors
///
/// None in practice: the definition is fixed.
pub fn define<C, W, R>(
    partners: Partners<C, W, R>,
    retry: config::Retry,
) -> Result<Saga<NewOrder, Ready>, DefineError>
where
    C: Adapter<Request = NewOrder, Response = Contract, Subject = Subject>,
    W: Adapter<Request = NewOrder, Response = Registration, Subject = Subject>,
    R: Adapter<Request = NewOrder, Response = Route, Subject = Subject>,
{
    let Partners { cms, wms, ros } = partners;
    let times = u16::try_from(retry.retries).unwrap_or(u16::MAX);
    let pauses = Retry::exponential(retry.delay)
        .factor(2)
        .cap(retry.delay * 16)
        .times(times);
    Saga::<NewOrder>::define(NAME, 1, |s, order| {
        let contract = s.step(
            VerifyContract { cms }
                .retry(pauses)
                .on(Step::Cms.service())
                .concurrency(CALLS_MAX)
                .tombstone(),
            order,
        );
        let packages = s.step(
            RegisterPackages { wms }
                .retry(pauses)
                .on(Step::Wms.service())
                .concurrency(CALLS_MAX)
                .tombstone(),
            order,
        );
        let route = s.step(
            OptimizeRoute { ros }
                .retry(pauses)
                .on(Step::Ros.service())
                .concurrency(CALLS_MAX)
                .tombstone(),
            order,
        );
        s.finish((contract, packages, route))
    })
}

/// Verifies the contract and holds credit.
#[derive(Debug)]
struct VerifyContract<A> {
    cms: Arc<Gate<A>>,
}

/// Registers the packages and reserves stock.
#[derive(Debug)]
struct RegisterPackages<A> {
    wms: Arc<Gate<A>>,
}

/// Optimizes the route and assigns a vehicle.
#[derive(Debug)]
struct OptimizeRoute<A> {
    ros: Arc<Gate<A>>,
}

macro_rules! partner_step {
    ($step:ident, $partner:ident, $name:expr, $out:ty, $id:ident) => {
        impl<A> SagaStep for $step<A>
        where
            A: Adapter<Request = NewOrder, Response = $out, Subject = Subject>,
        {
            const NAME: &'static str = $name.name();
            type In = NewOrder;
            type Out = $out;

            async fn run(&self, attempt: &Attempt, order: &NewOrder) -> Result<$out, StepError> {
                forward(&self.$partner, attempt, order).await
            }

            async fn resolve(
                &self,
                attempt: &Attempt,
                order: &NewOrder,
            ) -> Result<Resolution<$out>, NotYet> {
                let subject = subject(order, None);
                ask(&self.$partner, attempt, &subject).await
            }

            fn policy(&self) -> Policy {
                Policy::forward()
            }
        }

        impl<A> Compensate for $step<A>
        where
            A: Adapter<Request = NewOrder, Response = $out, Subject = Subject>,
        {
            async fn undo(
                &self,
                attempt: &Attempt,
                order: &NewOrder,
                evidence: Evidence<&$out>,
            ) -> Result<(), NotYet> {
                let id = evidence.output().map(|given| given.$id.clone());
                back(&self.$partner, attempt, &subject(order, id)).await
            }
        }
    };
}

partner_step!(VerifyContract, cms, Step::Cms, Contract, contract_id);
partner_step!(RegisterPackages, wms, Step::Wms, Registration, package_id);
partner_step!(OptimizeRoute, ros, Step::Ros, Route, route_id);

async fn forward<A>(
    gate: &Gate<A>,
    attempt: &Attempt,
    order: &NewOrder,
) -> Result<A::Response, StepError>
where
    A: Adapter<Request = NewOrder, Subject = Subject>,
{
    let cx = context(attempt);
    let began = Instant::now();
    let result = gate.pass(gate.adapter().call(order, &cx)).await;
    if result.is_ok() {
        gate.observe(began.elapsed());
    }
    result.map_err(|refused| match refused {
        Refused::Here { retry_after } => StepError::blocked(gate.step().service(), retry_after),
        Refused::There(error) => step_error(error),
    })
}

async fn ask<A>(
    gate: &Gate<A>,
    attempt: &Attempt,
    subject: &Subject,
) -> Result<Resolution<A::Response>, NotYet>
where
    A: Adapter<Request = NewOrder, Subject = Subject>,
{
    let cx = context(attempt);
    let found = gate
        .pass(gate.adapter().query(subject, &cx))
        .await
        .map_err(|refused| not_yet(gate, refused))?;
    Ok(match found {
        Lookup::Done(given) => Resolution::Done(given),
        Lookup::Happened => Resolution::Happened,
        Lookup::Never => Resolution::Never,
        Lookup::NotYet => Resolution::NotYet,
    })
}

async fn back<A>(gate: &Gate<A>, attempt: &Attempt, subject: &Subject) -> Result<(), NotYet>
where
    A: Adapter<Request = NewOrder, Subject = Subject>,
{
    let cx = context(attempt);
    let done = gate
        .pass(gate.adapter().cancel(subject, &cx))
        .await
        .map_err(|refused| not_yet(gate, refused))?;
    if done == Cancelled::Already {
        tracing::debug!(order = %subject.order_id, partner = gate.step().service(), "was cancelled before");
    }
    Ok(())
}

fn subject(order: &NewOrder, partner_id: Option<String>) -> Subject {
    Subject {
        order_id: order.id.clone(),
        partner_id,
        reason: "saga compensation".to_owned(),
    }
}

/// The call ends a little before the attempt does, so that the adapter's own word
/// (with its class) reaches the saga, rather than the saga's time-out.
fn context(attempt: &Attempt) -> CallContext {
    const MARGIN: std::time::Duration = std::time::Duration::from_millis(100);
    let deadline = attempt.deadline();
    let request_id = uuid::Uuid::now_v7();
    let span = request_id.as_u128() as u64;
    CallContext {
        deadline: deadline.checked_sub(MARGIN).unwrap_or(deadline),
        idempotency_key: attempt.key().to_owned(),
        attempt: attempt.number(),
        trace_parent: Some(trace_parent(attempt.saga(), span)),
        request_id,
    }
}

/// A W3C trace context: the saga is the trace, so that all that belongs to one order is found together.
#[must_use]
pub fn trace_parent(saga: uuid::Uuid, span: u64) -> String {
    format!("00-{:032x}-{:016x}-01", saga.as_u128(), span.max(1))
}

fn not_yet<A>(gate: &Gate<A>, refused: Refused) -> NotYet {
    match refused {
        Refused::Here { retry_after } => NotYet::blocked(gate.step().service(), retry_after),
        Refused::There(error) => {
            let (code, pause) = (code(&error), error.retry_after());
            let error = NotYet::new(code, said(&error));
            match pause {
                Some(pause) => error.after(pause),
                None => error,
            }
        }
    }
}

/// What the adapter said, in the saga's words. Nothing is lost and nothing is guessed.
fn step_error(error: Error) -> StepError {
    let (code, said, pause) = (code(&error), said(&error), error.retry_after());
    let error = if error.is_rejected() {
        StepError::rejected(code, said)
    } else if error.is_not_applied() {
        StepError::retry(code, said)
    } else {
        StepError::unknown(code, said)
    };
    match pause {
        Some(pause) => error.after(pause),
        None => error,
    }
}

fn code(error: &Error) -> String {
    error.code().unwrap_or_default().to_owned()
}

/// The message and its causes without the code, which is kept beside it. What no text column
/// can hold is replaced: a partner's words are a stranger's.
fn said(error: &Error) -> String {
    let mut said = error.message().to_owned();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        said.push_str(": ");
        said.push_str(&cause.to_string());
        source = cause.source();
    }
    said.replace('\0', "\u{FFFD}")
}
