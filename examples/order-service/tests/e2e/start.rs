//! A service that cannot start says why in one sentence, and leaves nothing half-started.

use std::net::TcpListener;

use crate::support::service::{free_address, run_to_end};
use crate::support::{Backend, Partners, Service};

#[test]
fn a_bad_variable_is_named_in_one_sentence() {
    let data = tempfile::tempdir().unwrap();
    let unused = data.path().join("never-made");
    for (variable, value) in [
        ("PORT", "many"),
        ("DATABASE_URL", "mysql://localhost/orders"),
        ("CMS_URL", "not a url"),
        ("CIRCUIT_BREAKER_THRESHOLD", "0"),
        ("LOG_FORMAT", "xml"),
        ("CMS_USERNAME", "without a password"),
        ("BIND", "0.0.0.0"),
    ] {
        let environment = [
            ("DATA_DIR", unused.display().to_string()),
            (variable, value.to_owned()),
        ];
        refuses_to_start(&environment, variable);
    }
    assert!(!unused.exists(), "nothing was started");
}

#[test]
fn a_taken_port_is_named_in_one_sentence() {
    let data = tempfile::tempdir().unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let partner = |scheme: &str| format!("{scheme}://127.0.0.1:1");
    let environment = [
        ("DATA_DIR", data.path().display().to_string()),
        ("PORT", port.clone()),
        ("CMS_URL", partner("http")),
        ("WMS_URL", partner("tcp")),
        ("ROS_URL", partner("http")),
    ];
    refuses_to_start(&environment, &port);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_process_on_the_same_file_is_refused() {
    let partners = Partners::start().await;
    let service = Service::start(Backend::sqlite(), &partners).await;
    let mut environment = service.environment();
    environment.retain(|(name, _)| *name != "PORT");
    environment.push(("PORT", free_address().port().to_string()));
    tokio::task::spawn_blocking(move || refuses_to_start(&environment, ""))
        .await
        .unwrap();
    assert_eq!(
        service.get("/readyz").await.status,
        200,
        "the first one goes on"
    );
}

#[track_caller]
fn refuses_to_start(environment: &[(&'static str, String)], named: &str) {
    let output = run_to_end(environment);
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{environment:?}: {said}");
    assert_eq!(said.trim().lines().count(), 1, "{environment:?}: {said}");
    assert!(said.contains(named), "{environment:?}: {said}");
}
