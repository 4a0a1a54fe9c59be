//! What the partners are for beside being called: judging those who call them.

use std::io::Write;
use std::process::ExitCode;

use partners::judge::{USAGE, command};

#[tokio::main]
async fn main() -> ExitCode {
    let mut args = std::env::args().skip(1);
    match args.next().as_deref() {
        Some("judge") => command(args).await,
        Some("--help" | "-h" | "help") => {
            let _ = writeln!(std::io::stdout(), "{USAGE}");
            ExitCode::SUCCESS
        }
        _ => {
            let _ = writeln!(std::io::stderr(), "{USAGE}");
            ExitCode::from(2)
        }
    }
}
