//! A client in another language, written from the description of the wire alone.

use std::path::Path;
use std::process::{Command, Stdio};

/// Its programs start the service in an empty folder with nothing configured, on the usual ports.
#[test]
fn a_client_written_from_the_description_alone_agrees() {
    let python = Command::new("python3")
        .args(["-c", "import sys; sys.exit(sys.version_info < (3, 9))"])
        .stderr(Stdio::null())
        .status();
    if !python.is_ok_and(|status| status.success()) {
        eprintln!("left out, since there is no Python 3.9 or later here");
        return;
    }
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/outsider");
    let ended = Command::new("python3")
        .args(["-B", "-m", "unittest", "-v"])
        .current_dir(folder)
        .env("ORDER_SERVICE", env!("CARGO_BIN_EXE_order-service"))
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&ended.stderr);
    assert!(ended.status.success(), "{said}");
    // What it left out, such as for a port that is taken, is worth a word.
    for line in said.lines().filter(|line| line.contains("skipped")) {
        eprintln!("{line}");
    }
}
