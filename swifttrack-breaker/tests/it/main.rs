//! The crate as its users meet it.

mod events;
mod handle;
mod registry;
mod service;
mod shadow;
mod support;
mod waiting;
