//! Trouble on purpose, for tests and game days.

pub mod future;

mod layer;
mod service;

pub use self::layer::ChaosLayer;
pub use self::service::Chaos;
