//! Trying again, and when not to.
//!
//! ```text
//!  call ──▶ result ──▶ classifier ──▶ success, ignore ──────────▶ return it
//!    ▲                     │ failure, throttled
//!    │                     ▼
//!    │        another try by the backoff?  ── no ───────────────▶ return it
//!    │        before the deadline?         ── no ───────────────▶ return it
//!    │        one in the budget?           ── no ───────────────▶ return it
//!    │                     │ yes
//!    └── ready ◀── wait ◀──┘ the result is dropped before the wait
//! ```

mod backoff;
mod budget;
mod future;
mod layer;
mod service;

pub use self::backoff::{Backoff, Jitter};
pub use self::budget::Budget;
pub use self::future::ResponseFuture;
pub use self::layer::{Carried, DeadlineOf, RetryLayer, Unbounded};
pub use self::service::Retry;
