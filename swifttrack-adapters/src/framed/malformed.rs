//! Bytes that break the rules.

use std::fmt;

/// Why a frame or a payload was refused.
///
/// A frame that breaks its layout ends the connection, since nothing after it
/// can be trusted; a payload that breaks its message ends only the call.
#[derive(Clone, PartialEq, Eq)]
pub struct Malformed(Kind);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Kind {
    Header(&'static str),
    Length { bytes: usize, bytes_max: usize },
    Checksum,
    Truncated,
    Trailing(usize),
    NotUtf8,
    Count { count: usize, count_max: usize },
    TooLong { bytes: usize },
    Type(u8),
    Value(&'static str),
}

impl Malformed {
    /// A header field holds what it must not; says which.
    #[must_use]
    pub const fn header(field: &'static str) -> Self {
        Self(Kind::Header(field))
    }

    /// The checksum does not match.
    #[must_use]
    pub const fn checksum() -> Self {
        Self(Kind::Checksum)
    }

    /// No message has this type.
    #[must_use]
    pub const fn unknown_kind(kind: u8) -> Self {
        Self(Kind::Type(kind))
    }

    /// A field holds a value that means nothing; says which field.
    #[must_use]
    pub const fn value(field: &'static str) -> Self {
        Self(Kind::Value(field))
    }

    pub(crate) const fn length(bytes: usize, bytes_max: usize) -> Self {
        Self(Kind::Length { bytes, bytes_max })
    }

    pub(crate) const fn truncated() -> Self {
        Self(Kind::Truncated)
    }

    pub(crate) const fn trailing(bytes: usize) -> Self {
        Self(Kind::Trailing(bytes))
    }

    pub(crate) const fn not_utf8() -> Self {
        Self(Kind::NotUtf8)
    }

    pub(crate) const fn count(count: usize, count_max: usize) -> Self {
        Self(Kind::Count { count, count_max })
    }

    pub(crate) const fn too_long(bytes: usize) -> Self {
        Self(Kind::TooLong { bytes })
    }

    /// Whether it is the frame that is broken, so that the connection must close.
    #[must_use]
    pub const fn breaks_the_frame(&self) -> bool {
        matches!(
            self.0,
            Kind::Header(_) | Kind::Length { .. } | Kind::Checksum
        )
    }

    /// Whether the message type is not known.
    #[must_use]
    pub const fn is_unknown_kind(&self) -> bool {
        matches!(self.0, Kind::Type(_))
    }
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Kind::Header(field) => write!(f, "the frame header has a bad {field}"),
            Kind::Length { bytes, bytes_max } => {
                write!(
                    f,
                    "a payload of {bytes} bytes is above the limit of {bytes_max}"
                )
            }
            Kind::Checksum => f.write_str("the checksum does not match"),
            Kind::Truncated => f.write_str("the payload ends within a field"),
            Kind::Trailing(bytes) => write!(f, "the payload has {bytes} bytes too many"),
            Kind::NotUtf8 => f.write_str("a text is not UTF-8"),
            Kind::Count { count, count_max } => {
                write!(f, "a list of {count} is above the limit of {count_max}")
            }
            Kind::TooLong { bytes } => {
                write!(f, "a text of {bytes} bytes is too long for its length")
            }
            Kind::Type(kind) => write!(f, "message type {kind:#04x} is not known"),
            Kind::Value(field) => write!(f, "the field {field} has no such value"),
        }
    }
}

impl fmt::Debug for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl std::error::Error for Malformed {}

impl From<Malformed> for std::io::Error {
    fn from(malformed: Malformed) -> Self {
        Self::new(std::io::ErrorKind::InvalidData, malformed)
    }
}
