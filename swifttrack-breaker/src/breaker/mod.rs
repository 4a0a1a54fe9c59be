//! The circuit breaker as a tower layer.

pub mod future;

mod layer;
mod service;

pub use self::layer::BreakerLayer;
pub use self::service::Breaker;
