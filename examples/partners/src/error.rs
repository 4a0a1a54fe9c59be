//! Why a partner did not start.

use std::io;
use std::path::{Path, PathBuf};

/// Why a partner did not start, in one sentence for the one who started it.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct Error(Box<Kind>);

#[derive(Debug, thiserror::Error)]
enum Kind {
    #[error("cannot listen on {address}: {source}")]
    Listen { address: String, source: io::Error },
    #[error("{0}")]
    Setting(String),
    #[error("cannot {doing} the ledger {}: {source}", path.display())]
    Ledger {
        path: PathBuf,
        doing: &'static str,
        source: io::Error,
    },
    #[error("the ledger {} is in use by another process", path.display())]
    LedgerInUse { path: PathBuf },
    #[error("the ledger {} is damaged at line {line}: {what}", path.display())]
    LedgerDamaged {
        path: PathBuf,
        line: u64,
        what: String,
    },
}

impl Error {
    /// Whether an address could not be listened on, most often because it is taken.
    #[must_use]
    pub fn is_listen(&self) -> bool {
        matches!(*self.0, Kind::Listen { .. })
    }

    /// Whether a setting makes no sense.
    #[must_use]
    pub fn is_setting(&self) -> bool {
        matches!(*self.0, Kind::Setting(_))
    }

    /// Whether the ledger could not be opened, is in use, or is damaged.
    #[must_use]
    pub fn is_ledger(&self) -> bool {
        !self.is_listen() && !self.is_setting()
    }

    pub(crate) fn listen(address: impl Into<String>, source: io::Error) -> Self {
        let address = address.into();
        Self(Box::new(Kind::Listen { address, source }))
    }

    pub(crate) fn setting(what: impl Into<String>) -> Self {
        Self(Box::new(Kind::Setting(what.into())))
    }

    pub(crate) fn ledger(path: &Path, doing: &'static str, source: io::Error) -> Self {
        Self(Box::new(Kind::Ledger {
            path: path.to_owned(),
            doing,
            source,
        }))
    }

    pub(crate) fn ledger_in_use(path: &Path) -> Self {
        let path = path.to_owned();
        Self(Box::new(Kind::LedgerInUse { path }))
    }

    pub(crate) fn ledger_damaged(path: &Path, line: u64, what: &str) -> Self {
        Self(Box::new(Kind::LedgerDamaged {
            path: path.to_owned(),
            line,
            what: what.to_owned(),
        }))
    }
}
