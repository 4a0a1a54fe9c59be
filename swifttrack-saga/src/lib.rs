//! Durable sagas: steps forward, undo in reverse, every transition in your own database.
//!
//! ```text
//!   Saga::define ──▶ Definition            what runs, in which order, and how it is undone
//!                        │
//!   Engine::start ──▶  core  ◀── results   a pure function decides
//!                        │
//!                      lanes ──▶ Store     one commit for many transitions, your rows among them
//!                        │
//!                     attempts             your steps, outside of any transaction
//! ```
//!
//! # Example
//!
//! ```
//! use std::time::Duration;
//!
//! use swifttrack_saga::hook::End;
//! use swifttrack_saga::store::memory::MemoryStore;
//! use swifttrack_saga::{
//!     Attempt, Compensate, Engine, Evidence, NotYet, Saga, Step, StepError, Tune as _,
//! };
//!
//! /// Takes seats out of sale.
//! struct HoldSeats;
//!
//! impl Step for HoldSeats {
//!     const NAME: &'static str = "hold-seats";
//!     type In = u32;
//!     type Out = String;
//!
//!     async fn run(&self, attempt: &Attempt, seats: &u32) -> Result<String, StepError> {
//!         // The partner sees the same key however often it is asked.
//!         Ok(format!("{seats} seats under {}", attempt.key()))
//!     }
//! }
//!
//! impl Compensate for HoldSeats {
//!     async fn undo(&self, _: &Attempt, _: &u32, hold: Evidence<&String>) -> Result<(), NotYet> {
//!         match hold {
//!             Evidence::Done(_hold) => Ok(()), // release it
//!             Evidence::Maybe => Ok(()),       // release what may be under the key
//!         }
//!     }
//! }
//!
//! /// Asks somebody who says no.
//! struct Charge;
//!
//! impl Step for Charge {
//!     const NAME: &'static str = "charge";
//!     type In = String;
//!     type Out = ();
//!
//!     async fn run(&self, _: &Attempt, _: &String) -> Result<(), StepError> {
//!         Err(StepError::rejected("CARD_DECLINED", "the bank declined"))
//!     }
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let booking = Saga::<u32>::define("booking", 1, |s, seats| {
//!     let hold = s.step(HoldSeats.tombstone(), seats);
//!     let paid = s.step(Charge.irrevocable("refunds are made by hand"), hold);
//!     s.finish((hold, paid))
//! })?;
//!
//! let engine = Engine::builder(MemoryStore::new()).register(&booking).spawn().await?;
//! engine.start(&booking, "B-1", &2).await?;
//! let Some(End::Compensated { undone, .. }) = engine.ended("booking", "B-1").await? else {
//!     panic!("the bank declined")
//! };
//! assert_eq!(&*undone[0], "hold-seats");
//! engine.shutdown(Duration::from_secs(5)).await;
//! # Ok(())
//! # }
//! ```
//!
//! # To be seen
//!
//! [`Engine::get`], [`list`](Engine::list), [`history`](Engine::history) and
//! [`watch`](Engine::watch) show single sagas; [`hook`] shows every transition. By `tracing` there
//! is a span `saga` and inside it a span for each `attempt`, which a [`TraceLink`] ties to the
//! starter's trace over restarts. By `metrics`, whose recorder has to be there before
//! [`spawn`](EngineBuilder::spawn):
//!
//! | name | labels | what |
//! |---|---|---|
//! | `saga_started_total`, `saga_parked_total`, `saga_attention_total` | `definition` | sagas |
//! | `saga_ended_total` | `definition`, `outcome` | `completed`, `compensated` |
//! | `saga_attempts_total` | `definition`, `step`, `outcome` | `done`, `rejected`, `retry`, `unknown`, `blocked`, `undone`, `not_undone` |
//! | `saga_attempt_seconds` | `definition`, `step` | how long attempts take |
//! | `saga_commit_seconds`, `saga_batch_changes` | | commits, and how many sagas share one |
//! | `saga_transitions_total`, `saga_commits_stuck_total` | | journal rows; commits that fail alone |
//! | `saga_active`, `saga_shards` | | sagas in memory; shards held |
//! | `saga_takeovers_total`, `saga_fenced_total` | | shards taken from the dead; changes refused to us |
//!
//! # A saga as a step of another
//!
//! There is no kind of step for it: one step starts the child, a signal brings its end, and the
//! undo cancels it. `examples/child_saga.rs` does it, both ways.
//!
//! # Before a deployment
//!
//! [`EngineBuilder::check_deploy`] says which running sagas a new binary could not continue.
//! A definition that has changed under its version is refused when the engine begins, by the
//! first difference of its [shape](definition::Definition::shape).
//!
//! # An allocator
//!
//! With thousands of sagas in flight, a program on glibc runs a fifth to two fifths faster with an
//! allocator such as jemalloc: tasks are many, aligned to 128 bytes, and end on other threads than
//! they began on. `benches/README.md` has the figures.
//!
//! # Modules
//!
//! | module | what it holds |
//! |---|---|
//! | [`definition`] | the saga as data: nodes, stages, kinds, drawing, times |
//! | [`hook`] | what an application sees of every transition, in the transaction that commits it |
//! | [`payload`] | what lies between payloads and the database: nothing, or an encryption |
//! | [`store`] | where sagas live: the trait, its laws, and the stores |
//! | `verify` (feature) | what can go wrong with your saga, explored in virtual time |
//! | `verify::random` (feature `proptest`) | the same at random, for sagas that are too large |
//! | `conformance` (feature) | the laws of a store, as tests |

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
mod guard;
mod inputs;
pub mod payload;
mod policy;
mod reference;
mod saga;
mod signal;
#[cfg(test)]
mod simulation;
mod step;
mod trace;
mod tune;
#[cfg(feature = "verify")]
pub mod verify;
mod worst_case;

pub use self::accept::{ForwardTask, PivotTask, Task, Undoable};
pub use self::builder::{AfterPivot, BeforePivot, Finished, SagaBuilder};
#[cfg(any(feature = "postgres", feature = "sqlite"))]
pub use self::engine::Joined;
pub use self::engine::{
    Answer, By, DeployReport, Engine, EngineBuilder, Erasure, Error, Snapshot, StartError, Started,
    Status, StepSnapshot, StepStatus, Stranded, Watch,
};
pub use self::error::{Class, ForwardError, NotYet, StepError};
pub use self::group::{Group, Member, Members};
pub use self::inputs::{Input, Inputs, Refs};
pub use self::policy::{Jitter, Late, Policy, Retry};
pub use self::reference::StepRef;
pub use self::saga::{DefineError, Saga};
pub use self::signal::{Await, AwaitForward, OrNone, Signal, Within};
pub use self::step::{Attempt, Compensate, Evidence, ForwardStep, Payload, Resolution, Step};
pub use self::trace::TraceLink;
pub use self::tune::{ByUndo, Irrevocable, Onward, ReadOnly, Tune, TuneForward, Tuned};
pub use self::worst_case::WorstCase;
