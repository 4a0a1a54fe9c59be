//! The laws of the outbox, on real databases and brokers.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on panics")]

mod append;
mod cdc;
mod consumer;
mod faults;
mod inbox;
mod late;
mod relay;
mod support;
mod zombie;
