//! Explores what can go wrong with *your* saga, in virtual time, and prints the shortest
//! history that breaks a rule.
//!
//! ```text
//!   your steps and undos ──▶ World::call ──▶ your Model of the partners
//!            ▲                    │  choices: answered, refused, lost before, lost after,
//!            │                    │           late, crash before, crash after
//!          core ◀── Explorer: which attempt next, which late request arrives, cancel, crash
//! ```
//!
//! The steps reach their partner through a port that is theirs to choose; here it is a
//! [`World`]. A path is a list of choices, replayed from the start; paths with fewer faults are
//! explored first, so that the first counterexample has as few as possible.
//!
//! # Rules
//!
//! 1. When a saga is compensated, no effect is left, now or when late requests have arrived.
//! 2. When it is completed, the model [agrees](Model::completed).
//! 3. No effect is there [twice](Model::broken).
//! 4. It ends, or is parked.
//!
//! # Bounds
//!
//! Between two calls of a step nothing else happens; members of a group overlap by their late
//! requests only. A request that is late arrives before the saga's end or right after it, but
//! for a step without tombstones never after its quiet period, which is what its definition
//! asks one to believe. Steps must be deterministic between calls. The report says how many
//! faults were allowed and whether everything within was seen.
//!
//! # Example
//!
//! ```
//! use std::collections::BTreeSet;
//!
//! use swifttrack_saga::verify::{Explorer, Lost, Model, World};
//! use swifttrack_saga::{
//!     Attempt, Compensate, Evidence, NotYet, Saga, Step, StepError, Tune as _,
//! };
//!
//! /// A partner that holds seats and keeps tombstones.
//! #[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
//! struct Seats {
//!     held: BTreeSet<String>,
//!     gone: BTreeSet<String>,
//! }
//!
//! #[derive(Clone, Debug, PartialEq, Eq, Hash)]
//! enum Ask {
//!     Hold(String),
//!     Release(String),
//! }
//!
//! impl Model for Seats {
//!     type Request = Ask;
//!     type Answer = bool;
//!
//!     fn answer(&mut self, request: &Ask) -> bool {
//!         match request {
//!             Ask::Hold(key) if self.gone.contains(key) => false,
//!             Ask::Hold(key) => {
//!                 self.held.insert(key.clone());
//!                 true
//!             }
//!             Ask::Release(key) => {
//!                 self.held.remove(key);
//!                 self.gone.insert(key.clone())
//!             }
//!         }
//!     }
//!
//!     fn effects(&self) -> Vec<String> {
//!         self.held.iter().cloned().collect()
//!     }
//! }
//!
//! struct Hold(World<Seats>);
//!
//! impl Step for Hold {
//!     const NAME: &'static str = "hold";
//!     type In = u32;
//!     type Out = String;
//!
//!     async fn run(&self, attempt: &Attempt, _: &u32) -> Result<String, StepError> {
//!         let key = attempt.key().to_owned();
//!         match self.0.call(Ask::Hold(key.clone())).await {
//!             Ok(true) => Ok(key),
//!             Ok(false) => Err(StepError::rejected("GONE", "released before")),
//!             Err(Lost::NotSent) => Err(StepError::retry("NOT_SENT", "not sent")),
//!             Err(Lost::Unknown) => Err(StepError::unknown("LOST", "no answer")),
//!         }
//!     }
//! }
//!
//! impl Compensate for Hold {
//!     async fn undo(&self, attempt: &Attempt, _: &u32, _: Evidence<&String>) -> Result<(), NotYet> {
//!         let key = attempt.key().trim_end_matches(":undo").to_owned();
//!         self.0.call(Ask::Release(key)).await?;
//!         Ok(())
//!     }
//! }
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let world = World::new(Seats::default());
//! let saga = Saga::<u32>::define("booking", 1, |s, seats| {
//!     let hold = s.step(Hold(world.clone()).tombstone(), seats);
//!     s.finish(hold)
//! })?;
//! let report = Explorer::new(&saga, world, 2).faults_max(2).run();
//! assert!(report.counterexample().is_none(), "{report}");
//! assert!(report.exhausted());
//! # Ok(())
//! # }
//! ```

mod explorer;
mod path;
mod report;
mod world;

pub use self::explorer::Explorer;
pub use self::report::{Counterexample, Report};
pub use self::world::{Lost, Model, World};
