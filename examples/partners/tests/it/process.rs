//! The programs: how they start and end, and what `kill -9` costs.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command as AsyncCommand};
use tokio::task::JoinSet;

use crate::http::ask;
use crate::line::Line;
use crate::rig::{ALL, Who, rest, route_to};

struct Process {
    child: Child,
    addr: SocketAddr,
    control: SocketAddr,
}

const fn program(who: Who) -> &'static str {
    match who {
        Who::Cms => env!("CARGO_BIN_EXE_partner-cms"),
        Who::Wms => env!("CARGO_BIN_EXE_partner-wms"),
        Who::Ros => env!("CARGO_BIN_EXE_partner-ros"),
    }
}

async fn start(who: Who, data: &Path) -> Process {
    let mut child = AsyncCommand::new(program(who))
        .args(["--listen", "127.0.0.1:0", "--data"])
        .arg(data)
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let line = lines.next_line().await.unwrap().unwrap();
    let part = |name: &str| {
        let value = line
            .split_whitespace()
            .find_map(|word| word.strip_prefix(name));
        value.unwrap_or_else(|| panic!("{line}")).parse().unwrap()
    };
    assert!(line.starts_with("ready "), "{line}");
    Process {
        addr: part("listen="),
        control: part("control="),
        child,
    }
}

#[tokio::test]
async fn kill_9_under_load_loses_nothing_that_was_answered() {
    for who in ALL {
        let data = tempfile::tempdir().unwrap();
        let answered = Arc::new(Mutex::new(HashSet::new()));
        for round in 0..3 {
            let mut process = start(who, data.path()).await;
            let count = Arc::new(AtomicUsize::new(0));
            let mut load = JoinSet::new();
            for worker in 0..16 {
                let (answered, count) = (Arc::clone(&answered), Arc::clone(&count));
                let addr = process.addr;
                load.spawn(async move {
                    let mut line = Line::to(who, addr).await;
                    for i in 0.. {
                        let order = format!("{round}-{worker}-{i}");
                        let Ok(told) = line.forward(&order, "", "x").await else {
                            return;
                        };
                        assert_eq!(told, "DONE");
                        answered.lock().unwrap().insert(order);
                        count.fetch_add(1, Ordering::Relaxed);
                    }
                });
            }
            while count.load(Ordering::Relaxed) < 200 {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            process.child.kill().await.unwrap();
            // A worker whose send failed panics; all others saw their connection end.
            while load.join_next().await.is_some() {}
        }
        let process = start(who, data.path()).await;
        let mut found = HashSet::new();
        let mut after = 0;
        loop {
            let path = format!("/_ledger?after={after}");
            let page = ask(process.control, "GET", &path, &[], "").await.json();
            let effects = page["effects"].as_array().unwrap();
            if effects.is_empty() {
                break;
            }
            for effect in effects {
                assert_eq!(effect["effect"], "APPLIED");
                let order = effect["orderId"].as_str().unwrap().to_owned();
                assert!(found.insert(order.clone()), "{order} twice");
            }
            after = page["next"].as_u64().unwrap();
        }
        let lost: Vec<_> = answered
            .lock()
            .unwrap()
            .difference(&found)
            .cloned()
            .collect();
        assert!(lost.is_empty(), "{who:?} lost {lost:?}");
        let some: Vec<_> = found.into_iter().take(20).collect();
        let mut line = Line::to(who, process.addr).await;
        for order in some {
            let again = line.forward(&order, "", "x").await.unwrap();
            assert_eq!(again, "REPLAYED");
        }
    }
}

#[tokio::test]
async fn sigterm_is_a_clean_end() {
    let data = tempfile::tempdir().unwrap();
    let mut process = start(Who::Ros, data.path()).await;
    rest("PUT", "A", "", &route_to("x"))
        .once(process.addr)
        .await;
    let pid = process.child.id().unwrap().to_string();
    assert!(
        Command::new("kill")
            .args(["-TERM", &pid])
            .status()
            .unwrap()
            .success()
    );
    assert!(process.child.wait().await.unwrap().success());
    drop(start(Who::Ros, data.path()).await);
}

#[test]
fn what_stops_the_start_is_one_sentence_and_exit_code_2() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let data = tempfile::tempdir().unwrap();
    let data = data.path().to_str().unwrap();
    for (args, what) in [
        (["--listen", &address, "--data", data], address.as_str()),
        (["--seed", "x", "--data", data], "--seed"),
        (["--bogus", "1", "--data", data], "--bogus"),
    ] {
        let Output {
            status,
            stderr,
            stdout,
        } = Command::new(program(Who::Cms)).args(args).output().unwrap();
        assert_eq!(status.code(), Some(2));
        assert!(stdout.is_empty());
        let stderr = String::from_utf8(stderr).unwrap();
        assert!(stderr.contains(what), "{stderr}");
        assert_eq!(stderr.lines().count(), 1, "{stderr}");
    }
}
