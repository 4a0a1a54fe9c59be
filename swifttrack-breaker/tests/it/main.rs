//! The crate as its users meet it.

mod allocations;
mod beside;
mod contract;
mod defects;
mod events;
mod handle;
mod model;
mod registry;
mod retry;
mod seen;
mod service;
mod shadow;
mod stack;
mod storm;
mod support;
mod waiting;
