//! Refusing at once what would have to wait for its turn.

mod layer;
mod service;

pub use self::layer::ShedLayer;
pub use self::service::Shed;
