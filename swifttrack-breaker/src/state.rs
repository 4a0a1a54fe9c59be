//! What a circuit shows of itself.

use std::fmt;
use std::time::{Duration, SystemTime};

use tokio::time::Instant;

use crate::flight::Flight;

/// The state of a circuit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum State {
    /// Calls pass.
    Closed,
    /// Calls are refused until a known time.
    Open,
    /// A few calls pass, to see whether the partner has recovered.
    HalfOpen,
    /// An operator holds it open.
    ForcedOpen,
    /// Calls pass and nothing is counted.
    Disabled,
    /// Calls pass and are counted; an event says when it would have opened.
    Observe,
}

impl State {
    /// The name that it has in events, metrics and the table of transitions.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Open => "open",
            Self::HalfOpen => "half_open",
            Self::ForcedOpen => "forced_open",
            Self::Disabled => "disabled",
            Self::Observe => "observe",
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Why a circuit changed its state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Reason {
    /// That many failures in a row.
    ConsecutiveFailures,
    /// Too large a part of the calls failed.
    FailureRate,
    /// Too large a part of the calls was slow.
    SlowRate,
    /// The open time was over when a call came.
    OpenTimeOver,
    /// All probes succeeded.
    ProbesSucceeded,
    /// A probe failed.
    ProbeFailed,
    /// A probe did not come back in its time; another goes out.
    LeaseExpired,
    /// `force_open` was called.
    ForcedOpen,
    /// `disable` was called.
    Disabled,
    /// `observe` was called.
    Observed,
    /// `reset` was called.
    Reset,
}

impl Reason {
    /// The name that it has in events, metrics and the table of transitions.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ConsecutiveFailures => "consecutive_failures",
            Self::FailureRate => "failure_rate",
            Self::SlowRate => "slow_rate",
            Self::OpenTimeOver => "open_time_over",
            Self::ProbesSucceeded => "probes_succeeded",
            Self::ProbeFailed => "probe_failed",
            Self::LeaseExpired => "lease_expired",
            Self::ForcedOpen => "force_open",
            Self::Disabled => "disable",
            Self::Observed => "observe",
            Self::Reset => "reset",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One change of state, as subscribers see it: each exactly once, in order.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Transition {
    /// Counts the transitions of this circuit from 1, without gaps.
    pub seq: u64,
    /// The circuit's name.
    pub name: std::sync::Arc<str>,
    /// What it was.
    pub from: State,
    /// What it is now.
    pub to: State,
    /// Why.
    pub reason: Reason,
    /// On the wall clock.
    pub at: SystemTime,
    /// Failures in a row when it happened, that of this transition included.
    pub consecutive_failures: u32,
    /// For a rate: how many of the calls in the window were bad, and of how many.
    pub rate: Option<Tally>,
    /// How long it will refuse, if it opened.
    pub open_for: Option<Duration>,
    /// In `observe`: the policy would have opened, and nothing was refused.
    pub would_open: bool,
    /// When it opened or would have: up to 64 outcomes that led to it, oldest first.
    pub flight: std::sync::Arc<[Flight]>,
}

/// Bad calls of all calls in a window.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Failed, or slow, as the rule has it.
    pub bad: u32,
    /// All that were counted.
    pub total: u32,
}

/// A circuit as it is at one moment.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Snapshot {
    /// The circuit's name.
    pub name: std::sync::Arc<str>,
    /// Its state.
    pub state: State,
    /// Failures in a row since the last success. While the circuit is not closed: as many as had opened it, and the probes that failed since.
    pub consecutive_failures: u32,
    /// When a call last failed, on the wall clock.
    pub last_failure: Option<SystemTime>,
    /// When a probe may go, if it is open; when the lease ends, if its probes are out.
    pub until: Option<Instant>,
    /// The same as a time from now.
    pub retry_after: Option<Duration>,
    /// Probes that are out.
    pub probes_running: u8,
    /// Waiters in the queue.
    pub waiting: usize,
    /// What came of all calls so far.
    pub counts: Counts,
}

impl Snapshot {
    /// Whether a call that came now would be let through.
    #[must_use]
    pub const fn is_available(&self) -> bool {
        match self.state {
            State::Closed | State::Disabled | State::Observe => true,
            State::ForcedOpen => false,
            State::Open | State::HalfOpen => self.retry_after.is_none(),
        }
    }
}

/// What came of the calls of a circuit since it was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Counts {
    /// Only where [`count_successes`](crate::BreakerConfig::count_successes) is on.
    pub successes: u64,
    /// Failures, throttled ones included.
    pub failures: u64,
    /// Failures in which the partner asked for fewer calls.
    pub throttled: u64,
    /// Calls that said nothing about the partner, dropped ones included.
    pub ignored: u64,
    /// Calls that were slow, by the policy's slow rule.
    pub slow: u64,
    /// Calls that the circuit refused.
    pub refused: u64,
    /// Results that came when the circuit was no longer in the state that had let the call through; they changed nothing.
    pub stale: u64,
}
