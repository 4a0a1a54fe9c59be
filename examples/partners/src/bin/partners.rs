//! What the partners are for beside being called: judging those who call them, and a look at this machine.

use std::io::Write;
use std::process::ExitCode;

use partners::{judge, load};

#[tokio::main]
async fn main() -> ExitCode {
    let mut args = std::env::args().skip(1);
    let usage = format!("{}\n{}", judge::USAGE, load::USAGE);
    match args.next().as_deref() {
        Some("judge") => judge::command(args).await,
        Some("load") => {
            let print = |measured: &load::Measured| {
                let _ = writeln!(std::io::stdout(), "{measured}");
            };
            match load::command(args, print).await {
                Ok(()) => ExitCode::SUCCESS,
                Err(what) => refuse(&format!("partners load: {what}")),
            }
        }
        Some("--help" | "-h" | "help") => {
            let _ = writeln!(std::io::stdout(), "{usage}");
            ExitCode::SUCCESS
        }
        _ => refuse(&usage),
    }
}

fn refuse(what: &str) -> ExitCode {
    let _ = writeln!(std::io::stderr(), "{what}");
    ExitCode::from(2)
}
