//! The order service as its users meet it: the real binary, over real sockets, by what WIRE
//! documents and nothing else.
//!
//! ```text
//!   test ──HTTP──► order-service (a child process) ──SOAP, TCP, REST──► partners
//!    │                 │                                                   │
//!    │                 ├─ SQLite and its own broker                        │
//!    │                 └─ or Postgres and Apache Kafka                     │
//!    ├──────────────── topics ◄───────────────────────────────────────────┤
//!    └──────────────── ledgers, faults (control ports) ◄───────────────────┘
//! ```
//!
//! The partners run in the test's process, so that the service can be killed without them, or, where
//! they are to be killed, in processes of their own.
//! A test is written once and runs on both backends.
#![expect(
    clippy::unwrap_used,
    reason = "a test says by its panic what went wrong"
)]

mod support;

mod bad_input;
mod cancel;
mod circuit;
mod crash;
mod database;
mod duplicate;
mod happy_path;
mod outbox;
mod outsider;
mod refusal;
mod replicas;
mod shutdown;
mod start;
mod stream;
