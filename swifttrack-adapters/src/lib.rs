//! One adapter trait over SOAP/XML, framed TCP and REST/JSON, with an error taxonomy that a saga can act on.
//!
//! ```text
//!   saga ── key, deadline ──► Adapter ──┬── soap ──┬── http ──► a socket that counts what it was given
//!                                │      ├── rest ──┘
//!    what to do next             │      └── framed ───────────► one connection, many calls in flight
//!         ▲                      ▼
//!         └── Rejected │ NotApplied │ Unknown: what is known about the effect
//! ```
//!
//! A partner that does not answer may have done what it was asked. Most clients
//! hide the difference between "refused", "never sent" and "sent, and then
//! silence"; here it is the first thing that an [`Error`] says, by the
//! [first-byte rule](Error#the-first-byte-rule). A call ends at its deadline by
//! itself, nothing is ever sent twice, and what to do next is the caller's.
//!
//! # Examples
//!
//! ```
//! # #[cfg(all(feature = "rest", feature = "conformance"))] {
//! use std::time::Duration;
//!
//! use swifttrack_adapters::conformance::{Act, ScriptedHttp};
//! use swifttrack_adapters::{CallContext, rest};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! // A partner that takes every request, and crashes.
//! let partner = ScriptedHttp::start(|_| vec![Act::Reset]).await?;
//! let client = rest::Client::new(&partner.url())?;
//! let cx = CallContext::new("ORD-1:SHIP", Duration::from_secs(5));
//!
//! // It was sent, so it may have happened: ask, or send the same key again.
//! let lost = client.put::<()>("/v1/orders/ORD-1", &"ship", &cx).await.unwrap_err();
//! assert!(lost.is_unknown());
//!
//! // It was not: try again, whenever.
//! drop(partner);
//! let refused = client.put::<()>("/v1/orders/ORD-1", &"ship", &cx).await.unwrap_err();
//! assert!(refused.is_not_applied() && refused.counts_against_partner());
//! # Ok(())
//! # }
//! # main().unwrap() }
//! ```
//!
//! # Modules
//!
//! | module | feature | what it is for |
//! |---|---|---|
//! | the root | | [`Adapter`], [`CallContext`], [`Error`]; [`AdapterService`] for tower; `Tls` (feature `tls`) |
//! | `soap` | `soap` | SOAP 1.1 and 1.2 for both sides: typed bodies, strict reading, faults, WS-Security |
//! | `framed` | `framed` | binary protocols: a codec, a client with many calls in flight, a server |
//! | `rest` | `rest` | JSON with problem details, idempotency keys and deadlines |
//! | `http` | `http` | what `soap` and `rest` are carried by: HTTP/1.1 that knows what it has sent |
//! | `record` | `record` | exchanges written down once, without their secrets, and played back in tests |
//! | `conformance` | `conformance` | for authors of adapters: the laws as tests, and partners that misbehave |
//!
//! Default features: `soap`, `framed`, `rest`, `tls`.

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
