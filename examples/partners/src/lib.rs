//! Stand-ins for the three partners of the order service, with ledgers and faults.

pub mod cms;
mod config;
mod control;
mod error;
pub mod fault;
mod http_server;
pub mod ledger;
mod problem;
pub mod program;
pub mod ros;
mod secret;
mod start;

pub use self::cms::spawn_cms;
pub use self::config::{Config, FLEET_DEFAULT};
pub use self::error::Error;
pub use self::ros::spawn_ros;
pub use self::start::Running;
