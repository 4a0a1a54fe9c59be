//! `swifttrack-breaker` in the settings that its peers have, and in its own.

use std::hint::black_box;
use std::time::{Duration, Instant};

use swifttrack_breaker::{
    BreakerConfig, BreakerHandle, BreakerLayer, Clock, Policy, Window, stack::Stack,
};
use tower::Layer;

use super::{Case, Circuit, NoOp, fail, function, service, work};

const HOUR: Duration = Duration::from_secs(3600);

const RUN: BreakerConfig = BreakerConfig::new().trip_after(3).open_for(HOUR);
const LAST_100: BreakerConfig =
    RUN.policy(Policy::failure_rate(0.5, Window::calls(100).min_calls(100)));
const LAST_40: BreakerConfig = RUN.policy(Policy::failure_rate(0.5, Window::calls(40)));
const LAST_30_S: BreakerConfig = RUN.policy(Policy::failure_rate(
    0.1,
    Window::time(Duration::from_secs(30)).min_calls(100),
));

pub(super) fn cases() -> Vec<Case> {
    let ours = |name, circuit| Case {
        name,
        equal: name,
        circuit,
    };
    vec![
        ours("no circuit", || service(NoOp, true)),
        ours("no circuit, one look at the clock", || {
            function(|_| black_box(Some(Instant::now())).is_some(), true)
        }),
        ours("no circuit, arithmetic", || {
            function(|request| arithmetic(request) != 0, true)
        }),
        ours("ours, run of failures", || closed(RUN)),
        ours("ours, run of failures, plain", || plain(RUN, true)),
        ours("ours, last 40 calls", || closed(LAST_40)),
        ours("ours, last 100 calls", || closed(LAST_100)),
        ours("ours, last 100 calls, plain", || plain(LAST_100, true)),
        ours("ours, last 30 s", || closed(LAST_30_S)),
        ours("ours, last 30 s, coarse", || {
            closed(LAST_30_S.clock(Clock::coarse()))
        }),
        ours("ours, last 30 s and metrics", || {
            closed(LAST_30_S.count_successes(true))
        }),
        ours("ours, last 30 s and metrics, coarse", || {
            closed(LAST_30_S.count_successes(true).clock(Clock::coarse()))
        }),
        ours("ours, refused", || open(RUN)),
        ours("ours, refused, coarse", || open(RUN.clock(Clock::coarse()))),
        ours("ours, refused, plain", || plain(RUN, false)),
        ours("ours, refused, plain, coarse", || {
            plain(RUN.clock(Clock::coarse()), false)
        }),
        ours("ours, stack of breaker and bulkhead", || {
            let stack = Stack::new()
                .breaker(BreakerLayer::new("bench", RUN))
                .bulkhead(8);
            service(stack.service(NoOp), true)
        }),
    ]
}

/// About as long as a call through a circuit, and nothing is shared: if two threads of this take
/// longer than one, the machine's processors share a core.
fn arithmetic(seed: u64) -> u64 {
    let mut lanes = [1, 2, 3, 4].map(|lane| seed ^ lane);
    for _ in 0..6 {
        lanes = lanes.map(|lane| {
            let mixed = black_box(lane).wrapping_mul(0x9E37_79B9_7F4A_7C15);
            mixed ^ (mixed >> 29)
        });
    }
    lanes.iter().fold(1, |sum, lane| sum | lane)
}

fn closed(config: BreakerConfig) -> Circuit {
    service(BreakerLayer::new("bench", config).layer(NoOp), true)
}

fn open(config: BreakerConfig) -> Circuit {
    let mut circuit = BreakerLayer::new("bench", config).layer(NoOp);
    fail(&mut circuit, 3);
    service(circuit, false)
}

/// Without tower and futures: what `failsafe` and `recloser` do.
fn plain(config: BreakerConfig, passes: bool) -> Circuit {
    let circuit = BreakerHandle::new("bench", config);
    if !passes {
        for _ in 0..3 {
            let _ = circuit.run(|| Err::<(), _>("down"));
        }
    }
    function(move |request| circuit.run(|| work(request)).is_ok(), passes)
}
