//! `cargo xtask up` and `down`: the services, kept running between two runs of the tests.

use std::fs;
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Command, ExitCode};

use crate::args::Options;
use crate::janitor::Janitor;
use crate::services::Services;
use crate::shell::{output, quote};
use crate::{Result, scratch};

/// What `down` runs.
const UNDO: &str = "down.sh";
/// What `up` printed.
const EXPORTS: &str = "exports.sh";

pub(crate) fn up(options: &Options) -> Result<ExitCode> {
    let folder = folder()?;
    if let Ok(exports) = fs::read_to_string(folder.join(EXPORTS)) {
        if all_answer(&exports) {
            eprintln!("these are up already; `cargo xtask down` stops them");
            print!("{exports}");
            return Ok(ExitCode::SUCCESS);
        }
        // They ended in some other way, with the machine for example.
        down()?;
    }
    let mut janitor = Janitor::start()?;
    let services = Services::provide(options, &mut janitor)?;
    let mut exports = String::new();
    for service in services.available() {
        eprintln!("{}", service.origin);
        exports += &format!("export {}={}\n", service.variable, quote(&service.address));
    }
    for why in [&services.postgres, &services.kafka]
        .into_iter()
        .filter_map(|s| s.as_ref().err())
    {
        eprintln!("{why}");
    }
    let write = |name: &str, text: &str| {
        let file = folder.join(name);
        fs::create_dir_all(&folder)
            .and_then(|()| fs::write(&file, text))
            .map_err(|error| format!("{}: {error}", file.display()))
    };
    write(EXPORTS, &exports)?;
    // From here on `down` undoes it; if that cannot be written, the janitor does it now.
    janitor.keep(|undo| write(UNDO, &undo.join("\n")))?;
    print!("{exports}");
    Ok(ExitCode::SUCCESS)
}

pub(crate) fn down() -> Result<ExitCode> {
    let folder = folder()?;
    let undo = folder.join(UNDO);
    if !undo.is_file() {
        return Err("nothing is up".to_owned());
    }
    // Its exit code is that of its last line, which may have had nothing left to do.
    let _ = output(Command::new("sh").arg(undo));
    fs::remove_dir_all(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    Ok(ExitCode::SUCCESS)
}

fn all_answer(exports: &str) -> bool {
    exports
        .split(['@', '/', ',', '\''])
        .filter(|part| part.starts_with("127.0.0.1:"))
        .all(|address| TcpStream::connect(address).is_ok())
}

fn folder() -> Result<PathBuf> {
    Ok(scratch()?.join("up"))
}
