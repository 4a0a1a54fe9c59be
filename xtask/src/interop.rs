//! Foreign stacks that speak to ours: `cargo xtask zeep`, `npm-soap` and `tls`.
//!
//! The scripts beside the partners start what they talk to; here they get their programs and packages.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use crate::ci::step;
use crate::shell::{find, output};
use crate::{Result, cargo, scratch, workspace};

/// The partners' programs and the client that asks them, built.
#[derive(Debug)]
pub(crate) struct Programs(PathBuf);

impl Programs {
    /// Builds them.
    pub(crate) fn build() -> Result<Self> {
        step(
            "the partners",
            cargo().args([
                "build",
                "--package",
                "partners",
                "--bins",
                "--example",
                "ask",
            ]),
        )?;
        Self::built()
    }

    /// Those that are built already, with all tests.
    pub(crate) fn built() -> Result<Self> {
        // This program is one of them: `<target>/debug/xtask`.
        let program = std::env::current_exe().map_err(|error| format!("where am I? {error}"))?;
        let folder = program.parent().ok_or("this program is in no folder")?;
        Ok(Self(folder.to_owned()))
    }

    fn partner(&self, name: &str) -> PathBuf {
        self.0.join(format!("partner-{name}"))
    }

    fn ask(&self) -> PathBuf {
        self.0.join("examples/ask")
    }
}

/// Python's zeep, strict, with a client that it makes from our WSDL.
pub(crate) fn zeep(programs: &Programs) -> Result<ExitCode> {
    let wanted = scripts().join("requirements.txt");
    let packages = installed("zeep", &wanted, |folder| {
        let mut pip = Command::new(python()?);
        pip.args([
            "-m",
            "pip",
            "install",
            "--quiet",
            "--disable-pip-version-check",
        ])
        .arg("--target")
        .arg(folder)
        .arg("--requirement")
        .arg(&wanted);
        Ok(pip)
    })?;
    let mut check = script(python()?, "check_zeep.py");
    check
        .arg(programs.partner("cms"))
        .env("PYTHONPATH", packages);
    step("zeep", &mut check)?;
    Ok(ExitCode::SUCCESS)
}

/// npm's `soap`, as a client of ours and as a server to ours.
pub(crate) fn npm_soap() -> Result<ExitCode> {
    let programs = Programs::build()?;
    let wanted = scripts().join("package.json");
    let modules = installed("npm-soap", &wanted, |folder| {
        fs::copy(&wanted, folder.join("package.json"))
            .map_err(|error| format!("{}: {error}", folder.display()))?;
        let mut npm = Command::new(tool("npm")?);
        npm.args(["install", "--no-audit", "--no-fund", "--prefix"])
            .arg(folder);
        Ok(npm)
    })?;
    let mut check = script(tool("node")?, "check_soap.mjs");
    check
        .arg(modules)
        .arg(programs.partner("cms"))
        .arg(programs.ask());
    step("npm's soap", &mut check)?;
    Ok(ExitCode::SUCCESS)
}

/// OpenSSL in front of the partners, and our clients on the other side.
pub(crate) fn tls() -> Result<ExitCode> {
    let programs = Programs::build()?;
    tool("openssl")?;
    let mut check = script(python()?, "check_tls.py");
    check.arg(&programs.0).arg(programs.ask());
    step("TLS", &mut check)?;
    Ok(ExitCode::SUCCESS)
}

fn scripts() -> PathBuf {
    workspace().join("examples/partners/interop")
}

fn script(interpreter: PathBuf, name: &str) -> Command {
    let mut command = Command::new(interpreter);
    // Python would leave its bytecode beside the sources.
    command
        .arg(scripts().join(name))
        .env("PYTHONDONTWRITEBYTECODE", "1");
    command
}

fn python() -> Result<PathBuf> {
    tool("python3")
}

fn tool(name: &str) -> Result<PathBuf> {
    find(name).ok_or_else(|| format!("this needs {name}, which is not on the PATH"))
}

/// The folder with what `wanted` names, made by `install` unless it is there already.
fn installed(
    name: &str,
    wanted: &Path,
    install: impl FnOnce(&Path) -> Result<Command>,
) -> Result<PathBuf> {
    let failed = |error: std::io::Error| format!("{name}: {error}");
    let list = fs::read(wanted).map_err(failed)?;
    let folder = scratch()?.join(name);
    // Written last: what was broken off is done anew.
    let done = folder.join("installed");
    if fs::read(&done).is_ok_and(|before| before == list) {
        return Ok(folder);
    }
    if folder.exists() {
        fs::remove_dir_all(&folder).map_err(failed)?;
    }
    fs::create_dir_all(&folder).map_err(failed)?;
    println!("\n== {name}, once");
    output(&mut install(&folder)?)?;
    fs::write(&done, list).map_err(failed)?;
    Ok(folder)
}
