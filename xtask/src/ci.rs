//! `cargo xtask ci`: every check of the project, in the order in which a failure is cheapest.

use std::process::{Command, ExitCode};
use std::time::Instant;

use crate::args::Options;
use crate::{Result, cargo, scratch, test};

/// Pinned, so that a check does not change while the project stays the same.
const CARGO_DENY_VERSION: &str = "0.20.2";

pub(crate) fn run() -> Result<ExitCode> {
    step("formatting", cargo().args(["fmt", "--all", "--check"]))?;
    step(
        "clippy",
        cargo()
            .args([
                "clippy",
                "--workspace",
                "--exclude",
                "benches",
                "--all-targets",
            ])
            .args(["--", "--deny", "warnings"]),
    )?;
    step(
        "docs",
        cargo()
            .args(["doc", "--workspace", "--exclude", "benches", "--no-deps"])
            .env("RUSTDOCFLAGS", "--deny warnings"),
    )?;
    step("licences, bans, sources", &mut deny()?)?;
    println!("\n== tests");
    test::run(&Options {
        require_postgres: true,
        require_kafka: true,
        ..Options::default()
    })
}

fn step(name: &str, command: &mut Command) -> Result<()> {
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
                    "--version",
                    CARGO_DENY_VERSION,
                ])
                .arg("--root")
                .arg(&home)
                .env("CARGO_TARGET_DIR", &build),
        )?;
        // Hundreds of megabytes that nothing needs again.
        let _ = std::fs::remove_dir_all(build);
    }
    let mut deny = Command::new(program);
    deny.args(["check", "bans", "licenses", "sources"])
        .current_dir(crate::workspace());
    Ok(deny)
}
