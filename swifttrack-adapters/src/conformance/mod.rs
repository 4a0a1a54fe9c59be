//! For authors of adapters: the laws of [`Adapter`](crate::Adapter) as tests, and partners that misbehave on demand.
//!
//! An author writes a [`Rig`], a partner that can be told to misbehave and that
//! counts its effects, and calls [`adapter_conformance!`](crate::adapter_conformance)
//! in a test module. Each law is then a test by its own name.
//!
//! ```text
//!   law ──► Adapter ──► wire ──► partner
//!    │                             ▲  │
//!    └── Rig::misbehave ───────────┘  └──► Rig::live: what the partner's own books say
//! ```

pub mod laws;
mod rig;
#[cfg(feature = "http")]
mod scripted_http;

pub use self::rig::{Misbehaviour, Rig};
#[cfg(feature = "http")]
pub use self::scripted_http::{Act, Received, ScriptedHttp};
