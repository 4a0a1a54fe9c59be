//! What was started is stopped, however this process ends.

use std::io::Write;
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStdin, Command, Stdio};

use crate::Result;

/// Holds a list of lines of `sh` until its input ends, then runs them, last first.
const SCRIPT: &str = r#"
while IFS= read -r line; do
    case "$line" in
        forget) undo= ;;
        *) undo="$line
$undo" ;;
    esac
done
eval "$undo"
"#;

/// A child process that undoes what this one has started.
///
/// It waits for the end of a pipe whose other end is here. The pipe ends when the value is
/// dropped, and it ends just so when this process panics, is interrupted or is killed with
/// `kill -9`: there is one way to clean up, and it is taken every time.
#[derive(Debug)]
pub(crate) struct Janitor {
    child: Child,
    /// `None` only while it is dropped.
    pipe: Option<ChildStdin>,
    lines: Vec<String>,
}

impl Janitor {
    pub(crate) fn start() -> Result<Self> {
        let mut child = Command::new("sh")
            .args(["-c", SCRIPT])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            // Out of the terminal's foreground group, so that ctrl-c ends this process and
            // not its janitor.
            .process_group(0)
            .spawn()
            .map_err(|error| format!("sh does not start: {error}"))?;
        let pipe = child.stdin.take();
        Ok(Self {
            child,
            pipe,
            lines: Vec::new(),
        })
    }

    /// Has a line of `sh` run at the end, before those that were handed over earlier.
    pub(crate) fn at_end(&mut self, line: String) -> Result<()> {
        self.tell(&line)?;
        self.lines.push(line);
        Ok(())
    }

    /// Leaves everything as it is, once `save` has put by the lines that undo it, in the order
    /// in which they are to be run.
    pub(crate) fn keep(mut self, save: impl FnOnce(&[String]) -> Result<()>) -> Result<()> {
        self.lines.reverse();
        save(&self.lines)?;
        self.tell("forget")
    }

    fn tell(&mut self, line: &str) -> Result<()> {
        assert!(!line.contains('\n'), "one line at a time: {line:?}");
        let pipe = self.pipe.as_mut().ok_or("the janitor has gone")?;
        writeln!(pipe, "{line}").map_err(|error| format!("the janitor has gone: {error}"))
    }
}

impl Drop for Janitor {
    fn drop(&mut self) {
        drop(self.pipe.take());
        let _ = self.child.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shell::{output, quote};

    #[test]
    fn everything_is_undone_last_first() {
        let log = std::env::temp_dir().join(format!("janitor-undo-{}", std::process::id()));
        let mut janitor = Janitor::start().unwrap();
        for word in ["first", "second"] {
            janitor
                .at_end(format!("echo {word} >>{}", quote(&log)))
                .unwrap();
        }
        assert!(!log.exists());
        drop(janitor);
        assert_eq!(std::fs::read_to_string(&log).unwrap(), "second\nfirst\n");
        std::fs::remove_file(log).unwrap();
    }

    #[test]
    fn what_is_kept_is_not_undone() {
        let log = std::env::temp_dir().join(format!("janitor-keep-{}", std::process::id()));
        let mut janitor = Janitor::start().unwrap();
        janitor
            .at_end(format!("echo first >>{}", quote(&log)))
            .unwrap();
        let mut script = String::new();
        janitor
            .keep(|lines| {
                script = lines.join("\n");
                Ok(())
            })
            .unwrap();
        assert!(!log.exists());
        output(Command::new("sh").args(["-c", &script])).unwrap();
        assert_eq!(std::fs::read_to_string(&log).unwrap(), "first\n");
        std::fs::remove_file(log).unwrap();
    }
}
