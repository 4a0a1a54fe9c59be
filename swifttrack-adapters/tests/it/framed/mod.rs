mod abandoned;
mod bursts;
mod calls;
mod codec;
mod endings;
mod fuzzed;
mod hostile;
mod payload;
mod reconnect;
mod server;
pub(crate) mod sockets;
pub(crate) mod support;
#[cfg(all(feature = "tls", feature = "http"))]
mod tls;
