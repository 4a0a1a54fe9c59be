//! What an operator can see and do, beside the verbs.

mod deploy;
mod lease;
mod payload;
mod seen;
mod shared;
mod verbs;
mod watch;
