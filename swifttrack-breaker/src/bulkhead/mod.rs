//! How many calls may run at once.
//!
//! tower's concurrency limit takes its place in line in `poll_ready`. With its
//! load shed around it, an instance that was polled once while all places were
//! taken, and is then put aside, is given the next free place and keeps it.
//! Here a place is taken in `call` and nowhere else.

pub mod future;

mod layer;
mod service;

pub use self::layer::BulkheadLayer;
pub use self::service::Bulkhead;
