//! The partners over real sockets.

mod http;
mod ros;
