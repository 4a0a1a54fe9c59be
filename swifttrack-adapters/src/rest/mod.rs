//! JSON over HTTP, with errors that say what happened.
//!
//! ```text
//!   Client ── JSON, headers ── Exchange ── 2xx ─────────────► Reply<T>
//!                                       └─ problem+json ────► Error of the class it names
//!                                       └─ anything else ───► Class::Unknown
//! ```
//!
//! A partner says in its problem details (RFC 9457) whether the effect
//! happened: `"class": "REJECTED" | "NOT_APPLIED" | "UNKNOWN"`. A status alone
//! says nothing, since any box in the middle can send one.

mod client;
mod path;
mod problem;

pub use self::client::{Client, Reply};
pub use self::path::path;
pub use self::problem::Problem;
