//! What follows from what: pure functions of a word, an event and the time.

use crate::circuit::word::{Phase, Word};
use crate::clock::MS_MAX;
use crate::config::BreakerConfig;
use crate::error::Cause;
use crate::state::Reason;

/// What becomes of a call that asks to pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Admission {
    /// It passes, and nothing changes.
    Pass,
    /// It passes if the word can be changed to this one.
    Enter {
        to: Word,
        reason: Option<Reason>,
    },
    Refuse {
        cause: Cause,
        until: Option<u64>,
    },
}

/// What a finished call said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Good {
        /// A window that this outcome, slow though good, brought to its rate.
        tripped: Option<Reason>,
    },
    Bad {
        /// How long the partner asked us to wait, in ms.
        wait: u64,
        /// A window that this outcome brought to its rate.
        tripped: Option<Reason>,
    },
    /// Nothing: the call's permit goes back.
    Void,
}

/// What becomes of the word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Effect {
    Nothing,
    Change { to: Word, reason: Option<Reason> },
}

/// Asks for a call. `lease_until` matters to a half-open circuit alone.
pub(crate) fn admit(word: Word, now: u64, lease_until: u64, config: &BreakerConfig) -> Admission {
    match word.phase() {
        Phase::Closed { .. } | Phase::Disabled | Phase::Observe { .. } => Admission::Pass,
        Phase::ForcedOpen => Admission::Refuse {
            cause: Cause::ForcedOpen,
            until: None,
        },
        Phase::Open { until, .. } if now < until => Admission::Refuse {
            cause: Cause::Open,
            until: Some(until),
        },
        Phase::Open { reopened, .. } => Admission::Enter {
            to: word.next(first_probe(reopened)),
            reason: Some(Reason::OpenTimeOver),
        },
        Phase::HalfOpen {
            running,
            succeeded,
            reopened,
        } => {
            if running + succeeded < config.probes {
                Admission::Enter {
                    to: word.with(Phase::HalfOpen {
                        running: running + 1,
                        succeeded,
                        reopened,
                    }),
                    reason: None,
                }
            } else if now < lease_until {
                Admission::Refuse {
                    cause: Cause::Probing,
                    until: Some(lease_until),
                }
            } else {
                Admission::Enter {
                    to: word.next(first_probe(reopened)),
                    reason: Some(Reason::LeaseExpired),
                }
            }
        }
        Phase::ObserveOpen { until } if now < until => Admission::Pass,
        Phase::ObserveOpen { .. } => Admission::Enter {
            to: word.next(Phase::Observe { failures: 0 }),
            reason: Some(Reason::OpenTimeOver),
        },
    }
}

const fn first_probe(reopened: u8) -> Phase {
    Phase::HalfOpen {
        running: 1,
        succeeded: 0,
        reopened,
    }
}

/// Reports the end of a call that the same life of the circuit had let through.
pub(crate) fn settle(
    word: Word,
    verdict: Verdict,
    now: u64,
    seed: u64,
    config: &BreakerConfig,
) -> Effect {
    let opened = |reopened, wait| Phase::Open {
        until: later(now, open_ms(word, reopened, wait, seed, config)),
        reopened,
    };
    match word.phase() {
        Phase::Closed { failures } => match count(failures, verdict, config) {
            Count::Same => Effect::Nothing,
            Count::Is(failures) => change(word.with(Phase::Closed { failures })),
            Count::Trips(reason, wait) => transition(word.next(opened(0, wait)), reason),
        },
        Phase::Observe { failures } => match count(failures, verdict, config) {
            Count::Same => Effect::Nothing,
            Count::Is(failures) => change(word.with(Phase::Observe { failures })),
            Count::Trips(reason, wait) => {
                let until = later(now, open_ms(word, 0, wait, seed, config));
                transition(word.next(Phase::ObserveOpen { until }), reason)
            }
        },
        Phase::HalfOpen {
            running,
            succeeded,
            reopened,
        } => {
            let running = running.saturating_sub(1);
            match verdict {
                Verdict::Void => change(word.with(Phase::HalfOpen {
                    running,
                    succeeded,
                    reopened,
                })),
                Verdict::Bad { wait, .. } => transition(
                    word.next(opened(reopened.saturating_add(1), wait)),
                    Reason::ProbeFailed,
                ),
                Verdict::Good { .. } if succeeded + 1 < config.probes => {
                    change(word.with(Phase::HalfOpen {
                        running,
                        succeeded: succeeded + 1,
                        reopened,
                    }))
                }
                Verdict::Good { .. } => transition(
                    word.next(Phase::Closed { failures: 0 }),
                    Reason::ProbesSucceeded,
                ),
            }
        }
        Phase::Open { .. } | Phase::ForcedOpen | Phase::Disabled | Phase::ObserveOpen { .. } => {
            Effect::Nothing
        }
    }
}

enum Count {
    Same,
    Is(u32),
    Trips(Reason, u64),
}

fn count(failures: u32, verdict: Verdict, config: &BreakerConfig) -> Count {
    match verdict {
        Verdict::Void => Count::Same,
        Verdict::Good {
            tripped: Some(reason),
        } => Count::Trips(reason, 0),
        Verdict::Good { tripped: None } if failures == 0 => Count::Same,
        Verdict::Good { tripped: None } => Count::Is(0),
        Verdict::Bad { wait, tripped } => {
            let failures = failures.saturating_add(1);
            if config
                .policy
                .trips_after()
                .is_some_and(|max| max <= failures)
            {
                return Count::Trips(Reason::ConsecutiveFailures, wait);
            }
            tripped.map_or(Count::Is(failures), |reason| Count::Trips(reason, wait))
        }
    }
}

/// What an operator asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    Reset,
    ForceOpen,
    Disable,
    Observe,
}

/// Obeyed in every state, and starts a new life in each: what was running counts no more.
pub(crate) fn obey(word: Word, order: Order) -> (Word, Reason) {
    match order {
        Order::Reset => (word.next(Phase::Closed { failures: 0 }), Reason::Reset),
        Order::ForceOpen => (word.next(Phase::ForcedOpen), Reason::ForcedOpen),
        Order::Disable => (word.next(Phase::Disabled), Reason::Disabled),
        Order::Observe => (word.next(Phase::Observe { failures: 0 }), Reason::Observed),
    }
}

const fn change(to: Word) -> Effect {
    Effect::Change { to, reason: None }
}

const fn transition(to: Word, reason: Reason) -> Effect {
    Effect::Change {
        to,
        reason: Some(reason),
    }
}

fn later(now: u64, ms: u64) -> u64 {
    now.saturating_add(ms).min(MS_MAX)
}

/// `open_for · growth^reopened`, at least what the partner asked for, at most `open_max`, and then the jitter.
fn open_ms(word: Word, reopened: u8, wait: u64, seed: u64, config: &BreakerConfig) -> u64 {
    let mut ms = config.open_ms;
    for _ in 0..reopened {
        ms = (ms.saturating_mul(u64::from(config.growth)) / 100).min(config.open_max_ms);
    }
    ms = ms.max(wait).min(config.open_max_ms);
    if config.jitter == 0 {
        return ms;
    }
    let spread = ms * u64::from(config.jitter) / 100;
    ms + mix(seed ^ u64::from(word.generation())) % (spread + 1)
}

/// Spreads a seed over all 64 bits (the finalizer of splitmix64).
pub(crate) const fn mix(seed: u64) -> u64 {
    let mut z = seed.wrapping_add(0x9E37_79B9_7F4A_7C15);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}
