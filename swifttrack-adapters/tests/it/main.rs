//! The crate as its users see it, over real sockets.

#[cfg(feature = "framed")]
mod framed;
