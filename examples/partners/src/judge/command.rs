//! `partners judge [flags] -- <command>`.

use std::fmt::Display;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::str::FromStr;
use std::time::Duration;

use super::plan::ORDERS_MAX;
use super::{JudgeError, Plan, Report, judge};

/// What to type.
pub const USAGE: &str = "partners judge [--seed N, default 1] [--orders N, default 200] \
[--gap-ms N, default 50] [--kills N, default 3] [--delay-ms N, default 5000] \
[--settle-s N, default 60] [--data DIR] -- <command that starts the service> [its arguments]";

/// Runs it with what was typed after `judge`.
///
/// Exit code 0: nothing found. 1: findings, or the service ended by itself. 2: no verdict.
pub async fn command(args: impl Iterator<Item = String>) -> ExitCode {
    let asked = match parse(args) {
        Ok(asked) => asked,
        Err(what) => return refuse(&what),
    };
    let data = asked.data.unwrap_or_else(|| {
        let name = format!("partners-judge-{}", std::process::id());
        std::env::temp_dir().join(name)
    });
    if let Err(source) = std::fs::create_dir_all(&data) {
        return refuse(&JudgeError::new("make the folder for the ledgers", source));
    }
    match judge(&asked.plan, &asked.command, &data).await {
        Ok(report) => told(&report, &data),
        Err(error) => refuse(&format!(
            "{error} (its output: {}/service.log)",
            data.display()
        )),
    }
}

fn told(report: &Report, data: &Path) -> ExitCode {
    let _ = writeln!(std::io::stdout(), "{report}");
    if !report.is_clean() {
        return ExitCode::FAILURE;
    }
    // A folder that stays is only in the way.
    let _ = std::fs::remove_dir_all(data);
    ExitCode::SUCCESS
}

fn refuse(what: &dyn Display) -> ExitCode {
    let _ = writeln!(std::io::stderr(), "partners judge: {what}");
    ExitCode::from(2)
}

#[derive(Debug)]
struct Asked {
    plan: Plan,
    data: Option<PathBuf>,
    command: Vec<String>,
}

fn parse(mut args: impl Iterator<Item = String>) -> Result<Asked, String> {
    let mut plan = Plan::default();
    let mut data = None;
    while let Some(flag) = args.next() {
        if flag == "--" {
            let command: Vec<String> = args.collect();
            if command.is_empty() {
                break;
            }
            return Ok(Asked {
                plan,
                data,
                command,
            });
        }
        let mut value = || args.next().ok_or_else(|| format!("{flag} needs a value"));
        plan = match flag.as_str() {
            "--seed" => plan.seed(number(&flag, &value()?)?),
            "--orders" => match number(&flag, &value()?)? {
                orders @ 1..=ORDERS_MAX => plan.orders(orders),
                _ => return Err(format!("--orders is 1 to {ORDERS_MAX}")),
            },
            "--gap-ms" => plan.gap(Duration::from_millis(number(&flag, &value()?)?)),
            "--kills" => plan.kills(number(&flag, &value()?)?),
            "--delay-ms" => match number(&flag, &value()?)? {
                ms @ 1..=600_000 => plan.delay_max(Duration::from_millis(ms)),
                _ => return Err("--delay-ms is 1 to 600000".to_owned()),
            },
            "--settle-s" => plan.settle(Duration::from_secs(number(&flag, &value()?)?)),
            "--data" => {
                data = Some(PathBuf::from(value()?));
                plan
            }
            _ => return Err(format!("there is no {flag}; {USAGE}")),
        };
    }
    Err(format!("no command was given; {USAGE}"))
}

fn number<T: FromStr>(flag: &str, value: &str) -> Result<T, String> {
    value
        .parse()
        .map_err(|_| format!("{flag} is a whole number, not {value:?}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(args: &str) -> Result<Asked, String> {
        parse(args.split_whitespace().map(str::to_owned))
    }

    #[test]
    fn what_comes_after_the_dashes_is_the_command() {
        let asked = parsed("--seed 7 --orders 10 -- cargo run -- --seed 8").unwrap();
        assert_eq!(asked.plan, Plan::default().seed(7).orders(10));
        assert_eq!(asked.command, ["cargo", "run", "--", "--seed", "8"]);
    }

    #[test]
    fn what_makes_no_sense_is_named() {
        for (args, what) in [
            ("", "no command"),
            ("--", "no command"),
            ("--orders 0 -- x", "--orders"),
            ("--delay-ms 0 -- x", "--delay-ms"),
            ("--seed", "needs a value"),
            ("--seed x -- y", "whole number"),
            ("cargo run", "there is no cargo"),
        ] {
            let error = parsed(args).unwrap_err();
            assert!(error.contains(what), "{args}: {error}");
        }
    }
}
