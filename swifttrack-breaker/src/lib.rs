//! Stop calling a partner that keeps failing, notice when it recovers, and try
//! again without making matters worse.
//!
#![doc = include_str!("circuit/figure.md")]
//!
//! # Example
//!
//! ```
//! use std::time::Duration;
//! use swifttrack_breaker::{BreakerConfig, BreakerLayer, Error, State};
//! use tower::{Service, ServiceBuilder, ServiceExt};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() {
//! let layer = BreakerLayer::new("cms", BreakerConfig::new().trip_after(3));
//! let cms = layer.handle().clone();
//! let mut service = ServiceBuilder::new()
//!     .layer(layer)
//!     .service_fn(|_order: u32| async { Err::<(), _>("connection refused") });
//!
//! for order in 0..3 {
//!     let _ = service.ready().await.unwrap().call(order).await;
//! }
//! let refused = service.ready().await.unwrap().call(3).await.unwrap_err();
//! assert!(refused.is_local());
//! assert!(refused.retry_after() <= Some(Duration::from_secs(30)));
//!
//! cms.reset();
//! assert_eq!(cms.state(), State::Closed);
//! # }
//! ```
//!
//! # Where to look
//!
//! | module or type | what it is for |
//! |---|---|
//! | [`stack`] | all the layers, in the one order that makes sense |
//! | [`breaker`] | the circuit as a tower layer |
//! | [`BreakerHandle`], [`Ticket`] | the circuit by itself: plain calls, waiting, looking, operating |
//! | [`BreakerConfig`], [`Policy`], [`Clock`] | when it opens, for how long, how it closes |
//! | [`Classifier`], [`Outcome`] | which results speak against the partner |
//! | [`Error`], [`Refused`], [`TimedOut`] | what the layers add to the errors of the service |
//! | [`Transitions`], [`Snapshot`], [`Flight`] | what happened, why, and how things stand |
//! | [`Registry`] | many circuits, by name or by key |
//! | [`Shadow`] | what another policy would have done |
//! | [`retry`] | growing waits, and a budget for all calls together |
//! | [`deadline`], [`timeout`] | how long a request, and each of its tries, may take |
//! | [`bulkhead`], [`shed`] | how many at once, and no waiting in line |
//! | [`chaos`] | trouble on purpose |
//!
//! # Retrying and waiting
//!
//! A refusal by a circuit is not worth a retry: nothing was asked, and nothing
//! will be different before [`Refused::retry_after`]. Give that time to whoever
//! can wait for it, such as a durable job, or take a place in the queue with
//! [`BreakerHandle::acquire`].

//!
//! # Metrics and logs
//!
//! By the `metrics` facade, under the circuit's name, unless
//! [`metrics`](BreakerConfig::metrics) is off:
//!
//! | name | kind | labels |
//! |---|---|---|
//! | `circuit_calls_total` | counter | `circuit`, `outcome` = `success` (where [counted](BreakerConfig::count_successes)), `failure`, `throttled`, `ignored`, `slow`, `refused`, `stale` |
//! | `circuit_transitions_total` | counter | `circuit`, `to`, `reason` |
//! | `circuit_state` | gauge | `circuit`: 0 closed, 1 open, 2 half-open, 3 forced open, 4 disabled, 5 observe |
//!
//! Successes and refusals are handed over in lots of 256, at each transition and
//! at each [`snapshot`](BreakerHandle::snapshot): take one before the metrics are
//! read, or every few seconds. Each transition is a line by `tracing`, a refusal is none.
//!
//! # What it does not have
//!
//! What tower has and does well: a rate limit, for which [`ShedLayer`](shed::ShedLayer)
//! makes a refusal of its waiting, and `Buffer` around a service that is not `Clone`.
//! Hedging, adaptive limits and fallbacks are left to those who need them.

pub mod breaker;
pub mod bulkhead;
pub mod chaos;
pub mod deadline;
pub mod flatten;
pub mod retry;
pub mod shed;
pub mod stack;
pub mod timeout;

mod circuit;
mod classify;
mod clock;
mod config;
mod error;
mod events;
mod flight;
mod handle;
mod meter;
mod policy;
mod registry;
mod shadow;
mod slot;
mod state;
mod stripe;
mod sync;
mod tenant;
mod ticket;
mod wait;

#[doc(inline)]
pub use self::breaker::{Breaker, BreakerLayer};
pub use self::classify::{AnyError, Classifier, Outcome, Outside};
pub use self::clock::{Clock, ManualClock};
pub use self::config::BreakerConfig;
pub use self::error::{Cause, Error, Refused, TimedOut};
pub use self::events::{EVENTS_MAX, Event, Transitions};
pub use self::flight::{FLIGHT_MAX, Flight};
pub use self::handle::BreakerHandle;
pub use self::policy::{Policy, Window};
pub use self::registry::Registry;
#[doc(inline)]
pub use self::retry::{Backoff, Budget, Jitter, RetryLayer};
pub use self::shadow::{LiveShadow, SHADOWS_MAX, Shadow, TRIPS_MAX, Trip};
pub use self::state::{Counts, Reason, Snapshot, State, Tally, Transition};
pub use self::ticket::Ticket;
