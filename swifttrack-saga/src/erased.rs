//! Steps without their types, so that an engine can hold them in a list.
//!
//! Values travel between steps as they are, behind an `Arc`; bytes appear only
//! where a [`Codec`] meets the journal.

use std::any::Any;
use std::pin::Pin;
use std::sync::Arc;

use crate::error::{NotYet, StepError};
use crate::reference::{Bind, Scope};
use crate::step::{Attempt, Compensate, Evidence, ForwardStep, Payload, Resolution, Step};

pub(crate) type Value = Arc<dyn Any + Send + Sync>;
pub(crate) type BoxFuture<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// The way of one payload type into the journal and out of it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Codec {
    pub(crate) encode: fn(&Value) -> serde_json::Result<Vec<u8>>,
    pub(crate) decode: fn(&[u8]) -> serde_json::Result<Value>,
}

impl Codec {
    pub(crate) const fn of<T: Payload>() -> Self {
        Self {
            encode: |value| serde_json::to_vec(get::<T>(value)),
            decode: |bytes| Ok(Arc::new(serde_json::from_slice::<T>(bytes)?)),
        }
    }
}

/// The typed value in `value`. Branded references make a mismatch impossible.
pub(crate) fn get<T: 'static>(value: &Value) -> &T {
    value
        .downcast_ref()
        .expect("a reference knows the type of its value")
}

/// The same, to hold on to.
pub(crate) fn shared<T: Send + Sync + 'static>(value: Value) -> Arc<T> {
    value
        .downcast()
        .expect("a reference knows the type of its value")
}

pub(crate) trait ErasedStep: Send + Sync {
    /// The step's input, made from what its saga has so far.
    fn input(&self, scope: &Scope<'_>) -> Value;

    fn run(self: Arc<Self>, attempt: Attempt, input: Value) -> BoxFuture<Result<Value, StepError>>;

    fn resolve(
        self: Arc<Self>,
        attempt: Attempt,
        input: Value,
    ) -> BoxFuture<Result<Resolution<Value>, NotYet>>;
}

pub(crate) trait ErasedUndo: Send + Sync {
    fn undo(
        self: Arc<Self>,
        attempt: Attempt,
        input: Value,
        evidence: Evidence<Value>,
    ) -> BoxFuture<Result<(), NotYet>>;
}

/// A step and where its input comes from.
pub(crate) struct Bound<S, In> {
    pub(crate) step: S,
    pub(crate) input: Bind<In>,
}

/// As [`Bound`], for a step after the pivot.
pub(crate) struct BoundForward<S, In> {
    pub(crate) step: S,
    pub(crate) input: Bind<In>,
}

fn erase<T: Send + Sync + 'static>(resolution: Resolution<T>) -> Resolution<Value> {
    match resolution {
        Resolution::Done(output) => Resolution::Done(Arc::new(output) as Value),
        Resolution::Happened => Resolution::Happened,
        Resolution::Never => Resolution::Never,
        Resolution::NotYet => Resolution::NotYet,
        Resolution::CannotTell => Resolution::CannotTell,
    }
}

impl<S: Step> ErasedStep for Bound<S, S::In> {
    fn input(&self, scope: &Scope<'_>) -> Value {
        (self.input)(scope)
    }

    fn run(self: Arc<Self>, attempt: Attempt, input: Value) -> BoxFuture<Result<Value, StepError>> {
        Box::pin(async move {
            let output = self.step.run(&attempt, get(&input)).await?;
            Ok(Arc::new(output) as Value)
        })
    }

    fn resolve(
        self: Arc<Self>,
        attempt: Attempt,
        input: Value,
    ) -> BoxFuture<Result<Resolution<Value>, NotYet>> {
        Box::pin(async move {
            let answer = self.step.resolve(&attempt, get(&input)).await?;
            Ok(erase(answer))
        })
    }
}

impl<S: ForwardStep> ErasedStep for BoundForward<S, S::In> {
    fn input(&self, scope: &Scope<'_>) -> Value {
        (self.input)(scope)
    }

    fn run(self: Arc<Self>, attempt: Attempt, input: Value) -> BoxFuture<Result<Value, StepError>> {
        Box::pin(async move {
            let output = self.step.run(&attempt, get(&input)).await?;
            Ok(Arc::new(output) as Value)
        })
    }

    fn resolve(
        self: Arc<Self>,
        attempt: Attempt,
        input: Value,
    ) -> BoxFuture<Result<Resolution<Value>, NotYet>> {
        Box::pin(async move {
            let answer = self.step.resolve(&attempt, get(&input)).await?;
            Ok(erase(answer))
        })
    }
}

impl<S: Compensate> ErasedUndo for Bound<S, S::In> {
    fn undo(
        self: Arc<Self>,
        attempt: Attempt,
        input: Value,
        evidence: Evidence<Value>,
    ) -> BoxFuture<Result<(), NotYet>> {
        Box::pin(async move {
            let evidence = match &evidence {
                Evidence::Done(output) => Evidence::Done(get::<S::Out>(output)),
                Evidence::Maybe => Evidence::Maybe,
            };
            self.step.undo(&attempt, get(&input), evidence).await
        })
    }
}
