//! Explores what can go wrong with *your* saga, in virtual time, and prints the shortest
//! history that breaks a rule.
//!
//! ```text
//!   your steps and undos ──▶ World::call ──▶ your Model of the partners
//!            ▲                    │  answered, refused, not sent, lost before, lost after,
//!            │                    │  late, process dies after
//!          core ◀── Explorer: whose call is next, which late request arrives, what a frozen
//!                   process still sends; time, signals, cancel, deadline, crash, freeze
//! ```
//!
//! The steps reach their partner through a port that is theirs to choose; here it is a
//! [`World`]. An attempt is stopped at each call, and what becomes of the call is a choice. A
//! path is a list of choices, replayed from the start; paths with fewer faults are explored
//! first, then shorter ones, so that the first counterexample is the simplest.
//!
//! # Rules
//!
//! 1. When a saga is compensated, no effect is left but those of its
//!    [irrevocable](crate::Tune::irrevocable) steps: now, when everything that is late has
//!    arrived, and when every frozen process has gone on.
//! 2. When it is completed, the model [agrees](Model::completed), then as well.
//! 3. Nothing is there that [must never be](Model::broken), such as an effect twice.
//! 4. It ends, or is parked: no step or undo fails more than ten times in a row.
//!
//! # What is explored
//!
//! Within the [number of faults](Explorer::faults_max) everything is, by the core and the code
//! that runs attempts as they are shipped:
//!
//! - calls of the members of a group in every order, one after the other;
//! - for each call, that it is answered, refused (if the model [may](Model::refusal)), not sent,
//!   lost before or after it arrived, that it arrives at any later time, and that the process
//!   dies when it has arrived;
//! - between any two calls a crash, a cancel, the end of the saga's deadline, a
//!   [signal](Explorer::signal), and a process that is frozen until another has taken over and
//!   then goes on with what it was doing (a *stale owner*), at any later time, for any part of
//!   the way.
//!
//! A fault is everything but answers, signals, the passing of time, and the arrival of what is
//! late. States of core, outputs, partners, network, and of the attempts under way are looked
//! at once, as hashes of 64 bits.
//!
//! A saga of three steps with retries and tombstones has 1,021 states on 1,281 paths with two
//! faults, which take about a second on one core.
//!
//! # What is not
//!
//! A step's timeouts and those of a call are one: no answer. What a step without tombstones
//! sent has arrived when its [quiet period](crate::Late::Quiet) is over, frozen processes
//! included: that is what its definition asks one to believe, and what arrives later leaks. A
//! saga that is parked is a person's; operators' verbs are not tried. Shards, leases and commits
//! are the engine's own business, and are tested with it.
//!
//! Steps must be deterministic between calls, and make one call at a time. If they are not,
//! that is an [error of its own](Stopped), not a counterexample. The report says the bound, how
//! many states there were, and whether all within the bound was seen.
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
//! let report = Explorer::new(&saga, world, 2).faults_max(2).run()?;
//! assert!(report.holds(), "{report}");
//! # Ok(())
//! # }
//! ```

mod choice;
mod error;
mod explorer;
mod path;
#[cfg(feature = "proptest")]
pub mod random;
mod report;
mod running;
mod schedule;
mod world;

pub use self::error::Stopped;
pub use self::explorer::Explorer;
pub use self::report::{Counterexample, Report};
pub use self::schedule::Schedule;
pub use self::world::{Lost, Model, World};
