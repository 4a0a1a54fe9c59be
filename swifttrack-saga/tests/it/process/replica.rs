//! A worker process, as its parent sees it.

use std::ops::Range;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

pub(super) struct Replica {
    command: Command,
}

/// Killed with the value, also while it is stopped.
pub(super) struct Running {
    child: Child,
}

impl Replica {
    /// It appends the ids of the starts that came back to a file.
    pub(super) fn new(url: &str, acknowledged: &Path) -> Self {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command
            .args(["process::child", "--exact", "--nocapture"])
            .env("WORKER_URL", url)
            .env("WORKER_VERSIONS", "1")
            .env("WORKER_ACKNOWLEDGED", acknowledged)
            .stdin(Stdio::piped())
            .stdout(Stdio::null());
        Self { command }
    }

    pub(super) fn versions(mut self, versions: &str) -> Self {
        self.command.env("WORKER_VERSIONS", versions);
        self
    }

    /// Starts these sagas, one after another.
    pub(super) fn starts(mut self, version: u32, ids: Range<u32>) -> Self {
        let starts = format!("{version},{},{}", ids.start, ids.end);
        self.command.env("WORKER_STARTS", starts);
        self
    }

    /// Its steps and undos take so long.
    pub(super) fn steps_take(mut self, time: Duration) -> Self {
        let time = time.as_millis().to_string();
        self.command.env("WORKER_STEP_MS", time);
        self
    }

    /// Commits by a word of its own, since there is a hook.
    pub(super) fn hooked(mut self) -> Self {
        self.command.env("WORKER_HOOKED", "1");
        self
    }

    /// Stops inside a flush, ten sagas before the end.
    pub(super) fn freezes_itself(mut self) -> Self {
        self.command.env("WORKER_FREEZES", "1");
        self
    }

    pub(super) fn spawn(mut self) -> Running {
        let child = self.command.spawn().unwrap();
        Running { child }
    }
}

impl Running {
    /// Ends it.
    pub(super) fn signal(&mut self, name: &str) {
        kill(name, self.child.id());
        self.child.wait().unwrap();
    }

    /// Leaves it there.
    pub(super) fn signal_shared(&self, name: &str) {
        kill(name, self.child.id());
    }

    /// Asks it to leave, and waits until it has.
    pub(super) fn leave(&mut self) {
        drop(self.child.stdin.take());
        assert!(self.child.wait().unwrap().success());
    }

    pub(super) fn is_stopped(&self) -> bool {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id()));
        let stat = stat.unwrap_or_default();
        let state = stat
            .rsplit(')')
            .next()
            .and_then(|rest| rest.split_whitespace().next());
        state == Some("T")
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub(super) fn kill(signal: &str, process: u32) {
    let done = Command::new("kill")
        .args([format!("-{signal}"), process.to_string()])
        .status();
    assert!(done.unwrap().success(), "kill -{signal} {process}");
}
