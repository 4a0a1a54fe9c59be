//! HTTP/1.1 that knows what it has sent.
//!
//! ```text
//!   Client ── idle pool ── one exchange at a time ── hyper ── a socket that counts
//! ```
//!
//! What a general client hides is what a saga must know: whether the first byte
//! of a request left. So this one follows no redirect, repeats nothing, never
//! has two exchanges on a connection at once, checks that an answer echoes the
//! `X-Request-ID` of its request, and ends the call at the deadline by itself.
//! An [error's class](crate::Error#the-first-byte-rule) follows from that.

mod base;
mod client;
mod connection;
mod exchange;
mod pool;
mod retry_after;
mod wire;

pub use self::client::Client;
pub use self::exchange::{Exchange, probe};
pub use self::retry_after::retry_after;

/// The header that names an exchange and that an answer echoes.
pub const REQUEST_ID: http::HeaderName = http::HeaderName::from_static("x-request-id");
