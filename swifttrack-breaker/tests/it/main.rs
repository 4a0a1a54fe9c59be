//! The crate as its users meet it.

mod events;
mod handle;
mod service;
mod support;
mod waiting;
