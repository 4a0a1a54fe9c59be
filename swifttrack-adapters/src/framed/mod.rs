//! Binary protocols over TCP: frames, many calls in flight on one connection, answers in any order.
//!
//! | part | what it is for |
//! |---|---|
//! | [`Protocol`] | what makes one protocol differ from another |
//! | [`Client`], [`Options`], [`Snapshot`] | the side that calls |
//! | [`serve`], [`Handler`], [`Reply`], [`ServerOptions`] | the side that answers |
//! | [`Connect`], [`Endpoint`] | how it reaches the other side |
//! | [`control`] | greeting, heartbeat, going away, errors |
//! | [`Message`], [`Reader`], [`Writer`] | fields in and out of a payload |
//! | [`Codec`], [`Frame`] | frames in and out of a byte stream |
//! | [`Layout`], [`Checked`] | how a frame's header looks |

pub mod control;

mod client;
mod codec;
mod connect;
mod ended;
mod layout;
mod malformed;
mod payload;
mod protocol;
mod server;
mod transport;

pub use self::client::{Client, Options, Snapshot};
pub use self::codec::{Codec, Frame};
pub use self::connect::{Connect, Duplex, Endpoint, EndpointError};
pub use self::layout::{Checked, Head, Layout};
pub use self::malformed::Malformed;
pub use self::payload::{Message, Reader, Writer};
pub use self::protocol::Protocol;
pub use self::server::{Handler, Incoming, Reply, ServerOptions, serve, serve_connection};
