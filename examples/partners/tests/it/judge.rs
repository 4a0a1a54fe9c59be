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
    assert!(report.faults.values().all(|hits| *hits > 0), "{report}");
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
