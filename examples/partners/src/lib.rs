//! Stand-ins for the three partners of the order service, with ledgers and faults.
//!
//! ```text
//!                    ┌── cms   SOAP 1.1 and 1.2 ──┐
//!   order service ───┼── wms   framed TCP       ──┼──► ledger: one decision, one fsync for many
//!                    └── ros   REST, JSON       ──┘        ▲
//!                              ▲                           │
//!   a test ── control port ────┴─ fault rules              └─ what really happened
//! ```
//!
//! Everything on the caller's side of the wire is real: sockets, protocols,
//! durable effects, resets and half answers. So a test can ask a partner's own
//! ledger what became of an order, whatever the caller believes.
//!
//! ```
//! use partners::{Config, spawn_ros};
//!
//! # #[tokio::main]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let data = tempfile::tempdir()?;
//! let ros = spawn_ros(Config::new("127.0.0.1:0", data.path())).await?;
//! println!("PUT http://{}/v1/orders/ORD-1/route", ros.local_addr());
//! println!("POST http://{}/_fault, to make it go wrong", ros.control_addr());
//! assert!(ros.effects().await?.is_empty());
//! ros.shutdown().await;
//! # Ok(())
//! # }
//! ```
//!
//! | module | what it is for |
//! |---|---|
//! | [`cms`] | the contract system: messages, WSDL, server |
//! | [`wms`] | the warehouse: messages, server |
//! | [`ros`] | the route optimiser: messages, server |
//! | [`ledger`] | what a partner did, kept through crashes; decides every request |
//! | [`fault`] | which request goes wrong, and how |
//! | [`judge`] | drives an order service through faults and kills, and finds what it leaked, doubled or lost |
//! | [`load`] | how many durable effects a second this machine allows |
//! | [`program`] | a partner as a process |

pub mod cms;
mod config;
mod control;
mod error;
pub mod fault;
mod http_server;
pub mod judge;
pub mod ledger;
pub mod load;
mod problem;
pub mod program;
pub mod ros;
mod secret;
mod start;
pub mod wms;

pub use self::cms::spawn_cms;
pub use self::config::{Config, FLEET_DEFAULT};
pub use self::error::Error;
pub use self::ros::spawn_ros;
pub use self::start::Running;
pub use self::wms::spawn_wms;
