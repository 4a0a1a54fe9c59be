//! The machine on an atomic word, and the windows beside it.
//!
//! Every change is one compare-and-swap, and nothing here waits for anybody.

use crate::circuit::machine::{self, Admission, Effect, Order, Verdict};
use crate::circuit::rules::Rules;
use crate::circuit::word::{Phase, Word};
use crate::classify::Outcome;
use crate::clock::MS_MAX;
use crate::config::BreakerConfig;
use crate::error::Cause;
use crate::policy::whole_ms;
use crate::state::{Reason, State, Tally};
use crate::sync::{AtomicU64, Ordering};

#[derive(Debug)]
pub(crate) struct Core {
    config: BreakerConfig,
    rules: Rules,
    atoms: Atoms,
}

/// On cache lines of their own: healthy calls only read the word, and must not be disturbed in that.
#[derive(Debug)]
#[repr(align(128))]
struct Atoms {
    word: AtomicU64,
    /// `generation:20 | until, ms:37` of the probes that are out.
    lease: AtomicU64,
}

const LEASE_SHIFT: u32 = 37;

/// What a ticket knows of its call: `started, ms:37 | generation:20`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Tag(u64);

const STARTED_SHIFT: u32 = 20;

impl Tag {
    pub(crate) const fn generation(self) -> u32 {
        self.0 as u32 & ((1 << STARTED_SHIFT) - 1)
    }

    const fn started(self) -> u64 {
        self.0 >> STARTED_SHIFT
    }
}

/// A transition that this thread has made, and must tell.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Move {
    pub(crate) from: Word,
    pub(crate) to: Word,
    pub(crate) reason: Reason,
    pub(crate) rate: Option<Tally>,
    /// Whether a failure made it.
    pub(crate) failed: bool,
    pub(crate) now: u64,
}

impl Move {
    const fn new(from: Word, to: Word, reason: Reason, now: u64) -> Self {
        Self {
            from,
            to,
            reason,
            rate: None,
            failed: false,
            now,
        }
    }
}

/// A success from which nothing follows.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Good {
    pub(crate) now: Option<u64>,
    pub(crate) took: Option<u64>,
}

/// What settling a ticket did.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Settled {
    pub(crate) stale: bool,
    pub(crate) moved: Option<Move>,
    /// A probe's permit went back.
    pub(crate) freed: bool,
    /// A run of failures ended.
    pub(crate) ended_run: bool,
    /// It is the first bad call after good ones that [`changes_nothing`](Core::changes_nothing) was said of.
    pub(crate) spoiled: bool,
    pub(crate) slow: bool,
    pub(crate) now: Option<u64>,
    pub(crate) took: Option<u64>,
}

type Refusal = (Cause, Option<u64>);

impl Core {
    pub(crate) fn new(config: BreakerConfig, generation: u32, stripes: usize) -> Self {
        Self {
            config,
            rules: Rules::new(&config.policy, stripes),
            atoms: Atoms {
                word: AtomicU64::new(Word::new(generation, Phase::Closed { failures: 0 }).0),
                lease: AtomicU64::new(0),
            },
        }
    }

    pub(crate) const fn config(&self) -> &BreakerConfig {
        &self.config
    }

    /// For another circuit that begins here.
    pub(crate) fn clear(&self) {
        self.rules.clear();
    }

    pub(crate) fn has_window(&self) -> bool {
        !self.rules.is_empty()
    }

    #[inline]
    pub(crate) fn word(&self) -> Word {
        Word(self.atoms.word.load(Ordering::Acquire))
    }

    fn swap(&self, from: Word, to: Word) -> Result<(), Word> {
        match self
            .atoms
            .word
            .compare_exchange(from.0, to.0, Ordering::AcqRel, Ordering::Acquire)
        {
            Ok(_) => Ok(()),
            Err(other) => Err(Word(other)),
        }
    }

    /// Lets a call through a closed circuit that keeps no time: one load.
    #[inline]
    pub(crate) fn admit_closed(&self) -> Option<Tag> {
        let word = self.word();
        (word.is_closed() && !self.rules.look_at_slow()).then(|| Tag(u64::from(word.generation())))
    }

    /// Closed, with no failure in a row and none in a window.
    pub(crate) fn is_healthy(&self) -> bool {
        let word = self.word();
        word.is_clean()
            && self
                .rules
                .are_clear(word.generation(), self.config.clock.now())
    }

    /// What the first window holds.
    #[cfg(all(test, loom))]
    pub(crate) fn tally(&self) -> Tally {
        let now = self.config.clock.now();
        self.rules.tally(self.word().generation(), now)
    }

    /// Whether a call would be refused if it came now; nothing is changed.
    #[inline]
    pub(crate) fn refusal(&self) -> Option<Refusal> {
        let word = self.word();
        if word.is_closed() {
            return None;
        }
        // By far the most refusals; what `machine::admit` says of it.
        match word.open_until() {
            Some(until) if self.config.clock.now() < until => Some((Cause::Open, Some(until))),
            _ => self.refusal_of(word),
        }
    }

    fn refusal_of(&self, word: Word) -> Option<Refusal> {
        let (now, lease_until) = self.times(word);
        match machine::admit(word, now, lease_until, &self.config) {
            Admission::Refuse { cause, until } => Some((cause, until)),
            Admission::Pass | Admission::Enter { .. } => None,
        }
    }

    pub(crate) fn admit(&self) -> (Result<Tag, Refusal>, Option<Move>) {
        let mut word = self.word();
        loop {
            let (now, lease_until) = self.times(word);
            let (to, reason) = match machine::admit(word, now, lease_until, &self.config) {
                Admission::Refuse { cause, until } => return (Err((cause, until)), None),
                Admission::Pass => return (Ok(self.tag(word, now)), None),
                Admission::Enter { to, reason } => (to, reason),
            };
            match self.swap(word, to) {
                Err(other) => word = other,
                Ok(()) => {
                    let moved = reason.map(|reason| Move::new(word, to, reason, now));
                    if to.state() == State::HalfOpen {
                        self.lease_until(to.generation(), now);
                    }
                    return (Ok(self.tag(to, now)), moved);
                }
            }
        }
    }

    /// The time, and the end of the lease, as far as this word makes them matter.
    fn times(&self, word: Word) -> (u64, u64) {
        match word.phase() {
            Phase::Closed { .. } | Phase::Disabled | Phase::ForcedOpen | Phase::Observe { .. } => (
                if self.rules.look_at_slow() {
                    self.config.clock.now()
                } else {
                    0
                },
                0,
            ),
            Phase::Open { .. } | Phase::ObserveOpen { .. } => (self.config.clock.now(), 0),
            Phase::HalfOpen { .. } => {
                let now = self.config.clock.now();
                (now, self.lease_until(word.generation(), now))
            }
        }
    }

    /// The end of this generation's lease. Whoever finds none gives one from now on, so that no probe can be out for ever.
    fn lease_until(&self, generation: u32, now: u64) -> u64 {
        let lease = &self.atoms.lease;
        let until = now.saturating_add(self.config.lease_ms()).min(MS_MAX);
        let mut seen = lease.load(Ordering::Acquire);
        loop {
            if seen >> LEASE_SHIFT == u64::from(generation) {
                return seen & MS_MAX;
            }
            if self.word().generation() != generation {
                return until;
            }
            let next = u64::from(generation) << LEASE_SHIFT | until;
            match lease.compare_exchange(seen, next, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => return until,
                Err(other) => seen = other,
            }
        }
    }

    fn tag(&self, word: Word, now: u64) -> Tag {
        let started = if self.rules.look_at_slow() { now } else { 0 };
        Tag(started << STARTED_SHIFT | u64::from(word.generation()))
    }

    /// Whether this ticket's life goes on, closed and with no failure to forget.
    #[inline]
    pub(crate) fn is_clean_for(&self, tag: Tag) -> bool {
        let word = self.word();
        word.is_clean() && word.generation() == tag.generation()
    }

    /// Whether the windows of this ticket's life are full of good calls, so that one more is the same.
    #[inline]
    pub(crate) fn changes_nothing(&self, tag: Tag) -> bool {
        self.is_clean_for(tag) && self.rules.are_spotless(tag.generation())
    }

    /// Settles a success from which nothing follows, since it was not slow either. Gives nothing, and
    /// has counted nothing, if something does.
    #[inline]
    pub(crate) fn settle_good(&self, tag: Tag, stripe: usize) -> Option<Good> {
        if !self.is_clean_for(tag) {
            return None;
        }
        let now = self.rules.are_timed().then(|| self.config.clock.now());
        let took = self.took(tag, now.unwrap_or(0));
        if self.rules.is_slow(took) {
            return None;
        }
        let current = || self.current(tag);
        self.rules
            .record_good(tag.generation(), now.unwrap_or(0), stripe, current);
        Some(Good { now, took })
    }

    /// The time, as long as the generation of this ticket is the circuit's.
    fn current(&self, tag: Tag) -> Option<u64> {
        (self.word().generation() == tag.generation()).then(|| self.config.clock.now())
    }

    /// How long a call took, where some rule asks.
    fn took(&self, tag: Tag, now: u64) -> Option<u64> {
        self.rules
            .look_at_slow()
            .then(|| now.saturating_sub(tag.started()))
    }

    pub(crate) fn settle(&self, tag: Tag, outcome: Outcome, stripe: usize, seed: u64) -> Settled {
        let mut word = self.word();
        let mut settled = Settled::default();
        if word.generation() != tag.generation() {
            settled.stale = true;
            return settled;
        }
        let failed = matches!(outcome, Outcome::Failure | Outcome::Throttled { .. });
        if failed || self.rules.are_timed() {
            settled.now = Some(self.config.clock.now());
        }
        let now = settled.now.unwrap_or(0);
        if outcome != Outcome::Ignore {
            settled.took = self.took(tag, now);
        }
        settled.slow = self.rules.is_slow(settled.took);

        let mut tripped = None;
        if outcome != Outcome::Ignore && matches!(word.state(), State::Closed | State::Observe) {
            let current = || self.current(tag);
            let (generation, took) = (tag.generation(), settled.took);
            let counted = self
                .rules
                .record(generation, now, stripe, failed, took, current);
            settled.spoiled = counted.spoiled;
            tripped = counted.tripped;
        }

        let reason = tripped.map(|(reason, _)| reason);
        let good = Verdict::Good { tripped: reason };
        loop {
            let probing = word.state() == State::HalfOpen;
            let verdict = match outcome {
                Outcome::Success if probing && settled.slow => Verdict::Bad {
                    wait: 0,
                    tripped: None,
                },
                Outcome::Success => good,
                Outcome::Failure => Verdict::Bad {
                    wait: 0,
                    tripped: reason,
                },
                Outcome::Throttled { retry_after } => Verdict::Bad {
                    wait: retry_after.map_or(0, whole_ms),
                    tripped: reason,
                },
                Outcome::Ignore => Verdict::Void,
            };
            let now = if probing && settled.now.is_none() {
                self.config.clock.now()
            } else {
                now
            };
            let Effect::Change { to, reason } =
                machine::settle(word, verdict, now, seed, &self.config)
            else {
                return settled;
            };
            match self.swap(word, to) {
                Err(other) if other.generation() == tag.generation() => word = other,
                Err(_) => {
                    settled.stale = true;
                    return settled;
                }
                Ok(()) => {
                    settled.freed = probing && verdict == Verdict::Void;
                    settled.ended_run = reason.is_none() && verdict == good && !probing;
                    settled.moved = reason.map(|reason| Move {
                        rate: tripped
                            .filter(|(why, _)| *why == reason)
                            .map(|(_, tally)| tally),
                        failed,
                        ..Move::new(word, to, reason, now)
                    });
                    return settled;
                }
            }
        }
    }

    pub(crate) fn obey(&self, order: Order) -> Move {
        let mut word = self.word();
        loop {
            let (to, reason) = machine::obey(word, order);
            match self.swap(word, to) {
                Ok(()) => return Move::new(word, to, reason, self.config.clock.now()),
                Err(other) => word = other,
            }
        }
    }
}
