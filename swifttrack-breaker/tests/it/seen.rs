//! What operators see: metrics. What they read in the log is in `tests/logs.rs`.

use metrics_exporter_prometheus::PrometheusBuilder;
use swifttrack_breaker::{BreakerConfig, BreakerHandle, ManualClock, Outcome};

use crate::support::{fail, secs};

#[test]
fn the_metrics_recorder_hears_of_calls_and_transitions() {
    let recorder = PrometheusBuilder::new().build_recorder();
    let page = recorder.handle();
    metrics::with_local_recorder(&recorder, || {
        let clock = ManualClock::new();
        let config = BreakerConfig::new().clock(clock.clock());
        let cms = BreakerHandle::new("cms", config.count_successes(true));
        for _ in 0..300 {
            cms.try_acquire().unwrap().success();
        }
        cms.try_acquire().unwrap().finish(Outcome::Ignore);
        let late = cms.try_acquire().unwrap();
        fail(&cms, 2);
        let retry_after = None;
        let throttled = Outcome::Throttled { retry_after };
        cms.try_acquire().unwrap().finish(throttled);
        late.success();
        for _ in 0..5 {
            cms.try_acquire().unwrap_err();
        }
        let _ = cms.snapshot();
        clock.advance(secs(30));
        drop(cms.try_acquire().unwrap());

        let silent = BreakerHandle::new("one of many", config.metrics(false));
        fail(&silent, 3);
    });
    let page = page.render();
    let told = |line: &str| assert!(page.lines().any(|told| told == line), "{line}\n{page}");
    for (outcome, calls) in [
        ("success", 300),
        ("ignored", 2),
        ("failure", 3),
        ("throttled", 1),
        ("stale", 1),
        ("refused", 5),
    ] {
        told(&format!(
            r#"circuit_calls_total{{circuit="cms",outcome="{outcome}"}} {calls}"#
        ));
    }
    for (to, reason) in [
        ("open", "consecutive_failures"),
        ("half_open", "open_time_over"),
    ] {
        told(&format!(
            r#"circuit_transitions_total{{circuit="cms",to="{to}",reason="{reason}"}} 1"#
        ));
    }
    told(r#"circuit_state{circuit="cms"} 2"#);
    assert!(!page.contains("one of many"));
}
