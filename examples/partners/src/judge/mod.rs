//! Judges any order service that speaks the wire contracts: `partners judge -- <command>`.
//!
//! ```text
//!   seed ──► Plan ──► orders ────────────► the service (a command, killed and restarted)
//!                 ├─► kills  ────────────►      │  SOAP, TCP, REST
//!                 └─► fault rules ─► the partners, in this process
//!                                               │
//!              the service's word ──► verdict ◄─┘ ledgers
//! ```
//!
//! The service is started with `PORT`, `DATA_DIR` and the partners' `*_URL`
//! set, told orders, and killed while partners hang, lie and answer late. Then
//! all is well for a while, and what it says of each order is held against what
//! the partners' ledgers have.

mod command;
mod plan;
mod report;
mod run;
mod service;
mod verdict;

use std::io;

pub use self::command::{USAGE, command};
pub use self::plan::Plan;
pub use self::report::Report;
pub use self::run::judge;
pub use self::verdict::{End, Finding};

/// Why there is no verdict.
#[derive(Debug, thiserror::Error)]
#[error("cannot {doing}: {source}")]
pub struct JudgeError {
    doing: &'static str,
    source: io::Error,
}

impl JudgeError {
    pub(crate) const fn new(doing: &'static str, source: io::Error) -> Self {
        Self { doing, source }
    }
}

impl From<crate::Error> for JudgeError {
    fn from(error: crate::Error) -> Self {
        Self::new("start the partners", io::Error::other(error))
    }
}
