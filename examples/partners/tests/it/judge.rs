//! The judge finds each planted bug, and nothing where there is none.

use std::time::Duration;

use partners::judge::{Finding, Plan, Report, judge};

use crate::planted::{Bug, command};

async fn judged(bug: Bug) -> Report {
    let data = tempfile::tempdir().unwrap();
    let plan = Plan::default()
        .seed(7)
        .orders(60)
        .gap(Duration::from_millis(25))
        .kills(3)
        .delay_max(Duration::from_millis(600))
        .settle(Duration::from_secs(30));
    let report = judge(&plan, &command(bug), data.path()).await.unwrap();
    assert_eq!(report.kills, 3);
    assert_eq!(report.crashes, 0, "{report}");
    assert!(report.faults.values().sum::<u64>() > 0, "{report}");
    report
}

#[tokio::test]
async fn nothing_is_found_where_nothing_is_wrong() {
    let report = judged(Bug::None).await;
    assert!(report.is_clean(), "{report}");
    assert_eq!(report.ends.len(), 60);
}

#[tokio::test]
async fn a_retry_with_a_new_key_is_found() {
    let report = judged(Bug::NewKey).await;
    let doubled = |finding: &Finding| matches!(finding, Finding::Doubled { .. });
    assert!(report.findings.iter().any(doubled), "{report}");
    assert!(report.findings.iter().all(doubled), "{report}");
}

#[tokio::test]
async fn an_order_forgotten_in_a_crash_is_found() {
    let report = judged(Bug::Forgets).await;
    let lost = |finding: &Finding| matches!(finding, Finding::Forgotten { .. });
    let leaked = |finding: &Finding| matches!(finding, Finding::Leaked { .. });
    assert!(report.findings.iter().any(lost), "{report}");
    assert!(report.findings.iter().any(leaked), "{report}");
}

#[tokio::test]
async fn a_timeout_taken_for_a_failure_is_found() {
    let report = judged(Bug::TimeoutIsFailure).await;
    let leaked = |finding: &Finding| matches!(finding, Finding::Leaked { .. });
    assert!(report.findings.iter().any(leaked), "{report}");
    assert!(report.findings.iter().all(leaked), "{report}");
}

#[tokio::test]
async fn findings_are_exit_code_1_and_no_verdict_is_2() {
    let data = tempfile::tempdir().unwrap();
    let program = || tokio::process::Command::new(env!("CARGO_BIN_EXE_partners"));
    let flags = "judge --orders 40 --gap-ms 25 --kills 2 --delay-ms 300 --settle-s 20 --data";
    let found = program()
        .args(flags.split_whitespace())
        .arg(data.path())
        .arg("--")
        .args(command(Bug::Forgets))
        .output()
        .await
        .unwrap();
    let said = String::from_utf8(found.stdout).unwrap();
    assert_eq!(found.status.code(), Some(1), "{said}");
    assert!(said.contains("not known any more"), "{said}");
    assert!(data.path().join("partners/cms.ledger").exists());

    for args in [
        &["judge"][..],
        &["judge", "--", "false"],
        &["judge", "--", "/no/such/program"],
    ] {
        let mut refused = program();
        let refused = refused.args(args).env("TMPDIR", data.path());
        let refused = refused.output().await.unwrap();
        let said = String::from_utf8(refused.stderr).unwrap();
        assert_eq!(refused.status.code(), Some(2), "{said}");
        assert_eq!(said.lines().count(), 1, "{said}");
    }
}
