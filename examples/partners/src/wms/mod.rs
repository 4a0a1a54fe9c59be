//! WMS, the warehouse: frames over TCP, many at a time.

pub mod message;
mod server;
mod stock;

pub use self::server::spawn_wms;
