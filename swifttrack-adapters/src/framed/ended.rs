//! Why a connection ended.

use std::fmt;
use std::io;

use super::Malformed;

/// Why a connection ended; the source of the errors of the calls that were on it.
#[derive(Debug)]
pub(crate) enum Ended {
    /// The other side closed it, between two frames or within one.
    Closed { within_a_frame: bool },
    /// The socket failed.
    Io(io::Error),
    /// The other side broke the protocol.
    Malformed(Malformed),
    /// Nothing came for three heartbeats.
    Silent,
    /// A started frame was not complete within one heartbeat.
    SlowFrame,
    /// The other side took nothing for one heartbeat.
    Blocked,
    /// It took no more calls and none was left.
    Drained,
    /// It took no more calls, and those left took too long.
    DrainTooLong,
    /// Nobody needs it any more.
    Unused,
}

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Closed {
                within_a_frame: false,
            } => "the peer closed the connection",
            Self::Closed {
                within_a_frame: true,
            } => "the peer closed the connection within a frame",
            Self::Io(_) => "the socket failed",
            Self::Malformed(_) => "the peer broke the protocol",
            Self::Silent => "the peer was silent for three heartbeats",
            Self::SlowFrame => "a frame was not complete within one heartbeat",
            Self::Blocked => "the peer read nothing for one heartbeat",
            Self::Drained => "the connection was drained",
            Self::DrainTooLong => "the connection took too long to drain",
            Self::Unused => "nobody used the connection any more",
        })
    }
}

impl std::error::Error for Ended {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Io(error) => Some(error),
            Self::Malformed(malformed) => Some(malformed),
            _ => None,
        }
    }
}

impl From<io::Error> for Ended {
    fn from(error: io::Error) -> Self {
        match error.downcast::<Malformed>() {
            Ok(malformed) => Self::Malformed(malformed),
            Err(error) => Self::Io(error),
        }
    }
}

impl From<Malformed> for Ended {
    fn from(malformed: Malformed) -> Self {
        Self::Malformed(malformed)
    }
}
