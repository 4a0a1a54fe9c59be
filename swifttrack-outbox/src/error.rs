//! The one error of this crate.

use std::error::Error as StdError;
use std::fmt;

/// Anything that went wrong, told apart by predicates.
///
/// The Display states this layer's fact; what lies below is in `source`.
#[derive(Debug)]
pub struct Error {
    kind: Kind,
}

/// Why an event was refused before it was written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// Key, payload and headers together exceed what the broker is going to take.
    #[error("the event has {bytes} bytes, {bytes_max} are allowed")]
    TooLarge {
        /// Bytes of key, payload and all headers.
        bytes: usize,
        /// The limit that was in force.
        bytes_max: usize,
    },
    /// Kafka allows 1 to 249 of `[A-Za-z0-9._-]`, and neither `.` nor `..`.
    #[error("{0:?} is not a topic name")]
    Topic(String),
    /// A key has 1 to 255 bytes and no NUL.
    #[error("{0:?} is not a key")]
    Key(String),
    /// A type has 1 to 255 bytes and no control character.
    #[error("{0:?} is not an event type")]
    Type(String),
    /// A header's name or value is not allowed, or there are too many.
    #[error("header {name:?} {reason}")]
    Header {
        /// The header's name.
        name: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// The trace context is not a W3C `traceparent`.
    #[error("{0:?} is not a traceparent")]
    Trace(String),
    /// An idempotency key has 1 to 255 bytes and no NUL.
    #[error("{0:?} is not an idempotency key")]
    IdempotencyKey(String),
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum Kind {
    #[error("the event was refused")]
    Refused(#[source] Refusal),
    #[error("the database failed while {doing}")]
    Database {
        doing: &'static str,
        #[source]
        source: sqlx::Error,
    },
    #[error("{0}")]
    Config(String),
    #[error("the tables are at version {found}, this build knows {known}")]
    Newer { found: i64, known: i64 },
    #[error("{0}")]
    Offset(String),
    #[error("the handler failed")]
    Handler(#[source] Box<dyn StdError + Send + Sync>),
    #[error("{0} did not end in time")]
    Timeout(&'static str),
    #[cfg(feature = "kafka")]
    #[error("kafka failed while {doing}")]
    Kafka {
        doing: &'static str,
        #[source]
        source: rdkafka::error::KafkaError,
    },
}

impl Error {
    /// The reason for which an event was refused at append, if that is what happened. Nothing
    /// was written; the caller's transaction is as it was.
    #[must_use]
    pub fn refusal(&self) -> Option<&Refusal> {
        match &self.kind {
            Kind::Refused(refusal) => Some(refusal),
            _ => None,
        }
    }

    /// True when the database did not do what it was asked.
    #[must_use]
    pub fn is_database(&self) -> bool {
        matches!(self.kind, Kind::Database { .. })
    }

    /// True when a setting is wrong, or breaks a law of the outbox.
    #[must_use]
    pub fn is_config(&self) -> bool {
        matches!(self.kind, Kind::Config(_) | Kind::Newer { .. })
    }

    /// True when something was given up because its time had passed.
    #[must_use]
    pub fn is_timeout(&self) -> bool {
        matches!(self.kind, Kind::Timeout(_))
    }

    /// True when Kafka's client reported the failure.
    #[must_use]
    pub fn is_kafka(&self) -> bool {
        #[cfg(feature = "kafka")]
        return matches!(self.kind, Kind::Kafka { .. });
        #[cfg(not(feature = "kafka"))]
        false
    }

    /// True when a stored offset does not belong to this cluster or lies past its log's end:
    /// going on could skip events, so a person has to decide.
    #[must_use]
    pub fn is_offset(&self) -> bool {
        matches!(self.kind, Kind::Offset(_))
    }

    /// True when the user's own handler returned an error, which is the source.
    #[must_use]
    pub fn is_handler(&self) -> bool {
        matches!(self.kind, Kind::Handler(_))
    }

    pub(crate) fn config(text: impl Into<String>) -> Self {
        Kind::Config(text.into()).into()
    }

    #[cfg(feature = "kafka")]
    pub(crate) fn kafka(doing: &'static str, source: rdkafka::error::KafkaError) -> Self {
        Kind::Kafka { doing, source }.into()
    }
}

/// Says what was being done when the database failed.
pub(crate) trait Doing<T> {
    fn doing(self, what: &'static str) -> Result<T, Error>;
}

impl<T> Doing<T> for Result<T, sqlx::Error> {
    fn doing(self, doing: &'static str) -> Result<T, Error> {
        self.map_err(|source| Kind::Database { doing, source }.into())
    }
}

impl From<Kind> for Error {
    fn from(kind: Kind) -> Self {
        Self { kind }
    }
}

impl From<Refusal> for Error {
    fn from(refusal: Refusal) -> Self {
        Kind::Refused(refusal).into()
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.kind.fmt(f)
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.kind.source()
    }
}
