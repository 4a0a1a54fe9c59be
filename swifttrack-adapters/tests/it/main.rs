//! The crate as its users see it, over real sockets.

// Helpers of tests are tests too, which clippy.toml cannot know.
#![allow(clippy::unwrap_used)]

mod conformance;
#[cfg(all(feature = "rest", feature = "soap"))]
mod corpus;
#[cfg(feature = "framed")]
mod framed;
#[cfg(feature = "http")]
mod http;
#[cfg(feature = "record")]
mod record;
#[cfg(feature = "rest")]
mod rest;
mod service;
#[cfg(feature = "soap")]
mod soap;
#[cfg(all(feature = "tls", feature = "framed", feature = "http"))]
mod tls;
