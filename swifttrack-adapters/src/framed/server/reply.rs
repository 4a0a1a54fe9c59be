//! What a server answers, and how it may fail to.

use bytes::Bytes;

use crate::framed::control::Fault;
use crate::framed::{Malformed, Message};

/// The answer to one request.
///
/// For stand-ins that must misbehave, an answer can also go out
/// [twice](Self::twice), by [half](Self::half) or as [garbage](Self::garbage),
/// or [not at all](Self::reset).
#[derive(Clone, Debug)]
pub struct Reply {
    pub(super) kind: u8,
    pub(super) payload: Bytes,
    pub(super) manner: Manner,
}

/// How an answer goes out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Manner {
    Whole,
    Twice,
    /// Half of its bytes, then the end of the connection.
    Half,
    /// The payload as it is, without a header, then the end of the connection.
    Garbage,
    /// The end of the connection.
    Reset,
}

impl Reply {
    /// This answer.
    ///
    /// # Errors
    ///
    /// When a field does not fit its length.
    pub fn answer(answer: &impl Message) -> Result<Self, Malformed> {
        let (kind, payload) = answer.encode()?;
        Ok(Self {
            kind,
            payload,
            manner: Manner::Whole,
        })
    }

    /// This fault. A message that is too long is cut.
    #[must_use]
    pub fn fault(mut fault: Fault) -> Self {
        const MESSAGE_BYTES_MAX: usize = 1024;
        let mut end = fault.message.len().min(MESSAGE_BYTES_MAX);
        while !fault.message.is_char_boundary(end) {
            end -= 1;
        }
        fault.message.truncate(end);
        let (kind, payload) = fault.encode().unwrap_or_default();
        Self {
            kind,
            payload,
            manner: Manner::Whole,
        }
    }

    /// The same answer two times.
    #[must_use]
    pub fn twice(self) -> Self {
        self.in_manner(Manner::Twice)
    }

    /// The first half of the frame, then the end of the connection.
    #[must_use]
    pub fn half(self) -> Self {
        self.in_manner(Manner::Half)
    }

    /// Bytes that are no frame, then the end of the connection.
    #[must_use]
    pub fn garbage(bytes: impl Into<Bytes>) -> Self {
        Self {
            kind: 0,
            payload: bytes.into(),
            manner: Manner::Garbage,
        }
    }

    /// No answer, and the end of the connection.
    #[must_use]
    pub const fn reset() -> Self {
        Self {
            kind: 0,
            payload: Bytes::new(),
            manner: Manner::Reset,
        }
    }

    fn in_manner(self, manner: Manner) -> Self {
        Self { manner, ..self }
    }
}
