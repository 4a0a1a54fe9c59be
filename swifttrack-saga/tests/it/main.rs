//! Everything that is tested through the public surface.

#![allow(clippy::unwrap_used)] // helpers of tests are tests

mod child;
mod compile_fail;
mod definition;
mod engine;
#[cfg(feature = "conformance")]
mod memory;
mod parts;
#[cfg(feature = "postgres")]
mod postgres;
#[cfg(all(feature = "postgres", target_os = "linux"))]
mod process;
#[cfg(feature = "conformance")]
mod store;
#[cfg(feature = "verify")]
mod verify;
