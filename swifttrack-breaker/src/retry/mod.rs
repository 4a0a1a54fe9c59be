//! Trying again, and when not to.

mod backoff;

pub use self::backoff::{Backoff, Jitter};
