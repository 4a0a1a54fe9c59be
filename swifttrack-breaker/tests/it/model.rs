//! The circuit against a machine that is too simple to be wrong.

use std::sync::Mutex;
use std::sync::OnceLock;

use proptest::prelude::*;
use swifttrack_breaker::{
    BreakerConfig, BreakerHandle, Cause, ManualClock, Outcome, Policy, State, Ticket, Window,
};

use crate::support::ms;

const CASES: u32 = 10_000;

#[derive(Clone, Debug)]
enum Op {
    Admit,
    Finish(usize, Outcome),
    Drop(usize),
    Advance(u64),
    Reset,
    ForceOpen,
    Disable,
    Observe,
}

fn op() -> impl Strategy<Value = Op> {
    let place = 0..8_usize;
    let throttled = (0..5_u64).prop_map(|wait| Outcome::Throttled {
        retry_after: wait.checked_sub(1).map(|wait| ms(wait * 700)),
    });
    prop_oneof![
        8 => Just(Op::Admit),
        4 => place.clone().prop_map(|place| Op::Finish(place, Outcome::Success)),
        6 => place.clone().prop_map(|place| Op::Finish(place, Outcome::Failure)),
        1 => (place.clone(), throttled).prop_map(|(place, outcome)| Op::Finish(place, outcome)),
        1 => place.clone().prop_map(|place| Op::Finish(place, Outcome::Ignore)),
        1 => place.prop_map(Op::Drop),
        4 => (0..400_u64).prop_map(Op::Advance),
        2 => (900..3000_u64).prop_map(Op::Advance),
        1 => prop_oneof![Just(Op::Reset), Just(Op::ForceOpen), Just(Op::Disable), Just(Op::Observe)],
    ]
}

/// One rate rule, as the reference sees it.
#[derive(Clone, Copy, Debug)]
struct Rate {
    percent: usize,
    slower_than: Option<u64>,
    calls: Option<usize>,
    bucket: u64,
    min: usize,
}

#[derive(Clone, Copy, Debug)]
struct Spec {
    run: Option<u32>,
    rates: [Option<Rate>; 2],
    probes: u8,
    grows: bool,
}

const OPEN: u64 = 1000;
const OPEN_MAX: u64 = 3000;
const LEASE: u64 = 700;

fn spec() -> impl Strategy<Value = Spec> {
    let count = Rate {
        percent: 50,
        slower_than: None,
        calls: Some(6),
        bucket: 0,
        min: 4,
    };
    let large = Rate {
        percent: 25,
        slower_than: None,
        calls: Some(45),
        bucket: 0,
        min: 8,
    };
    let time = Rate {
        percent: 50,
        slower_than: None,
        calls: None,
        bucket: 100,
        min: 3,
    };
    let slow = Rate {
        percent: 50,
        slower_than: Some(250),
        calls: Some(5),
        bucket: 0,
        min: 2,
    };
    let slow_time = Rate {
        percent: 100,
        slower_than: Some(150),
        calls: None,
        bucket: 50,
        min: 2,
    };
    let policies = prop_oneof![
        Just((Some(3), [None, None])),
        Just((Some(1), [None, None])),
        Just((None, [Some(count), None])),
        Just((None, [Some(large), None])),
        Just((None, [Some(time), None])),
        Just((Some(4), [Some(slow), None])),
        Just((Some(5), [Some(time), Some(slow_time)])),
        Just((Some(3), [Some(count), Some(slow)])),
    ];
    (policies, 1..=3_u8, any::<bool>()).prop_map(|((run, rates), probes, grows)| Spec {
        run,
        rates,
        probes,
        grows,
    })
}

impl Spec {
    fn config(&self, clock: ManualClock) -> BreakerConfig {
        let rates = self.rates.iter().flatten().map(|rate| {
            let window = match rate.calls {
                Some(calls) => Window::calls(calls as u32),
                None => Window::time(ms(rate.bucket * 10)),
            }
            .min_calls(rate.min as u32);
            let part = rate.percent as f64 / 100.0;
            match rate.slower_than {
                Some(slow) => Policy::slow_rate(part, ms(slow), window),
                None => Policy::failure_rate(part, window),
            }
        });
        let all = self.run.map(Policy::consecutive).into_iter().chain(rates);
        let config = BreakerConfig::new()
            .policy(all.reduce(Policy::or).expect("a rule"))
            .open_for(ms(OPEN))
            .open_max(ms(OPEN_MAX))
            .lease(ms(LEASE))
            .probes(self.probes)
            .metrics(false)
            .clock(clock.clock());
        if self.grows {
            config.growth(2.0, ms(OPEN_MAX))
        } else {
            config
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Is {
    Closed,
    Open {
        until: u64,
        reopened: u32,
    },
    HalfOpen {
        out: u8,
        good: u8,
        reopened: u32,
        lease: u64,
    },
    ForcedOpen,
    Disabled,
    Observe,
    WouldBeOpen {
        until: u64,
    },
}

#[derive(Clone, Copy, Debug)]
struct Seen {
    at: u64,
    failed: bool,
    took: u64,
}

/// A call that is out: of which life of the circuit, and since when.
#[derive(Clone, Copy, Debug)]
struct Out {
    life: u64,
    since: u64,
}

/// The circuit as one would write it on a page, for one thread and with no end of memory.
#[derive(Debug)]
struct Reference {
    spec: Spec,
    now: u64,
    is: Is,
    life: u64,
    run: u32,
    seen: Vec<Seen>,
    stale: u64,
}

impl Reference {
    fn turn(&mut self, is: Is) {
        self.is = is;
        self.life += 1;
        self.run = 0;
        self.seen.clear();
    }

    fn admit(&mut self) -> Result<Out, (Cause, Option<u64>)> {
        match self.is {
            Is::ForcedOpen => return Err((Cause::ForcedOpen, None)),
            Is::Open { until, .. } if self.now < until => {
                return Err((Cause::Open, Some(until - self.now)));
            }
            Is::HalfOpen {
                out, good, lease, ..
            } if out + good == self.spec.probes && self.now < lease => {
                return Err((Cause::Probing, Some(lease - self.now)));
            }
            Is::HalfOpen {
                out,
                good,
                reopened,
                lease,
            } if out + good < self.spec.probes => {
                self.is = Is::HalfOpen {
                    out: out + 1,
                    good,
                    reopened,
                    lease,
                };
            }
            Is::Open { reopened, .. } | Is::HalfOpen { reopened, .. } => {
                let lease = self.now + LEASE;
                self.turn(Is::HalfOpen {
                    out: 1,
                    good: 0,
                    reopened,
                    lease,
                });
            }
            Is::WouldBeOpen { until } if until <= self.now => self.turn(Is::Observe),
            Is::Closed | Is::Disabled | Is::Observe | Is::WouldBeOpen { .. } => {}
        }
        Ok(Out {
            life: self.life,
            since: self.now,
        })
    }

    fn until(&self, reopened: u32, outcome: Outcome) -> u64 {
        let grown = if self.spec.grows {
            (OPEN << reopened.min(20)).min(OPEN_MAX)
        } else {
            OPEN
        };
        let asked = match outcome {
            Outcome::Throttled {
                retry_after: Some(wait),
            } => wait.as_millis() as u64,
            _ => 0,
        };
        self.now + grown.max(asked).min(OPEN_MAX)
    }

    fn finish(&mut self, call: Out, outcome: Outcome) {
        if call.life != self.life {
            self.stale += 1;
            return;
        }
        let failed = matches!(outcome, Outcome::Failure | Outcome::Throttled { .. });
        let took = self.now - call.since;
        match self.is {
            Is::Closed | Is::Observe if outcome != Outcome::Ignore => {
                self.seen.push(Seen {
                    at: self.now,
                    failed,
                    took,
                });
                self.run = if failed { self.run + 1 } else { 0 };
                let by_run = failed && self.spec.run.is_some_and(|max| max <= self.run);
                let by_rate = self
                    .spec
                    .rates
                    .iter()
                    .flatten()
                    .any(|rate| self.is_over(rate));
                if by_run || by_rate {
                    let until = self.until(0, outcome);
                    self.turn(if self.is == Is::Closed {
                        Is::Open { until, reopened: 0 }
                    } else {
                        Is::WouldBeOpen { until }
                    });
                }
            }
            Is::HalfOpen {
                out,
                good,
                reopened,
                lease,
            } => {
                let slow = self
                    .spec
                    .rates
                    .iter()
                    .flatten()
                    .filter_map(|rate| rate.slower_than)
                    .any(|slow| slow <= took);
                if outcome == Outcome::Ignore {
                    self.is = Is::HalfOpen {
                        out: out - 1,
                        good,
                        reopened,
                        lease,
                    };
                } else if failed || slow {
                    let until = self.until(reopened + 1, outcome);
                    self.turn(Is::Open {
                        until,
                        reopened: reopened + 1,
                    });
                } else if good + 1 == self.spec.probes {
                    self.turn(Is::Closed);
                } else {
                    self.is = Is::HalfOpen {
                        out: out - 1,
                        good: good + 1,
                        reopened,
                        lease,
                    };
                }
            }
            _ => {}
        }
    }

    /// Whether the newest call is bad by this rule and brings it over its rate.
    fn is_over(&self, rate: &Rate) -> bool {
        let bad = |seen: &Seen| {
            rate.slower_than
                .map_or(seen.failed, |slow| slow <= seen.took)
        };
        let window: Vec<&Seen> = match rate.calls {
            Some(calls) => self.seen.iter().rev().take(calls).collect(),
            None => {
                let oldest = (self.now / rate.bucket).saturating_sub(9);
                self.seen
                    .iter()
                    .filter(|seen| oldest <= seen.at / rate.bucket)
                    .collect()
            }
        };
        let of_them = window.iter().filter(|seen| bad(seen)).count();
        self.seen.last().is_some_and(bad)
            && rate.min <= window.len()
            && rate.percent * window.len() <= 100 * of_them
    }

    fn state(&self) -> State {
        match self.is {
            Is::Closed => State::Closed,
            Is::Open { .. } => State::Open,
            Is::HalfOpen { .. } => State::HalfOpen,
            Is::ForcedOpen => State::ForcedOpen,
            Is::Disabled => State::Disabled,
            Is::Observe | Is::WouldBeOpen { .. } => State::Observe,
        }
    }
}

/// One clock for all cases, so that configurations repeat and their slots are used again: the circuits of one case must know nothing of the last.
fn clock() -> (ManualClock, &'static Mutex<u64>) {
    static CLOCK: OnceLock<(ManualClock, Mutex<u64>)> = OnceLock::new();
    let (clock, now) = CLOCK.get_or_init(|| (ManualClock::new(), Mutex::new(0)));
    (*clock, now)
}

fn agree(spec: Spec, ops: &[Op]) -> Result<(), TestCaseError> {
    let (clock, time) = clock();
    let mut time = time
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner);
    // A round start, so that a failing case fails again.
    let start = (*time + 100_000) / 100_000 * 100_000;
    clock.advance(ms(start - *time));
    *time = start;

    let real = BreakerHandle::new("model", spec.config(clock));
    let mut reference = Reference {
        spec,
        now: start,
        is: Is::Closed,
        life: 0,
        run: 0,
        seen: Vec::new(),
        stale: 0,
    };
    let mut out: Vec<(Ticket, Out)> = Vec::new();
    for op in ops {
        match op {
            Op::Admit => match (real.try_acquire(), reference.admit()) {
                (Ok(ticket), Ok(call)) => out.push((ticket, call)),
                (Err(refused), Err((cause, wait))) => {
                    prop_assert_eq!(
                        (refused.cause(), refused.retry_after()),
                        (cause, wait.map(ms))
                    );
                }
                (real, reference) => prop_assert!(false, "{:?} but {:?}", real, reference),
            },
            Op::Finish(place, outcome) if *place < out.len() => {
                let (ticket, call) = out.remove(*place);
                ticket.finish(*outcome);
                reference.finish(call, *outcome);
            }
            Op::Drop(place) if *place < out.len() => {
                let (ticket, call) = out.remove(*place);
                drop(ticket);
                reference.finish(call, Outcome::Ignore);
            }
            Op::Finish(..) | Op::Drop(_) => {}
            Op::Advance(by) => {
                clock.advance(ms(*by));
                *time += by;
                reference.now += by;
            }
            Op::Reset => {
                real.reset();
                reference.turn(Is::Closed);
            }
            Op::ForceOpen => {
                real.force_open();
                reference.turn(Is::ForcedOpen);
            }
            Op::Disable => {
                real.disable();
                reference.turn(Is::Disabled);
            }
            Op::Observe => {
                real.observe();
                reference.turn(Is::Observe);
            }
        }
        let snapshot = real.snapshot();
        prop_assert_eq!(snapshot.state, reference.state(), "after {:?}", op);
        prop_assert_eq!(snapshot.counts.stale, reference.stale, "after {:?}", op);
        match reference.is {
            Is::Closed | Is::Observe => prop_assert_eq!(
                snapshot.consecutive_failures,
                reference.run,
                "after {:?}",
                op
            ),
            Is::HalfOpen { out, .. } => {
                prop_assert_eq!(snapshot.probes_running, out, "after {:?}", op)
            }
            _ => {}
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: CASES, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_circuit_does_what_the_reference_does(spec in spec(), ops in prop::collection::vec(op(), 1..60)) {
        agree(spec, &ops)?;
    }
}
