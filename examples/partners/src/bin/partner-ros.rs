//! The route optimiser as a process of its own.

use std::process::ExitCode;

use partners::program::{Program, run};

fn main() -> ExitCode {
    let program = Program {
        name: "partner-ros",
        listen: "127.0.0.1:5003",
        user: None,
        token: Some("ROS_TOKEN"),
        fleet: true,
    };
    run(program, partners::spawn_ros)
}
