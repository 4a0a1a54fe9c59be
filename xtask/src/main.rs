//! Sets up what the tests need and runs them.
//!
//! ```text
//!   cargo xtask test
//!     │
//!     ├─ services::postgres ─► TEST_DATABASE_URL  ┐
//!     ├─ services::kafka ────► TEST_KAFKA_BROKERS ┼─► cargo test --workspace
//!     │                   └──► TEST_KAFKA_JARS    ┘
//!     │
//!     └─ janitor: a child that holds the way to undo each thing that was started,
//!                 and does it when this process ends, however it ends
//! ```
//!
//! | module | what is in it |
//! |---|---|
//! | `args` | the command line |
//! | `services` | Postgres and Kafka, from what the machine has |
//! | `janitor` | what was started is stopped |
//! | `test` | `cargo xtask test` |
//! | `ignored` | which tests are left out for want of a service |
//! | `features` | the crates' features, and which of them this machine can build |
//! | `ci` | `cargo xtask ci`: every check of the project |
//! | `interop` | foreign SOAP and TLS stacks that speak to ours |
//! | `fuzz` | `cargo xtask fuzz` |
//! | `keep` | `cargo xtask up` and `down` |
//!
//! Everything here is std: it is built before the first test can run.
#![expect(
    clippy::print_stdout,
    reason = "a program for the command line speaks there"
)]

mod args;
mod ci;
mod features;
mod fuzz;
mod ignored;
mod interop;
mod janitor;
mod keep;
mod services;
mod shell;
mod test;

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

/// What failed, as one sentence for the person at the terminal.
type Result<T> = std::result::Result<T, String>;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let done = match arguments.split_first() {
        Some((verb, rest)) => match verb.as_str() {
            "test" => args::Options::parse(rest).and_then(|options| test::run(&options)),
            "ci" => ci::run(),
            "loom" => ci::loom(),
            "zeep" => interop::Programs::build().and_then(|programs| interop::zeep(&programs)),
            "npm-soap" => interop::npm_soap(),
            "tls" => interop::tls(),
            "fuzz" => fuzz::Options::parse(rest).and_then(|options| fuzz::run(&options)),
            "up" => args::Options::parse(rest).and_then(|options| keep::up(&options)),
            "down" => keep::down(),
            _ => Err(format!(
                "there is no `cargo xtask {verb}`\n\n{}",
                args::USAGE
            )),
        },
        None => Err(args::USAGE.to_owned()),
    };
    done.unwrap_or_else(|sentence| {
        eprintln!("{sentence}");
        ExitCode::from(2)
    })
}

/// Where everything that is made here lies: `xtask/` in cargo's target directory.
fn scratch() -> Result<PathBuf> {
    // This program is `<target>/debug/xtask`, whichever way the target directory was chosen.
    let program = std::env::current_exe().map_err(|error| format!("where am I? {error}"))?;
    let target = program
        .ancestors()
        .nth(2)
        .ok_or("this program is not in cargo's target directory")?;
    Ok(target.join("xtask"))
}

/// The folder of the workspace.
fn workspace() -> PathBuf {
    let xtask = Path::new(env!("CARGO_MANIFEST_DIR"));
    xtask.parent().unwrap_or(xtask).to_owned()
}

/// The cargo that runs this program, at work in the workspace.
fn cargo() -> Command {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.current_dir(workspace());
    command
}
