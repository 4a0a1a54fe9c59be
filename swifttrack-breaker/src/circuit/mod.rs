//! The circuit itself. Nothing here knows of services, tasks or subscribers.
//!
//! - [`word`]: the whole state in 64 bits
//! - [`machine`]: what follows from what, as pure functions of the word, an event and the time
//! - [`core`]: the same on an atomic, with the windows beside it
//! - [`rules`]: the rates that may open it
//! - [`window`]: which calls a rate looks at
//! - [`table`]: every transition there is, and the figure that is drawn from it

pub(crate) mod core;
pub(crate) mod machine;
pub(crate) mod rules;
pub(crate) mod window;
pub(crate) mod word;

#[cfg(all(test, loom))]
mod models;
#[cfg(all(test, not(loom)))]
mod table;
