//! SOAP 1.1 and 1.2, both sides of the wire: typed bodies, strict reading, faults by content.
//!
//! ```text
//!   Encode ──► envelope ──► bytes ──► parse ──► Headers, Decode
//!                                       │
//!                               Limits, one Cursor
//! ```
//!
//! A message type implements [`Encode`] and [`Decode`] by hand: a line a field,
//! in the schema's order. [`parse`] and [`envelope`] do the rest and are the same
//! for a client and for a server.

mod client;
mod cursor;
mod element;
mod envelope;
mod fault;
mod invalid;
mod limits;
mod security;
mod version;
mod write;

pub use self::client::Client;
pub use self::element::{Decode, Element};
pub use self::envelope::{Headers, Message, envelope, once, parse};
pub use self::fault::{Fault, FaultCode, Reply};
pub use self::invalid::Invalid;
pub use self::limits::Limits;
pub use self::security::{Credentials, Denied, UsernameToken, Verifier};
pub use self::version::Version;
pub use self::write::{Encode, Writer};
