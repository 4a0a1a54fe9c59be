//! `cargo xtask fuzz`: each target for as long as it is worth.

use std::fs;
use std::process::{Command, ExitCode};

use crate::ci::step;
use crate::{Result, cargo, scratch, workspace};

/// Pinned, as every tool here.
const CARGO_FUZZ_VERSION: &str = "0.13.2";

/// The targets, and the minutes that each runs for: a state machine needs longer than a parser.
const TARGETS: [(&str, u64); 4] = [
    ("frames", 15),
    ("soap", 15),
    ("problem", 15),
    ("multiplexer", 60),
];

/// What was asked for.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Options {
    /// `None` is each target's own time.
    minutes: Option<u64>,
    /// None is all of them.
    targets: Vec<String>,
}

impl Options {
    pub(crate) fn parse(arguments: &[String]) -> Result<Self> {
        let mut options = Self::default();
        let mut rest = arguments.iter();
        while let Some(argument) = rest.next() {
            if argument == "--minutes" {
                // None would be for ever.
                let minutes = rest.next().and_then(|value| value.parse().ok());
                options.minutes = Some(
                    minutes
                        .filter(|minutes| *minutes > 0)
                        .ok_or("--minutes is a whole number above 0")?,
                );
            } else if TARGETS.iter().any(|(name, _)| name == argument) {
                options.targets.push(argument.clone());
            } else {
                let names = TARGETS.map(|(name, _)| name).join(", ");
                return Err(format!(
                    "{argument} is no target; there are {names}, and --minutes N"
                ));
            }
        }
        Ok(options)
    }

    fn chosen(&self) -> impl Iterator<Item = (&'static str, u64)> {
        TARGETS
            .into_iter()
            .filter(|(name, _)| {
                self.targets.is_empty() || self.targets.iter().any(|target| target == name)
            })
            .map(|(name, minutes)| (name, self.minutes.unwrap_or(minutes)))
    }
}

pub(crate) fn run(options: &Options) -> Result<ExitCode> {
    let program = tool()?;
    let fuzz = workspace().join("fuzz");
    for (target, minutes) in options.chosen() {
        // What is found on the way is kept here, and what is worth a name goes to `fuzz/corpus` by hand.
        let found = scratch()?.join("fuzz").join(target);
        fs::create_dir_all(&found).map_err(|error| format!("{}: {error}", found.display()))?;
        let mut command = Command::new(&program);
        command
            .args(["fuzz", "run", "--fuzz-dir"])
            .arg(&fuzz)
            .arg(target)
            .arg(&found)
            .arg(fuzz.join("corpus").join(target))
            .args(["--", "-print_final_stats=1"])
            .arg(format!("-max_total_time={}", minutes * 60))
            .current_dir(workspace())
            // It needs a nightly compiler, whatever this was built by.
            .env("RUSTUP_TOOLCHAIN", "nightly")
            .env_remove("CARGO_TARGET_DIR");
        step(&format!("fuzzing {target}, {minutes} min"), &mut command)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// cargo-fuzz, built once.
fn tool() -> Result<std::path::PathBuf> {
    let home = scratch()?.join(format!("cargo-fuzz-{CARGO_FUZZ_VERSION}"));
    let program = home.join("bin/cargo-fuzz");
    if !program.is_file() {
        let build = home.join("build");
        step(
            "cargo-fuzz, once",
            cargo()
                .args([
                    "install",
                    "cargo-fuzz",
                    "--locked",
                    "--version",
                    CARGO_FUZZ_VERSION,
                ])
                .arg("--root")
                .arg(&home)
                .env("CARGO_TARGET_DIR", &build),
        )?;
        let _ = fs::remove_dir_all(build);
    }
    Ok(program)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Options> {
        let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        Options::parse(&words)
    }

    #[test]
    fn each_target_has_its_own_time_unless_one_is_given() {
        let chosen = |line| parse(line).unwrap().chosen().collect::<Vec<_>>();
        assert_eq!(chosen(""), TARGETS);
        assert_eq!(chosen("soap --minutes 1"), [("soap", 1)]);
    }

    #[test]
    fn what_is_not_understood_is_named() {
        assert!(parse("sop").is_err_and(|sentence| sentence.contains("sop is no target")));
        assert!(parse("--minutes x").is_err());
        assert!(parse("--minutes 0").is_err());
    }
}
