//! What does not depend on how busy the machine is: the allocations and the instructions of a call
//! through a circuit, ours and its peers'. See benches/README.md.

#![expect(clippy::print_stdout, reason = "the table is what it is for")]

mod breaker_cases;

use std::collections::BTreeMap;
use std::env;
use std::process::Command;

use breaker_cases::{Case, RUNTIME};

const CALLS: u64 = 10_000;
/// Before what is counted: a first call may set up what later ones use.
const WARM_UP: u64 = 1000;

/// How the program calls itself under callgrind: `--make CASE CALLS`.
const MAKE: &str = "--make";

fn main() {
    let _entered = RUNTIME.enter();
    let args: Vec<String> = env::args().collect();
    let cases = breaker_cases::all();
    if let [_, make, name, calls] = args.as_slice()
        && make == MAKE
    {
        let case = cases.iter().find(|case| case.name == name).expect("a case");
        let circuit = (case.circuit)();
        circuit()(calls.parse().expect("a number"));
        return;
    }

    // Not above: it measures the speed of the machine, in more instructions on one run than another.
    metrics_exporter_prometheus::PrometheusBuilder::new()
        .install_recorder()
        .expect("no other recorder");
    println!("| a call | allocations | instructions | × ours |\n|---|---|---|---|");
    let counted: BTreeMap<_, _> = cases.iter().map(|case| (case.name, count(case))).collect();
    for case in &cases {
        let (allocations, instructions) = counted[case.name];
        let ours = counted[case.equal].1;
        let ratio = (case.equal != case.name).then_some(instructions / ours);
        let whole = |number: f64| {
            if number.is_nan() {
                String::new()
            } else {
                format!("{number:.0}")
            }
        };
        let ratio = ratio.map_or_else(String::new, |ratio| format!("{ratio:.1}"));
        println!(
            "| {} | {allocations} | {} | {ratio} |",
            case.name,
            whole(instructions)
        );
    }
}

/// The allocations of a call, and its instructions: not a number where callgrind cannot follow.
fn count(case: &Case) -> (f64, f64) {
    let circuit = (case.circuit)();
    let mut make = circuit();
    make(WARM_UP);
    let allocations = allocation_counter::measure(|| make(CALLS)).count_total;
    let per_call = |all: u64| all as f64 / CALLS as f64;
    let with = instructions(case.name, WARM_UP + CALLS);
    let instructions = with.zip(instructions(case.name, WARM_UP));
    (
        per_call(allocations),
        instructions.map_or(f64::NAN, |(with, without)| per_call(with - without)),
    )
}

/// All the instructions of a process that makes so many calls.
fn instructions(case: &str, calls: u64) -> Option<u64> {
    let told = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(env::current_exe().ok()?)
        .args([MAKE, case, &calls.to_string()])
        .output()
        .ok()
        .filter(|told| told.status.success())?;
    String::from_utf8_lossy(&told.stderr)
        .lines()
        .find_map(|line| line.split_once("Collected :")?.1.trim().parse().ok())
}
