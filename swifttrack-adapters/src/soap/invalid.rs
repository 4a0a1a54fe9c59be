//! Why a document was refused.

use std::fmt;

use super::FaultCode;

/// What a document broke, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invalid {
    kind: Kind,
    message: Box<str>,
    at: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Malformed,
    Limit,
    MustUnderstand,
    Version,
}

impl Invalid {
    /// Something that the document's own rules forbid; for the [`Decode`](super::Decode) of a caller.
    ///
    /// The place is filled in by the reader.
    pub fn new(message: impl Into<Box<str>>) -> Self {
        Self::of(Kind::Malformed, message)
    }

    pub(super) fn limit(name: &str, max: usize) -> Self {
        Self::of(Kind::Limit, format!("the document exceeds {name} ({max})"))
    }

    pub(super) fn must_understand(name: &str) -> Self {
        Self::of(
            Kind::MustUnderstand,
            format!("the header block {name} must be understood and is not"),
        )
    }

    pub(super) fn version(message: impl Into<Box<str>>) -> Self {
        Self::of(Kind::Version, message)
    }

    fn of(kind: Kind, message: impl Into<Box<str>>) -> Self {
        Self {
            kind,
            message: message.into(),
            at: 0,
        }
    }

    pub(super) fn at(mut self, at: usize) -> Self {
        if self.at == 0 {
            self.at = at;
        }
        self
    }

    /// Whether a cap of [`Limits`](super::Limits) was exceeded; the message names it.
    #[must_use]
    pub const fn is_limit(&self) -> bool {
        matches!(self.kind, Kind::Limit)
    }

    /// Whether a header block that must be understood is unknown.
    #[must_use]
    pub const fn is_must_understand(&self) -> bool {
        matches!(self.kind, Kind::MustUnderstand)
    }

    /// Whether the envelope is of another version of SOAP.
    #[must_use]
    pub const fn is_version_mismatch(&self) -> bool {
        matches!(self.kind, Kind::Version)
    }

    /// The code of the fault that a server answers this with.
    #[must_use]
    pub const fn fault_code(&self) -> FaultCode {
        match self.kind {
            Kind::Malformed | Kind::Limit => FaultCode::Client,
            Kind::MustUnderstand => FaultCode::MustUnderstand,
            Kind::Version => FaultCode::VersionMismatch,
        }
    }

    /// How many bytes had been read.
    #[must_use]
    pub const fn position(&self) -> usize {
        self.at
    }
}

impl fmt::Display for Invalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        if self.at > 0 {
            write!(f, ", at byte {}", self.at)?;
        }
        Ok(())
    }
}

impl std::error::Error for Invalid {}
