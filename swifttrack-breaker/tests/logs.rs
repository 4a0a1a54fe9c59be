//! What operators read in the log.
//!
//! A program of its own: a thread that has no subscriber may be the first to come by a line, and
//! tracing then has it off for all.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::fmt::Write;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use swifttrack_breaker::{BreakerConfig, BreakerHandle, ManualClock};
use tracing::field::{Field, Visit};
use tracing::span;

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
        for _ in 0..3 {
            cms.try_acquire().unwrap().failure();
        }
        cms.try_acquire().unwrap_err();
        clock.advance(Duration::from_secs(30));
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
