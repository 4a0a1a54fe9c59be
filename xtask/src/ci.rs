//! `cargo xtask ci`: every check of the project, in the order in which a failure is cheapest.

use std::fs;
use std::process::{Command, ExitCode};
use std::time::Instant;

use crate::args::Options;
use crate::features::{self, CRATES};
use crate::{Result, cargo, interop, scratch, test, workspace};

const SIMULATION_SEEDS: u32 = 10_000;

/// Pinned, so that a check does not change while the project stays the same.
const CARGO_DENY_VERSION: &str = "0.20.2";

pub(crate) fn run() -> Result<ExitCode> {
    if let Some(left_out) = features::left_out() {
        println!("{left_out}");
    }
    step("formatting", cargo().args(["fmt", "--all", "--check"]))?;
    step(
        "clippy",
        cargo()
            .args(["clippy", "--workspace", "--all-targets"])
            .args(["--", "--deny", "warnings"]),
    )?;
    for name in CRATES {
        alone(name)?;
    }
    step(
        "docs",
        cargo()
            .args(["doc", "--workspace", "--exclude", "benches", "--no-deps"])
            .args(features::all(CRATES)?)
            .env("RUSTDOCFLAGS", "--deny warnings"),
    )?;
    step("licences, bans, sources", &mut deny()?)?;
    loom()?;
    // All that the tests will need, so that the partners are built no second time.
    step("tests, built", test::all()?.arg("--no-run"))?;
    interop::zeep(&interop::Programs::built()?)?;
    println!("\n== tests");
    test::run(&Options {
        require_postgres: true,
        require_kafka: true,
        simulation_seeds: Some(SIMULATION_SEEDS),
        ..Options::default()
    })
}

/// The models of the breaker's core, under every schedule of their threads.
pub(crate) fn loom() -> Result<ExitCode> {
    step(
        "loom",
        cargo()
            .args([
                "test",
                "--package",
                "swifttrack-breaker",
                "--release",
                "--lib",
                "models",
            ])
            .env("RUSTFLAGS", "--cfg loom")
            // Apart: the flag rebuilds every crate beneath.
            .env("CARGO_TARGET_DIR", scratch()?.join("loom")),
    )?;
    Ok(ExitCode::SUCCESS)
}

pub(crate) fn step(name: &str, command: &mut Command) -> Result<()> {
    println!("\n== {name}");
    let started = Instant::now();
    let status = command
        .status()
        .map_err(|error| format!("{name}: {error}"))?;
    println!("== {name}: {} s", started.elapsed().as_secs());
    if status.success() {
        Ok(())
    } else {
        Err(format!("{name} failed"))
    }
}

/// A crate by itself, with none of its features and with each of them: what the workspace has
/// switched on for its neighbours is off here.
fn alone(name: &str) -> Result<()> {
    let mut choices = vec![String::new()];
    choices.extend(features::of(name)?);
    for feature in choices {
        step(
            &format!("{name} alone, features [{feature}]"),
            cargo()
                .args([
                    "clippy",
                    "--quiet",
                    "--package",
                    name,
                    "--lib",
                    "--no-default-features",
                ])
                .args(["--features", &feature])
                .args(["--", "--deny", "warnings"]),
        )?;
    }
    Ok(())
}

/// cargo-deny without the advisories, whose database needs a network.
fn deny() -> Result<Command> {
    let home = scratch()?.join(format!("cargo-deny-{CARGO_DENY_VERSION}"));
    let program = home.join("bin/cargo-deny");
    if !program.is_file() {
        let build = home.join("build");
        step(
            "cargo-deny, once",
            cargo()
                .args([
                    "install",
                    "cargo-deny",
                    "--locked",
                    // It reads a few files: the optimizer costs more than it saves.
                    "--debug",
                    "--version",
                    CARGO_DENY_VERSION,
                ])
                .arg("--root")
                .arg(&home)
                .env("CARGO_TARGET_DIR", &build),
        )?;
        // Hundreds of megabytes that nothing needs again.
        let _ = fs::remove_dir_all(build);
    }
    let mut deny = Command::new(program);
    deny.args(["check", "bans", "licenses", "sources"])
        .current_dir(workspace());
    Ok(deny)
}
