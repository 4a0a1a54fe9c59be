//! The partners over real sockets.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod http;
mod ros;
