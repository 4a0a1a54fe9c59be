//! CMS, the partner that knows clients and contracts. It speaks SOAP.

pub mod message;
mod money;
pub mod wsdl;

pub use self::money::{Money, NotMoney};
