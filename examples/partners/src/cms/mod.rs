//! CMS, the partner that knows clients and contracts. It speaks SOAP.

mod credit;
pub mod message;
mod money;
mod server;
pub mod wsdl;

pub use self::money::{Money, NotMoney};
pub use self::server::spawn_cms;
