//! What a partner did, kept so that no crash forgets what was answered.
//!
//! ```text
//!   request ──► decide (one lock: index, books) ──► row queued ──► answer waits
//!                                                      │                ▲
//!                                       writer thread: write, one fsync ┘ for all that wait
//! ```
//!
//! A partner supplies its [`Books`] (stock, credit, vehicles) and, for each
//! request, what it would hold and answer. The ledger decides whether it is
//! done, refused or answered again; holding and remembering are one step, so
//! that a crash sees both or neither. Every answer, a refusal or a look
//! included, leaves only when all that it may have seen is on disk.

mod durable;
mod file;
mod index;
mod row;
mod state;
#[cfg(test)]
mod tests;
mod words;
mod writer;

use serde::Serialize;
use serde::de::DeserializeOwned;

pub use self::durable::{Ledger, PAGE_MAX};
pub use self::row::{Effect, Fingerprint, Shown};
pub use self::words::{Call, Done, Look, Refused, SecondKey, Stamp, Undone};

/// What a partner has to give away, in memory. Rebuilt from the ledger at the start.
pub trait Books: Send + 'static {
    /// What one order holds. Kept in memory for every live order, so small.
    type Hold: Serialize + DeserializeOwned + Send + 'static;
    /// The first answer. Kept in the file alone, and read back for a replay.
    type Answer: Serialize + DeserializeOwned + Send + 'static;

    /// Takes `hold` out of the books. Called for new effects and, at the start, for old ones.
    fn take(&mut self, hold: &Self::Hold);

    /// Puts it back.
    fn give_back(&mut self, hold: Self::Hold);
}
