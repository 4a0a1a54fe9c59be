//! The route optimiser: REST, JSON, problem+json.

mod fleet;
pub mod message;
mod refusal;
mod route;
mod server;

pub use self::server::spawn_ros;
