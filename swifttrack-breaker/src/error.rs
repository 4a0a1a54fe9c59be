//! What a layer of this crate adds to the errors of the service inside it.

use std::fmt;
use std::time::Duration;

use tokio::time::Instant;

use crate::clock::Clock;

/// The error of every layer here, over the error `E` of the service inside.
///
/// The three cases are three different facts about the world: nothing was
/// sent, something may have happened, or the service itself has spoken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Error<E> {
    /// Refused on our own side: the service inside was not called.
    Refused(Refused),
    /// Called, and given up on: it may have taken effect or may yet.
    TimedOut(TimedOut),
    /// The service inside failed by itself.
    Inner(E),
}

impl<E> Error<E> {
    /// Whether this was decided on our own side, before anything was sent.
    #[must_use]
    pub const fn is_local(&self) -> bool {
        matches!(self, Self::Refused(_))
    }

    /// The refusal, if it is one.
    #[must_use]
    pub const fn refused(&self) -> Option<&Refused> {
        match self {
            Self::Refused(refused) => Some(refused),
            Self::TimedOut(_) | Self::Inner(_) => None,
        }
    }

    /// The inner error, if the service inside was called and answered with one.
    pub fn into_inner(self) -> Option<E> {
        match self {
            Self::Inner(error) => Some(error),
            Self::Refused(_) | Self::TimedOut(_) => None,
        }
    }

    /// How long to wait before another try has a chance, if that is known.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        self.refused().and_then(Refused::retry_after)
    }

    /// Changes the inner error.
    pub fn map_inner<F>(self, map: impl FnOnce(E) -> F) -> Error<F> {
        match self {
            Self::Refused(refused) => Error::Refused(refused),
            Self::TimedOut(timed_out) => Error::TimedOut(timed_out),
            Self::Inner(error) => Error::Inner(map(error)),
        }
    }
}

impl<E> Error<Error<E>> {
    /// Makes one of two, where one layer of this crate stands directly around another.
    pub fn flatten(self) -> Error<E> {
        match self {
            Self::Refused(refused) => Error::Refused(refused),
            Self::TimedOut(timed_out) => Error::TimedOut(timed_out),
            Self::Inner(error) => error,
        }
    }
}

impl<E> fmt::Display for Error<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(refused) => refused.fmt(f),
            Self::TimedOut(timed_out) => timed_out.fmt(f),
            Self::Inner(_) => f.write_str("the service failed"),
        }
    }
}

impl<E: std::error::Error + 'static> std::error::Error for Error<E> {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Inner(error) => Some(error),
            Self::Refused(_) | Self::TimedOut(_) => None,
        }
    }
}

/// A call that was not made, why, and when to come back.
///
/// Two words, so that it travels in registers: an open circuit says no very often.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refused {
    clock: Clock,
    /// Milliseconds and one on the clock, in 48 bits. Zero where only somebody else's action can help.
    until_low: u32,
    until_high: u16,
    cause: Cause,
}

const _: () = assert!(size_of::<Option<Refused>>() == 16);

/// Why a call was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Cause {
    /// The circuit is open, until the time that the refusal carries.
    Open,
    /// The circuit is half-open and all its probes are out; the time is the end of their lease.
    Probing,
    /// An operator holds the circuit open.
    ForcedOpen,
    /// As many calls as are allowed at once are running or waiting.
    Full,
    /// The service inside was not ready, and the caller did not want to wait for it.
    Shed,
    /// The deadline had passed before the call.
    Deadline,
}

impl Refused {
    /// `until` is at most [`MS_MAX`](crate::clock::MS_MAX).
    pub(crate) const fn new(cause: Cause, clock: Clock, until: Option<u64>) -> Self {
        let until = match until {
            Some(ms) => ms + 1,
            None => 0,
        };
        Self {
            clock,
            until_low: until as u32,
            until_high: (until >> 32) as u16,
            cause,
        }
    }

    const fn until_ms(&self) -> Option<u64> {
        ((self.until_high as u64) << 32 | self.until_low as u64).checked_sub(1)
    }

    pub(crate) const fn now(cause: Cause) -> Self {
        Self::new(cause, Clock::tokio(), None)
    }

    pub(crate) const fn because(mut self, cause: Cause) -> Self {
        self.cause = cause;
        self
    }

    /// Why.
    #[must_use]
    pub const fn cause(&self) -> Cause {
        self.cause
    }

    /// Whether a circuit refused, whatever its reason.
    #[must_use]
    pub const fn is_circuit(&self) -> bool {
        matches!(self.cause, Cause::Open | Cause::Probing | Cause::ForcedOpen)
    }

    /// When the circuit will let a probe through, if time alone will do it.
    #[must_use]
    pub fn until(&self) -> Option<Instant> {
        self.until_ms().map(|ms| self.clock.instant(ms))
    }

    /// How long that is from now: the clock is read when this is asked, so a refusal that was kept for a while still answers rightly.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        self.until_ms()
            .map(|ms| Duration::from_millis(ms.saturating_sub(self.clock.now())))
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.cause {
            Cause::Open => "circuit open",
            Cause::Probing => "circuit half-open, its probes are out",
            Cause::ForcedOpen => "circuit held open by an operator",
            Cause::Full => "too many calls at once",
            Cause::Shed => "service not ready",
            Cause::Deadline => "deadline passed before the call",
        })
    }
}

impl std::error::Error for Refused {}

/// A call that was made and not waited for to its end: its effect is unknown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimedOut {
    pub(crate) total: bool,
}

impl TimedOut {
    /// Whether the deadline of the whole request ended it, rather than the limit of one attempt.
    #[must_use]
    pub const fn is_deadline(&self) -> bool {
        self.total
    }
}

impl fmt::Display for TimedOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.total {
            "deadline passed during the call"
        } else {
            "attempt timed out"
        })
    }
}

impl std::error::Error for TimedOut {}
