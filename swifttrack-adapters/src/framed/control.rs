//! The messages that every protocol here shares.

use std::time::Duration;

use super::{Malformed, Message, Reader, Writer};
use crate::{Class, Error};

/// The type of [`Hello`].
pub const HELLO: u8 = 0x01;
/// The type of [`HelloAck`].
pub const HELLO_ACK: u8 = 0x81;
/// Asks whether the other side lives. No payload.
pub const PING: u8 = 0x03;
/// It does. Echoes the id.
pub const PONG: u8 = 0x83;
/// The type of [`GoAway`].
pub const GOAWAY: u8 = 0x05;
/// The type of [`Fault`].
pub const ERROR: u8 = 0xff;

/// The first frame of a client.
#[derive(Clone, PartialEq, Eq)]
pub struct Hello {
    /// The lowest version it speaks.
    pub version_min: u8,
    /// The highest.
    pub version_max: u8,
    /// Its name, for the server's logs.
    pub client: String,
    /// Its secret, empty when there is none.
    pub token: String,
}

impl std::fmt::Debug for Hello {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Hello")
            .field("version_min", &self.version_min)
            .field("version_max", &self.version_max)
            .field("client", &self.client)
            .finish_non_exhaustive()
    }
}

impl Message for Hello {
    fn kind(&self) -> u8 {
        HELLO
    }

    fn write(&self, to: &mut Writer) -> Result<(), Malformed> {
        to.u8(self.version_min);
        to.u8(self.version_max);
        to.str(&self.client)?;
        to.str(&self.token)
    }

    fn read(kind: u8, from: &mut Reader<'_>) -> Result<Self, Malformed> {
        expect(HELLO, kind)?;
        Ok(Self {
            version_min: from.u8()?,
            version_max: from.u8()?,
            client: from.str()?.to_owned(),
            token: from.str()?.to_owned(),
        })
    }
}

/// What the server settles for the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HelloAck {
    /// The version both will speak.
    pub version: u8,
    /// The most bytes a payload may have.
    pub payload_bytes_max: u32,
    /// The most requests that may be unanswered.
    pub window: u16,
    /// Who sent nothing for this many milliseconds sends a PING; three times as long a silence ends the connection.
    pub heartbeat_ms: u32,
}

impl Message for HelloAck {
    fn kind(&self) -> u8 {
        HELLO_ACK
    }

    fn write(&self, to: &mut Writer) -> Result<(), Malformed> {
        to.u8(self.version);
        to.u32(self.payload_bytes_max);
        to.u16(self.window);
        to.u32(self.heartbeat_ms);
        Ok(())
    }

    fn read(kind: u8, from: &mut Reader<'_>) -> Result<Self, Malformed> {
        expect(HELLO_ACK, kind)?;
        Ok(Self {
            version: from.u8()?,
            payload_bytes_max: from.u32()?,
            window: from.u16()?,
            heartbeat_ms: from.u32()?,
        })
    }
}

/// The server takes no more requests on this connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GoAway {
    /// Requests above this id were not applied and never will be.
    pub last_accepted_id: u64,
    /// Why, for logs.
    pub reason: String,
}

impl Message for GoAway {
    fn kind(&self) -> u8 {
        GOAWAY
    }

    fn write(&self, to: &mut Writer) -> Result<(), Malformed> {
        to.u64(self.last_accepted_id);
        to.str(&self.reason)
    }

    fn read(kind: u8, from: &mut Reader<'_>) -> Result<Self, Malformed> {
        expect(GOAWAY, kind)?;
        Ok(Self {
            last_accepted_id: from.u64()?,
            reason: from.str()?.to_owned(),
        })
    }
}

/// The partner's word that a request failed, and what became of its effect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The protocol's code.
    pub code: u16,
    /// What is known about the effect.
    pub class: Class,
    /// How long to leave the partner alone.
    pub retry_after: Option<Duration>,
    /// For people.
    pub message: String,
}

impl Fault {
    /// A fault of this code and class.
    pub fn new(code: u16, class: Class, message: impl Into<String>) -> Self {
        Self {
            code,
            class,
            retry_after: None,
            message: message.into(),
        }
    }

    /// 400: the request broke the protocol.
    pub fn malformed(message: impl Into<String>) -> Self {
        Self::new(400, Class::Rejected, message)
    }

    /// 401: the token was not accepted.
    pub fn unauthorized(message: impl Into<String>) -> Self {
        Self::new(401, Class::Rejected, message)
    }

    /// 429: not now.
    pub fn busy(message: impl Into<String>) -> Self {
        Self::new(429, Class::NotApplied, message)
    }

    /// 500: it may have happened.
    pub fn internal(message: impl Into<String>) -> Self {
        Self::new(500, Class::Unknown, message)
    }

    /// 505: no common version.
    pub fn version(message: impl Into<String>) -> Self {
        Self::new(505, Class::NotApplied, message)
    }

    /// Adds how long to leave the partner alone.
    #[must_use]
    pub fn retry_after(self, retry_after: Duration) -> Self {
        Self {
            retry_after: Some(retry_after),
            ..self
        }
    }

    pub(crate) fn into_error(self, code_name: Option<&'static str>) -> Error {
        let code = code_name.map_or_else(|| self.code.to_string(), str::to_owned);
        Error::new(self.class, self.message)
            .with_code(code)
            .with_retry_after(self.retry_after)
    }
}

impl Message for Fault {
    fn kind(&self) -> u8 {
        ERROR
    }

    fn write(&self, to: &mut Writer) -> Result<(), Malformed> {
        to.u16(self.code);
        to.u8(match self.class {
            Class::Rejected => 0,
            Class::NotApplied => 1,
            Class::Unknown | Class::Protocol => 2,
        });
        to.u32(self.retry_after.map_or(0, millis_rounded_up));
        to.str(&self.message)
    }

    fn read(kind: u8, from: &mut Reader<'_>) -> Result<Self, Malformed> {
        expect(ERROR, kind)?;
        Ok(Self {
            code: from.u16()?,
            class: match from.u8()? {
                0 => Class::Rejected,
                1 => Class::NotApplied,
                2 => Class::Unknown,
                _ => return Err(Malformed::value("class")),
            },
            retry_after: match from.u32()? {
                0 => None,
                ms => Some(Duration::from_millis(ms.into())),
            },
            message: from.str()?.to_owned(),
        })
    }
}

/// A time as the wire has it: never shorter than it is, and never 0, which would say nothing.
pub(crate) fn millis_rounded_up(time: Duration) -> u32 {
    let ms = time.as_nanos().div_ceil(1_000_000).max(1);
    u32::try_from(ms).unwrap_or(u32::MAX)
}

const fn expect(wanted: u8, kind: u8) -> Result<(), Malformed> {
    if wanted == kind {
        Ok(())
    } else {
        Err(Malformed::unknown_kind(kind))
    }
}
