//! `cargo xtask test`: provides the services, runs cargo's tests, says what ran on what.

use std::io::{BufRead, BufReader, IsTerminal, PipeReader, Write};
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode, Stdio};

use crate::args::Options;
use crate::features::{self, CRATES};
use crate::ignored::LeftOut;
use crate::janitor::Janitor;
use crate::services::Services;
use crate::{Result, cargo};

pub(crate) fn run(options: &Options) -> Result<ExitCode> {
    let mut janitor = Janitor::start()?;
    let services = Services::provide(options, &mut janitor)?;
    let left_out = LeftOut::without(&services)?;

    let mut tests = match options.packages[..] {
        [] => all()?,
        _ => chosen(&options.packages)?,
    };
    tests
        .arg("--no-fail-fast")
        .arg("--")
        .args(left_out.arguments())
        .args(&options.test_args);
    for service in services.available() {
        eprintln!(
            "{}={}  ({})",
            service.variable, service.address, service.origin
        );
        tests.env(service.variable, &service.address);
    }

    if let Some(seeds) = options.simulation_seeds {
        tests.env("SIMULATION_SEEDS", seeds.to_string());
    }

    let (passed, summary) = watch(tests, &mut janitor)?;
    report(&services, &left_out, &summary);
    Ok(passed)
}

/// Every test of the workspace.
pub(crate) fn all() -> Result<Command> {
    let mut tests = cargo();
    tests
        .args(["test", "--workspace", "--exclude", "benches"])
        // All features: some tests are there only with one, such as the laws of a store.
        .args(features::all(CRATES)?);
    Ok(tests)
}

fn chosen(packages: &[String]) -> Result<Command> {
    let mut tests = cargo();
    tests
        .arg("test")
        .args(features::all(packages.iter().map(String::as_str))?);
    for package in packages {
        tests.args(["--package", package]);
    }
    Ok(tests)
}

/// Which tests ran on what, then cargo's own lines about them once more: a workspace has many
/// test programs, and the one that failed may be far above.
fn report(services: &Services, left_out: &LeftOut, summary: &[String]) {
    println!();
    match &services.postgres {
        Ok(postgres) => println!("Ran on {}.", postgres.origin),
        Err(why) => println!("{why} Left out: {} tests.", left_out.postgres),
    }
    match &services.kafka {
        Ok(kafka) => println!("Ran on {}.", kafka.origin),
        Err(why) => println!(
            "{why} Left out: {} tests. On the in-process broker instead: {}.",
            left_out.kafka, left_out.in_process
        ),
    }
    if let Err(why) = &services.kafka_jars {
        println!(
            "No Kafka for tests that stop it: {why}. Left out: {} tests.",
            left_out.kafka_jars
        );
    }
    if let Some(left_out) = features::left_out() {
        println!("{left_out}");
    }
    println!();
    for line in summary {
        println!("{line}");
    }
}

/// Runs cargo, shows what it says, and returns its exit code and its summary.
fn watch(mut tests: Command, janitor: &mut Janitor) -> Result<(ExitCode, Vec<String>)> {
    let failed = |error| format!("cargo test does not start: {error}");
    // One pipe for both streams keeps their lines in order.
    let (from_cargo, to_us) = std::io::pipe().map_err(failed)?;
    if std::io::stdout().is_terminal() {
        tests.env("CARGO_TERM_COLOR", "always");
    }
    let mut child = tests
        .stdin(Stdio::null())
        .stdout(to_us.try_clone().map_err(failed)?)
        .stderr(to_us)
        .process_group(0)
        .spawn()
        .map_err(failed)?;
    // The command holds the writing ends; the pipe ends only when they are closed.
    drop(tests);
    janitor.at_end(format!("kill -s TERM -- -{} 2>/dev/null", child.id()))?;
    let summary = relay(from_cargo);
    let status = child
        .wait()
        .map_err(|error| format!("cargo test: {error}"))?;
    let code = status
        .code()
        .and_then(|code| u8::try_from(code).ok())
        .unwrap_or(1);
    Ok((ExitCode::from(code), summary))
}

/// Prints each line as it comes, and keeps those that summarize.
fn relay(lines: PipeReader) -> Vec<String> {
    let mut summary = Summary::default();
    let mut lines = BufReader::new(lines);
    let mut line = Vec::new();
    let mut screen = std::io::stdout();
    while lines
        .read_until(b'\n', &mut line)
        .is_ok_and(|bytes| 0 < bytes)
    {
        // A screen that has gone away is no reason to stop the tests.
        let _ = screen.write_all(&line).and_then(|()| screen.flush());
        summary.note(String::from_utf8_lossy(&line).trim_end());
        line.clear();
    }
    summary.lines
}

/// What cargo said about each test program, without those that have no test.
#[derive(Debug, Default)]
struct Summary {
    lines: Vec<String>,
    program: String,
    failures: Vec<String>,
}

impl Summary {
    fn note(&mut self, line: &str) {
        let text = plain(line);
        if text.trim_start().starts_with("Running ") || text.trim_start().starts_with("Doc-tests ")
        {
            self.program = line.to_owned();
        } else if text.starts_with("test ") && text.ends_with("FAILED") {
            self.failures.push(line.to_owned());
        } else if text.starts_with("test result: ") {
            if !text.contains("0 passed; 0 failed; 0 ignored") {
                self.lines.push(std::mem::take(&mut self.program));
                self.lines.append(&mut self.failures);
                self.lines.push(line.to_owned());
            }
        } else if text.starts_with("error: ") {
            self.lines.push(line.to_owned());
        }
    }
}

/// The text without its colours.
fn plain(line: &str) -> String {
    let mut parts = line.split('\x1b');
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |text, part| {
        text + part.split_once('m').map_or("", |(_, rest)| rest)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_summary_names_what_failed_and_leaves_out_the_empty() {
        let mut summary = Summary::default();
        for line in [
            "     Running unittests src/main.rs (target/debug/deps/a-1)",
            "test result: ok. 0 passed; 0 failed; 0 ignored; 0 measured",
            "\x1b[1m\x1b[92m     Running\x1b[0m tests/it/main.rs (target/debug/deps/it-2)",
            "test undo::last_first ... ok",
            "test undo::once ... FAILED",
            "test result: \x1b[31mFAILED\x1b[m. 1 passed; 1 failed; 0 ignored; 0 measured",
            "error: 1 target failed:",
        ] {
            summary.note(line);
        }
        let lines: Vec<String> = summary.lines.iter().map(|line| plain(line)).collect();
        assert_eq!(
            lines,
            [
                "     Running tests/it/main.rs (target/debug/deps/it-2)",
                "test undo::once ... FAILED",
                "test result: FAILED. 1 passed; 1 failed; 0 ignored; 0 measured",
                "error: 1 target failed:",
            ]
        );
    }
}
