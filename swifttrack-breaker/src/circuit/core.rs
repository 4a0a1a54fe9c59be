//! The machine on an atomic word, and the windows beside it.
//!
//! Every change is one compare-and-swap, and nothing here waits for anybody.

use crate::circuit::machine::{self, Admission, Effect, Order, Verdict};
use crate::circuit::window::Calls;
use crate::circuit::word::{Phase, Word};
use crate::classify::Outcome;
use crate::clock::MS_MAX;
use crate::config::BreakerConfig;
use crate::error::Cause;
use crate::policy::{Rule, Span, whole_ms};
use crate::state::{Reason, State, Tally};
use crate::sync::{AtomicU64, Ordering};

#[derive(Debug)]
pub(crate) struct Core {
    config: BreakerConfig,
    meters: Box<[Meter]>,
    /// The shortest time that any rule calls slow.
    slower_than: Option<u64>,
    /// Whether a call that succeeds must read the clock.
    timed: bool,
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

/// One rate rule with its window.
#[derive(Debug)]
struct Meter {
    rate: u32,
    min_calls: u32,
    slower_than: Option<u64>,
    calls: Calls,
}

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
        let rates = || {
            config
                .policy
                .rules
                .iter()
                .flatten()
                .filter_map(|rule| match *rule {
                    Rule::Consecutive(_) => None,
                    Rule::Rate {
                        rate,
                        slower_than,
                        window,
                    } => Some((rate, slower_than, window)),
                })
        };
        let meter = |(rate, slower_than, window): (_, _, crate::policy::Window)| Meter {
            rate,
            min_calls: window.min_calls,
            slower_than,
            calls: Calls::new(window, stripes),
        };
        Self {
            config,
            slower_than: rates().filter_map(|(_, slower_than, _)| slower_than).min(),
            timed: rates()
                .any(|(_, slow, window)| slow.is_some() || matches!(window.span, Span::Time(_))),
            meters: rates().map(meter).collect(),
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
        self.meters.iter().for_each(|meter| meter.calls.clear());
    }

    pub(crate) fn has_window(&self) -> bool {
        !self.meters.is_empty()
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
        (word.is_closed() && self.slower_than.is_none()).then(|| Tag(u64::from(word.generation())))
    }

    /// Closed, with no failure in a row and none in a window.
    pub(crate) fn is_healthy(&self) -> bool {
        let word = self.word();
        let clear = |meter: &Meter| {
            meter
                .calls
                .tally(word.generation(), self.config.clock.now())
                .bad
                == 0
        };
        word.is_clean() && self.meters.iter().all(clear)
    }

    /// What the first window holds.
    #[cfg(all(test, loom))]
    pub(crate) fn tally(&self) -> Tally {
        let now = self.config.clock.now();
        self.meters[0].calls.tally(self.word().generation(), now)
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
                if self.slower_than.is_some() {
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
        let started = if self.slower_than.is_some() { now } else { 0 };
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
        let spotless = |meter: &Meter| meter.calls.is_spotless(tag.generation());
        self.is_clean_for(tag) && !self.timed && self.meters.iter().all(spotless)
    }

    /// Settles a success from which nothing follows, since it was not slow either. Gives nothing, and
    /// has counted nothing, if something does.
    #[inline]
    pub(crate) fn settle_good(&self, tag: Tag, stripe: usize) -> Option<Good> {
        if !self.is_clean_for(tag) {
            return None;
        }
        let now = self.timed.then(|| self.config.clock.now());
        let took = self.took(tag, now.unwrap_or(0));
        if is_slow(self.slower_than, took) {
            return None;
        }
        match &*self.meters {
            [] => {}
            [
                Meter {
                    calls: Calls::Time(window),
                    ..
                },
            ] => {
                let at = now.unwrap_or(0);
                window.record(tag.generation(), at, stripe, false, || self.current(tag));
            }
            _ => self.record_good(tag, now.unwrap_or(0), stripe),
        }
        Some(Good { now, took })
    }

    #[inline(never)]
    fn record_good(&self, tag: Tag, now: u64, stripe: usize) {
        for meter in &self.meters {
            let current = || self.current(tag);
            meter
                .calls
                .record(tag.generation(), now, stripe, false, current);
        }
    }

    /// The time, as long as the generation of this ticket is the circuit's.
    fn current(&self, tag: Tag) -> Option<u64> {
        (self.word().generation() == tag.generation()).then(|| self.config.clock.now())
    }

    /// How long a call took, where some rule asks.
    fn took(&self, tag: Tag, now: u64) -> Option<u64> {
        self.slower_than.map(|_| now.saturating_sub(tag.started()))
    }

    pub(crate) fn settle(&self, tag: Tag, outcome: Outcome, stripe: usize, seed: u64) -> Settled {
        let mut word = self.word();
        let mut settled = Settled::default();
        if word.generation() != tag.generation() {
            settled.stale = true;
            return settled;
        }
        let failed = matches!(outcome, Outcome::Failure | Outcome::Throttled { .. });
        if failed || self.timed {
            settled.now = Some(self.config.clock.now());
        }
        let now = settled.now.unwrap_or(0);
        if outcome != Outcome::Ignore {
            settled.took = self.took(tag, now);
        }
        settled.slow = is_slow(self.slower_than, settled.took);

        let (mut tripped, mut spoiled) = (None, 0);
        if outcome != Outcome::Ignore && matches!(word.state(), State::Closed | State::Observe) {
            for meter in &self.meters {
                let bad = if meter.slower_than.is_some() {
                    is_slow(meter.slower_than, settled.took)
                } else {
                    failed
                };
                let current = || self.current(tag);
                let counted = meter
                    .calls
                    .record(tag.generation(), now, stripe, bad, current);
                if let Some(bad) = counted {
                    spoiled += usize::from(bad.spoiled);
                    if tripped.is_none() && meter.is_over(bad.tally) {
                        tripped = Some((meter.reason(), bad.tally));
                    }
                }
            }
            settled.spoiled = spoiled != 0 && spoiled == self.meters.len();
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

fn is_slow(limit: Option<u64>, took: Option<u64>) -> bool {
    limit.zip(took).is_some_and(|(limit, took)| limit <= took)
}

impl Meter {
    const fn reason(&self) -> Reason {
        match self.slower_than {
            Some(_) => Reason::SlowRate,
            None => Reason::FailureRate,
        }
    }

    const fn is_over(&self, tally: Tally) -> bool {
        self.min_calls <= tally.total
            && self.rate as u64 * tally.total as u64 <= tally.bad as u64 * 10_000
    }
}
