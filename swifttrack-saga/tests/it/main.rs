//! Everything that is tested through the public surface.

#![allow(clippy::unwrap_used)] // helpers of tests are tests

mod engine;
mod parts;
#[cfg(feature = "conformance")]
mod store;
