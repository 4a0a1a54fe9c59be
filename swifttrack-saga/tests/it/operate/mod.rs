//! What an operator can see and do, beside the verbs.

mod deploy;
mod lease;
mod payload;
#[cfg(all(feature = "postgres", feature = "sqlite"))]
mod refused;
mod seen;
mod shared;
mod verbs;
mod watch;
