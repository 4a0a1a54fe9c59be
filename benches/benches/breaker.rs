//! What a call through a circuit costs, ours and its peers', in one run: see benches/README.md.

#![expect(clippy::print_stdout, reason = "the table is what it is for")]

mod breaker_cases;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};

use breaker_cases::{Case, Circuit, RUNTIME};
use criterion::Criterion;

/// Each case is measured so often, all cases in turn, so that a busy moment does not fall on one.
const ROUNDS: usize = 5;

const OUTPUT: &str = concat!(env!("CARGO_TARGET_TMPDIR"), "/breaker");

fn main() {
    metrics_exporter_prometheus::PrometheusBuilder::new()
        .install_recorder()
        .expect("no other recorder");
    // What an earlier run left would be taken for this one's.
    let _ = fs::remove_dir_all(OUTPUT);
    let mut criterion = Criterion::default()
        .output_directory(Path::new(OUTPUT))
        .warm_up_time(Duration::from_millis(100))
        .measurement_time(Duration::from_millis(400))
        .sample_size(20)
        .configure_from_args();
    let cases = breaker_cases::all();
    for round in 0..ROUNDS {
        for threads in [1, 2] {
            for case in &cases {
                let circuit = (case.circuit)();
                criterion.bench_function(&id(threads, case, round), |bencher| {
                    bencher.iter_custom(|calls| on_threads(threads, &circuit, calls));
                });
            }
        }
    }
    criterion.final_summary();
    table(&cases);
}

fn id(threads: usize, case: &Case, round: usize) -> String {
    format!("{threads}t {} {round}", case.name)
}

/// The time of the slowest of so many threads that each make so many calls at once.
fn on_threads(threads: usize, circuit: &Circuit, calls: u64) -> Duration {
    let start = Barrier::new(threads);
    let run = || {
        let _entered = RUNTIME.enter();
        let mut make = circuit();
        start.wait();
        let start = Instant::now();
        make(calls);
        start.elapsed()
    };
    if threads == 1 {
        return run();
    }
    thread::scope(|scope| {
        let running: Vec<_> = (0..threads).map(|_| scope.spawn(run)).collect();
        let ended = running
            .into_iter()
            .map(|thread| thread.join().expect("no panic"));
        ended.max().expect("a thread")
    })
}

/// The medians of the rounds of one case in ns a call, in order.
fn medians(threads: usize, case: &Case) -> Option<Vec<f64>> {
    let median = |round| {
        let path = Path::new(OUTPUT)
            .join(id(threads, case, round))
            .join("new/estimates.json");
        let estimates: serde_json::Value = serde_json::from_slice(&fs::read(path).ok()?).ok()?;
        estimates["median"]["point_estimate"].as_f64()
    };
    let mut medians = (0..ROUNDS).map(median).collect::<Option<Vec<f64>>>()?;
    medians.sort_by(f64::total_cmp);
    Some(medians)
}

fn table(cases: &[Case]) {
    println!(
        "\n| ns a call: median of {ROUNDS} (least–most) | one thread | × ours | two threads | × ours |"
    );
    println!("|---|---|---|---|---|");
    let measured: BTreeMap<_, _> = cases
        .iter()
        .flat_map(|case| [1, 2].map(|threads| ((threads, case.name), medians(threads, case))))
        .collect();
    for case in cases {
        print!("| {} |", case.name);
        for threads in [1, 2] {
            let of = |name| measured.get(&(threads, name)).and_then(Option::as_ref);
            let Some(medians) = of(case.name) else {
                print!(" | |");
                continue;
            };
            let middle = medians[ROUNDS / 2];
            print!(
                " {middle:.1} ({:.1}–{:.1}) |",
                medians[0],
                medians[ROUNDS - 1]
            );
            match of(case.equal) {
                Some(ours) if case.equal != case.name => {
                    print!(" {:.1} |", middle / ours[ROUNDS / 2]);
                }
                _ => print!(" |"),
            }
        }
        println!();
    }
}
