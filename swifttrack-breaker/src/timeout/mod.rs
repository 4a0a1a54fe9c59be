//! How long one attempt may take.
//!
//! tower's own timeout is sound, but boxes the errors of the service inside;
//! here it stays told apart whether a call was refused, failed, or may have
//! happened.

pub mod future;

mod layer;
mod service;

pub use self::layer::TimeoutLayer;
pub use self::service::Timeout;
