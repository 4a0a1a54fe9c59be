//! One adapter trait over SOAP/XML, framed TCP and REST/JSON, with an error taxonomy that a saga can act on.

#[cfg(feature = "framed")]
pub mod framed;

mod adapter;
#[cfg(feature = "conformance")]
pub mod conformance;
mod context;
mod error;
#[cfg(feature = "http")]
pub mod http;
#[cfg(feature = "record")]
pub mod record;
#[cfg(feature = "rest")]
pub mod rest;
mod service;
#[cfg(feature = "soap")]
pub mod soap;
#[cfg(all(feature = "tls", any(feature = "framed", feature = "http")))]
mod tls;

pub use self::adapter::{Adapter, Cancelled, Lookup};
pub use self::context::CallContext;
pub use self::error::{Class, Error};
pub use self::service::{AdapterService, Call, Cancel, Query};
#[cfg(all(feature = "tls", any(feature = "framed", feature = "http")))]
pub use self::tls::{Tls, TlsError};
