//! The crate as its users meet it.

mod beside;
mod contract;
mod events;
mod handle;
mod registry;
mod retry;
mod service;
mod shadow;
mod stack;
mod support;
mod waiting;
