//! Running other programs.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::Result;

/// Runs a program and returns what it printed, or one sentence with the last that it said.
pub(crate) fn output(command: &mut Command) -> Result<String> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("{name} does not start: {error}"))?;
    // Some programs, `java -version` among them, speak on stderr only.
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
    let said = format!("{}\n{}", text(&output.stdout), text(&output.stderr))
        .trim()
        .to_owned();
    if output.status.success() {
        Ok(said)
    } else {
        Err(format!(
            "{name} failed ({}): {}",
            output.status,
            tail(&said)
        ))
    }
}

/// The last lines of a log, for a sentence about why a program ended.
pub(crate) fn tail(log: &str) -> String {
    const LINES_MAX: usize = 8;
    let lines: Vec<&str> = log.lines().collect();
    lines[lines.len().saturating_sub(LINES_MAX)..].join("\n")
}

/// Where a program is on the PATH.
pub(crate) fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path)
        .map(|dir| dir.join(program))
        .find(|file| file.is_file())
}

/// A word as `sh` reads it.
pub(crate) fn quote(word: impl AsRef<OsStr>) -> String {
    format!(
        "'{}'",
        word.as_ref().to_string_lossy().replace('\'', r"'\''")
    )
}

/// The line of `sh` that ends a process, if it is still the one that was started: its command
/// line contains `mark`.
pub(crate) fn stop_line(pid: u32, signal: &str, mark: &Path) -> String {
    let mark = quote(mark);
    format!(
        "{{ tr '\\0' ' ' </proc/{pid}/cmdline || ps -o args= -p {pid}; }} 2>/dev/null \
         | grep -qF {mark} && kill -s {signal} {pid} 2>/dev/null"
    )
}

/// The line of `sh` that removes a folder, also one into which a process that is about to end
/// still writes.
pub(crate) fn remove_line(folder: &Path) -> String {
    let folder = quote(folder);
    format!(
        "tries=0; until rm -rf {folder} 2>/dev/null || [ $tries -ge 100 ]; \
         do tries=$((tries+1)); sleep 0.1; done"
    )
}

/// Whether the user of this process is root.
pub(crate) fn is_root() -> bool {
    output(Command::new("id").arg("-u")).is_ok_and(|uid| uid == "0")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quoted_word_is_one_word() {
        let word = "it's $HOME; `id`";
        let mut echo = Command::new("sh");
        echo.arg("-c").arg(format!("printf %s {}", quote(word)));
        assert_eq!(output(&mut echo), Ok(word.to_owned()));
    }

    #[test]
    fn a_failure_says_what_the_program_said() {
        let failed = output(Command::new("sh").args(["-c", "echo no disk >&2; exit 3"]));
        assert!(failed.is_err_and(|sentence| sentence.contains("no disk")));
    }
}
