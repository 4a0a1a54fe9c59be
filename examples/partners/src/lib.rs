//! Stand-ins for the three partners of the order service, with ledgers and faults.

mod error;
pub mod ledger;

pub use self::error::Error;
