//! What the engine's callers may be told.

use std::any::Any;
use std::fmt;
use std::sync::Arc;

use uuid::Uuid;

use crate::store::StoreError;

type Source = Box<dyn std::error::Error + Send + Sync>;

/// Why the engine did not do what it was asked. Nothing was written, unless the store says
/// that it does not know.
pub struct Error {
    kind: ErrorKind,
    message: String,
    source: Option<Source>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ErrorKind {
    Store,
    Unregistered,
    Invalid,
    Changed,
    Unreadable,
    ShuttingDown,
}

impl Error {
    pub(crate) fn store(source: StoreError) -> Self {
        Self::new(ErrorKind::Store, "the store failed".to_owned()).with(source)
    }

    pub(crate) fn unregistered(definition: &str) -> Self {
        let message = format!("{definition:?} is not registered with this engine");
        Self::new(ErrorKind::Unregistered, message)
    }

    pub(crate) fn invalid(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Invalid, message.into())
    }

    pub(crate) fn changed(name: &str, version: u32, difference: &str) -> Self {
        let message = format!(
            "the definition {name:?} has changed under version {version}: {difference}; \
             raise its version, and keep the one before registered while sagas of it run"
        );
        Self::new(ErrorKind::Changed, message)
    }

    pub(crate) fn unreadable(source: impl Into<Source>) -> Self {
        let message = "the saga's journal cannot be read by this binary".to_owned();
        let mut error = Self::new(ErrorKind::Unreadable, message);
        error.source = Some(source.into());
        error
    }

    pub(crate) fn shutting_down() -> Self {
        Self::new(
            ErrorKind::ShuttingDown,
            "the engine is shutting down".to_owned(),
        )
    }

    /// The database could not be used.
    #[must_use]
    pub fn is_store(&self) -> bool {
        self.kind == ErrorKind::Store
    }

    /// The definition, or this version of it, is not registered here.
    #[must_use]
    pub fn is_unregistered(&self) -> bool {
        self.kind == ErrorKind::Unregistered
    }

    /// What was asked cannot be asked: a bad id, a payload that is too large.
    #[must_use]
    pub fn is_invalid(&self) -> bool {
        self.kind == ErrorKind::Invalid
    }

    /// A definition is not the one that is known under its name and version. The message names
    /// the first difference.
    #[must_use]
    pub fn is_changed(&self) -> bool {
        self.kind == ErrorKind::Changed
    }

    /// The journal was written by a definition that this binary does not have.
    #[must_use]
    pub fn is_unreadable(&self) -> bool {
        self.kind == ErrorKind::Unreadable
    }

    /// It takes nothing any more.
    #[must_use]
    pub fn is_shutting_down(&self) -> bool {
        self.kind == ErrorKind::ShuttingDown
    }

    fn new(kind: ErrorKind, message: String) -> Self {
        Self {
            kind,
            message,
            source: None,
        }
    }

    fn with(mut self, source: StoreError) -> Self {
        self.source = Some(Box::new(source));
        self
    }
}

impl From<StoreError> for Error {
    fn from(source: StoreError) -> Self {
        Self::store(source)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Error")
            .field("kind", &self.kind)
            .field("message", &self.message)
            .field("source", &self.source)
            .finish()
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}

/// Why a saga was not started.
pub struct StartError {
    kind: StartErrorKind,
}

enum StartErrorKind {
    Conflict(Uuid),
    Refused(Arc<dyn Any + Send + Sync>),
    Other(Error),
}

impl StartError {
    pub(crate) fn conflict(saga: Uuid) -> Self {
        Self {
            kind: StartErrorKind::Conflict(saga),
        }
    }

    pub(crate) fn refused(reason: Arc<dyn Any + Send + Sync>) -> Self {
        Self {
            kind: StartErrorKind::Refused(reason),
        }
    }

    /// A saga of this id was started before, with another input.
    #[must_use]
    pub fn is_conflict(&self) -> bool {
        matches!(self.kind, StartErrorKind::Conflict(_))
    }

    /// The saga that has the id.
    #[must_use]
    pub fn existing(&self) -> Option<Uuid> {
        match &self.kind {
            StartErrorKind::Conflict(saga) => Some(*saga),
            _ => None,
        }
    }

    /// What the hook gave as the reason for which it refused this start.
    #[must_use]
    pub fn refusal(&self) -> Option<&Arc<dyn Any + Send + Sync>> {
        match &self.kind {
            StartErrorKind::Refused(reason) => Some(reason),
            _ => None,
        }
    }

    /// A bad id, an input that is too large, a saga that is not registered, or not as it is.
    #[must_use]
    pub fn is_invalid(&self) -> bool {
        let StartErrorKind::Other(error) = &self.kind else {
            return false;
        };
        error.is_invalid() || error.is_unregistered() || error.is_changed()
    }

    /// The store or its hook failed, or no shard came free in time. Nothing was started,
    /// unless the connection was lost during the commit; starting again with the same id and
    /// input is safe in any case.
    #[must_use]
    pub fn is_unavailable(&self) -> bool {
        matches!(&self.kind, StartErrorKind::Other(error) if error.is_store())
    }

    /// The engine takes nothing any more.
    #[must_use]
    pub fn is_shutting_down(&self) -> bool {
        matches!(&self.kind, StartErrorKind::Other(error) if error.is_shutting_down())
    }
}

impl From<Error> for StartError {
    fn from(error: Error) -> Self {
        Self {
            kind: StartErrorKind::Other(error),
        }
    }
}

impl From<StoreError> for StartError {
    fn from(error: StoreError) -> Self {
        let error = match error.is_invalid() {
            true => Error::invalid("the start cannot be stored").with(error),
            false => Error::store(error),
        };
        error.into()
    }
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            StartErrorKind::Conflict(saga) => {
                write!(f, "the id is taken by saga {saga}, which has another input")
            }
            StartErrorKind::Refused(_) => f.write_str("the hook refused the start"),
            StartErrorKind::Other(_) => f.write_str("the saga was not started"),
        }
    }
}

impl fmt::Debug for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            StartErrorKind::Conflict(saga) => f.debug_tuple("Conflict").field(saga).finish(),
            StartErrorKind::Refused(_) => f.write_str("Refused"),
            StartErrorKind::Other(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for StartError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match &self.kind {
            StartErrorKind::Other(error) => Some(error),
            _ => None,
        }
    }
}
