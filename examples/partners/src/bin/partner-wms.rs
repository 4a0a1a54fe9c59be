//! The warehouse as a process of its own.

use std::process::ExitCode;

use partners::program::{Program, run};

fn main() -> ExitCode {
    let program = Program {
        name: "partner-wms",
        listen: "127.0.0.1:5002",
        user: None,
        token: Some("WMS_TOKEN"),
        fleet: false,
    };
    run(program, partners::spawn_wms)
}
