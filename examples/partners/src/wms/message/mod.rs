//! What the warehouse is asked and what it answers.
//!
//! ```
//! use partners::wms::message::{About, Cancel, Request};
//! use swifttrack_adapters::framed::Message;
//!
//! let cancel = Request::Cancel(Cancel {
//!     about: About { trace_parent: String::new(), key: "ORD-1:cancel".into(), order_id: "ORD-1".into() },
//!     package_id: String::new(),
//!     reason: "saga".into(),
//! });
//! let (kind, payload) = cancel.encode()?;
//! assert_eq!(Request::decode(kind, &payload)?, cancel);
//! # Ok::<(), swifttrack_adapters::framed::Malformed>(())
//! ```

mod answer;
mod request;

use swifttrack_adapters::Class;
use swifttrack_adapters::framed::control::Fault;
use swifttrack_adapters::framed::{Checked, Protocol};

pub use self::answer::{Answer, CancelState, OrderState, Registered, Reserved};
pub use self::request::{About, Cancel, Handling, Package, Priority, Register, Request};

/// The warehouse's protocol.
#[derive(Clone, Copy, Debug)]
pub struct Wms;

impl Protocol for Wms {
    type Layout = Checked;
    type Request = Request;
    type Answer = Answer;

    const LAYOUT: Checked = Checked::new(*b"SWMS");

    fn code_name(code: u16) -> Option<&'static str> {
        Code::ALL
            .into_iter()
            .find(|known| known.number() == code)
            .map(Code::name)
    }
}

/// Why the warehouse did not do it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Code {
    /// The request breaks the protocol.
    Malformed,
    /// The token is wrong.
    Unauthorized,
    /// It never had such goods.
    InvalidSku,
    /// It has too few of them.
    InventoryShortage,
    /// The order was cancelled.
    Cancelled,
    /// The key or the order was used with another body.
    KeyReused,
    /// Not now.
    Busy,
    /// Whether it was done is not known.
    Internal,
    /// No common version.
    Version,
    /// No zone has room for it.
    CapacityExceeded,
}

impl Code {
    /// All of them.
    pub const ALL: [Self; 10] = [
        Self::Malformed,
        Self::Unauthorized,
        Self::InvalidSku,
        Self::InventoryShortage,
        Self::Cancelled,
        Self::KeyReused,
        Self::Busy,
        Self::Internal,
        Self::Version,
        Self::CapacityExceeded,
    ];

    /// As it stands on the wire.
    #[must_use]
    pub const fn number(self) -> u16 {
        match self {
            Self::Malformed => 400,
            Self::Unauthorized => 401,
            Self::InvalidSku => 404,
            Self::InventoryShortage => 409,
            Self::Cancelled => 410,
            Self::KeyReused => 422,
            Self::Busy => 429,
            Self::Internal => 500,
            Self::Version => 505,
            Self::CapacityExceeded => 507,
        }
    }

    /// As people call it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Malformed => "MALFORMED",
            Self::Unauthorized => "UNAUTHORIZED",
            Self::InvalidSku => "INVALID_SKU",
            Self::InventoryShortage => "INVENTORY_SHORTAGE",
            Self::Cancelled => "CANCELLED",
            Self::KeyReused => "KEY_REUSED",
            Self::Busy => "BUSY",
            Self::Internal => "INTERNAL",
            Self::Version => "VERSION",
            Self::CapacityExceeded => "CAPACITY_EXCEEDED",
        }
    }

    /// What it says about the effect.
    #[must_use]
    pub const fn class(self) -> Class {
        match self {
            Self::Busy | Self::Version => Class::NotApplied,
            Self::Internal => Class::Unknown,
            _ => Class::Rejected,
        }
    }

    /// The fault that says it.
    #[must_use]
    pub fn fault(self, message: impl Into<String>) -> Fault {
        Fault::new(self.number(), self.class(), message)
    }
}
