//! A client that was written from the wire contract alone, in another language.

use std::process::{Command, Stdio};

#[test]
fn a_foreign_client_finds_the_warehouse_as_the_contract_says() {
    let python = |args: &[&str]| {
        let mut python = Command::new("python3");
        python.args(args).env("PYTHONDONTWRITEBYTECODE", "1");
        python
    };
    let is_there = python(&["--version"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    if !is_there.is_ok_and(|status| status.success()) {
        eprintln!("left out: there is no python3");
        return;
    }
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/interop/check_wms.py");
    let told = python(&[script, env!("CARGO_BIN_EXE_partner-wms")])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&told.stdout);
    let complained = String::from_utf8_lossy(&told.stderr);
    assert!(told.status.success(), "{said}{complained}");
}
