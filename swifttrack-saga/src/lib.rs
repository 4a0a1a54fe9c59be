//! Durable sagas: steps forward, undo in reverse, every transition in your own database.

#[cfg(feature = "conformance")]
pub mod conformance;
pub mod definition;
pub mod hook;
pub mod store;

mod accept;
mod builder;
mod core;
mod drawing;
mod engine;
mod erased;
mod error;
mod fingerprint;
mod graph;
mod group;
mod inputs;
mod policy;
mod reference;
mod saga;
mod signal;
mod step;
mod tune;
mod worst_case;

pub use self::accept::{ForwardTask, PivotTask, Task, Undoable};
pub use self::builder::{AfterPivot, BeforePivot, Finished, SagaBuilder};
pub use self::engine::{
    Answer, By, Engine, EngineBuilder, Error, Snapshot, StartError, Started, Status, StepSnapshot,
    StepStatus, Watch,
};
pub use self::error::{Class, ForwardError, NotYet, StepError};
pub use self::group::{Group, Member, Members};
pub use self::inputs::{Input, Inputs, Refs};
pub use self::policy::{Jitter, Late, Policy, Retry};
pub use self::reference::StepRef;
pub use self::saga::{DefineError, Saga};
pub use self::signal::{Await, AwaitForward, OrNone, Signal, Within};
pub use self::step::{Attempt, Compensate, Evidence, ForwardStep, Payload, Resolution, Step};
pub use self::tune::{ByUndo, Irrevocable, Onward, ReadOnly, Tune, TuneForward, Tuned};
pub use self::worst_case::WorstCase;
