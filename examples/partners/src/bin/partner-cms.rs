//! The contract system as a process of its own.

use std::process::ExitCode;

use partners::program::{Program, run};

fn main() -> ExitCode {
    let program = Program {
        name: "partner-cms",
        listen: "127.0.0.1:5001",
        user: Some(("CMS_USERNAME", "CMS_PASSWORD")),
        token: None,
        fleet: false,
    };
    run(program, partners::spawn_cms)
}
