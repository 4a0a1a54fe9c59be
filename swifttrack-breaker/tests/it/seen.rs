//! What operators see: metrics and logs.

use std::fmt::Write;
use std::sync::{Arc, Mutex};

use metrics_exporter_prometheus::PrometheusBuilder;
use swifttrack_breaker::{BreakerConfig, BreakerHandle, ManualClock, Outcome};
use tracing::field::{Field, Visit};
use tracing::span;

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

/// Writes each event on a line.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<String>>);

impl tracing::Subscriber for Lines {
    fn enabled(&self, _: &tracing::Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}

    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}

    fn event(&self, event: &tracing::Event<'_>) {
        struct Fields(String);
        impl Visit for Fields {
            fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
                let _ = write!(self.0, " {field}={value:?}");
            }
        }
        let mut fields = Fields(event.metadata().level().to_string());
        event.record(&mut fields);
        let mut lines = self.0.lock().expect("no thread panicked in here");
        lines.push_str(&(fields.0 + "\n"));
    }

    fn enter(&self, _: &span::Id) {}

    fn exit(&self, _: &span::Id) {}
}

#[test]
fn each_transition_is_a_line_in_the_log_with_its_reason() {
    let lines = Lines::default();
    tracing::subscriber::with_default(lines.clone(), || {
        let clock = ManualClock::new();
        let cms = BreakerHandle::new("cms", BreakerConfig::new().clock(clock.clock()));
        fail(&cms, 3);
        cms.try_acquire().unwrap_err();
        clock.advance(secs(30));
        cms.try_acquire().unwrap().success();
    });
    assert_eq!(
        *lines.0.lock().unwrap(),
        "WARN message=circuit opened circuit=cms from=closed reason=consecutive_failures consecutive_failures=3 open_ms=30000\n\
         INFO message=circuit changed circuit=cms from=open to=half_open reason=open_time_over\n\
         INFO message=circuit changed circuit=cms from=half_open to=closed reason=probes_succeeded\n",
        "a refusal is counted, and is no line"
    );
}
