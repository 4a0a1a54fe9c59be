//! Every transition there is, and the figure that is drawn from it.

use std::collections::BTreeSet;
use std::fmt::Write;

use crate::circuit::machine::{self, Admission, Effect, Order, Verdict};
use crate::circuit::word::{Phase, Word};
use crate::config::BreakerConfig;
use crate::state::{Reason, State};

type Row = (State, Reason, State);

/// What a circuit does by itself.
const TABLE: [Row; 11] = [
    (State::Closed, Reason::ConsecutiveFailures, State::Open),
    (State::Closed, Reason::FailureRate, State::Open),
    (State::Closed, Reason::SlowRate, State::Open),
    (State::Open, Reason::OpenTimeOver, State::HalfOpen),
    (State::HalfOpen, Reason::ProbesSucceeded, State::Closed),
    (State::HalfOpen, Reason::ProbeFailed, State::Open),
    (State::HalfOpen, Reason::LeaseExpired, State::HalfOpen),
    (State::Observe, Reason::ConsecutiveFailures, State::Observe),
    (State::Observe, Reason::FailureRate, State::Observe),
    (State::Observe, Reason::SlowRate, State::Observe),
    (State::Observe, Reason::OpenTimeOver, State::Observe),
];

/// What an operator's order does in every state.
const ORDERS: [(Order, Reason, State); 4] = [
    (Order::Reset, Reason::Reset, State::Closed),
    (Order::ForceOpen, Reason::ForcedOpen, State::ForcedOpen),
    (Order::Disable, Reason::Disabled, State::Disabled),
    (Order::Observe, Reason::Observed, State::Observe),
];

fn phases(probes: u8) -> Vec<Phase> {
    let mut phases = vec![Phase::ForcedOpen, Phase::Disabled];
    for failures in 0..4 {
        phases.extend([Phase::Closed { failures }, Phase::Observe { failures }]);
    }
    for until in [0, 100, 200] {
        phases.push(Phase::ObserveOpen { until });
        phases.extend([0, 1, 15].map(|reopened| Phase::Open { until, reopened }));
    }
    for running in 0..=probes {
        for succeeded in 0..probes {
            phases.extend([0, 15].map(|reopened| Phase::HalfOpen {
                running,
                succeeded,
                reopened,
            }));
        }
    }
    phases
}

/// Every transition that the machine makes in any phase, on any event.
fn explored() -> BTreeSet<String> {
    let mut seen = BTreeSet::new();
    for (trip_after, probes) in [(1, 1), (3, 1), (3, 3)] {
        let config = BreakerConfig::new().trip_after(trip_after).probes(probes);
        for phase in phases(probes) {
            let word = Word::new(9, phase);
            let mut reached = Vec::new();
            for lease_until in [0, 200] {
                if let Admission::Enter { to, reason } =
                    machine::admit(word, 100, lease_until, &config)
                {
                    reached.push((to, reason));
                }
            }
            for tripped in [None, Some(Reason::FailureRate), Some(Reason::SlowRate)] {
                for verdict in [
                    Verdict::Void,
                    Verdict::Good { tripped },
                    Verdict::Bad { wait: 0, tripped },
                ] {
                    if let Effect::Change { to, reason } =
                        machine::settle(word, verdict, 100, 1, &config)
                    {
                        reached.push((to, reason));
                    }
                }
            }
            for (to, reason) in reached {
                match reason {
                    Some(reason) => {
                        assert_eq!(
                            to.generation(),
                            10,
                            "a transition starts a generation: {phase:?} {to:?}"
                        );
                        seen.insert(row((word.state(), reason, to.state())));
                    }
                    None => {
                        assert_eq!(to.generation(), 9, "a count starts none: {phase:?} {to:?}");
                        assert_eq!(to.state(), word.state());
                    }
                }
            }
        }
    }
    seen
}

fn row((from, reason, to): Row) -> String {
    format!("{from} --{reason}--> {to}")
}

#[test]
fn the_machine_makes_exactly_the_transitions_of_the_table() {
    let table: BTreeSet<String> = TABLE.into_iter().map(row).collect();
    assert_eq!(explored(), table);
}

#[test]
fn an_order_is_obeyed_in_every_state() {
    for phase in phases(2) {
        let word = Word::new(9, phase);
        for (order, reason, state) in ORDERS {
            let (to, why) = machine::obey(word, order);
            assert_eq!((why, to.state(), to.generation()), (reason, state, 10));
        }
    }
}

/// Draws the table: one line for each pair of states, and all the reasons on it.
fn figure() -> String {
    let mut drawn = String::from("```text\n");
    let mut last = None;
    for (from, reason, to) in TABLE {
        if last == Some((from, to)) {
            let _ = writeln!(drawn, "{:29}{reason}", "");
        } else {
            let _ = writeln!(
                drawn,
                " {:>9} ──▶ {:<9}     {reason}",
                from.as_str(),
                to.as_str()
            );
        }
        last = Some((from, to));
    }
    drawn.push('\n');
    for (_, reason, to) in ORDERS {
        let _ = writeln!(drawn, " {:>9} ──▶ {:<11}   {reason}", "any", to.as_str());
    }
    drawn.push_str("```\n");
    drawn
}

#[test]
fn the_figure_in_the_docs_is_drawn_from_the_table() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/src/circuit/figure.md");
    let drawn = figure();
    if std::env::var_os("DRAW").is_some() {
        std::fs::write(path, &drawn).unwrap();
    }
    assert_eq!(
        include_str!("figure.md"),
        drawn,
        "draw it anew: DRAW=1 cargo test -p swifttrack-breaker figure, twice"
    );
}
