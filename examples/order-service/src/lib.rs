//! A logistics order service made of the SwiftTrack crates.

pub mod config;
pub mod estimate;
pub mod event;
pub mod idempotency;
pub mod order;
pub mod partner;
pub mod step;
