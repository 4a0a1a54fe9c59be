//! One error where two layers of this crate stand around each other.

mod layer;
mod service;

pub use self::layer::FlattenLayer;
pub use self::service::{Flatten, FlattenFuture, Lift, LiftFuture};
