//! Spans, links and numbers.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use metrics_exporter_prometheus::PrometheusBuilder;
use swifttrack_saga::store::memory::MemoryStore;
use swifttrack_saga::{Engine, TraceLink};
use tracing::span::{Attributes, Id};
use tracing::{Span, Subscriber};
use tracing_subscriber::layer::{Context, SubscriberExt as _};
use tracing_subscriber::registry::LookupSpan;

use crate::parts::{Partner, Trouble, abc};

/// Writes down each span as `parent > name`.
#[derive(Clone, Default)]
struct Spans(Arc<Mutex<Vec<String>>>);

impl<S: Subscriber + for<'a> LookupSpan<'a>> tracing_subscriber::Layer<S> for Spans {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let span = context.span(id).unwrap();
        let parent = span.parent().map_or("", |parent| parent.name());
        let name = attributes.metadata().name();
        self.0.lock().unwrap().push(format!("{parent} > {name}"));
    }
}

/// Keeps the context in which a starter is, and writes down what is linked to it.
#[derive(Clone, Default)]
struct Links(Arc<Mutex<Vec<(String, bool)>>>);

impl TraceLink for Links {
    fn capture(&self) -> Option<String> {
        let span = Span::current();
        let name = span.metadata().map(|metadata| metadata.name());
        name.map(|name| format!("trace of {name}"))
    }

    fn link(&self, span: &Span, context: &str) {
        let enabled = !span.is_disabled();
        self.0.lock().unwrap().push((context.to_owned(), enabled));
    }
}

#[tokio::test(start_paused = true)]
async fn spans_of_a_saga_are_tied_to_its_starter_over_a_restart() {
    let (spans, links) = (Spans::default(), Links::default());
    let subscriber = tracing_subscriber::registry().with(spans.clone());
    let _guard = tracing::subscriber::set_default(subscriber);
    let (partner, store) = (Partner::default(), MemoryStore::new());
    let saga = abc(&partner);
    let spawn = || {
        let engine = Engine::builder(store.clone()).register(&saga);
        engine.trace_link(links.clone()).spawn()
    };
    partner.trouble("b", [Trouble::Hang]);

    let first = spawn().await.unwrap();
    {
        use tracing::Instrument as _;
        let start = first.start(&saga, "1", &7);
        start
            .instrument(tracing::info_span!("request"))
            .await
            .unwrap();
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    first.crash();
    let second = spawn().await.unwrap();
    second.ended("abc", "1").await.unwrap();

    let told = |what: &str| {
        let spans = spans.0.lock().unwrap();
        spans.iter().filter(|span| *span == what).count()
    };
    assert_eq!(told(" > saga"), 2, "one in each process");
    assert_eq!(told("saga > attempt"), 4, "a, b; b again, c");
    let linked = links.0.lock().unwrap().clone();
    assert_eq!(
        linked,
        [
            ("trace of request".to_owned(), true),
            ("trace of request".to_owned(), true)
        ]
    );
    let rows = second.history("abc", "1", 0, 1).await.unwrap();
    assert_eq!(rows.len(), 1);
}

#[test]
fn what_happens_is_counted() {
    let recorder = PrometheusBuilder::new().build_recorder();
    let handle = recorder.handle();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap();
    metrics::with_local_recorder(&recorder, || {
        runtime.block_on(async {
            let (partner, store) = (Partner::default(), MemoryStore::new());
            let saga = abc(&partner);
            let engine = Engine::builder(store)
                .register(&saga)
                .spawn()
                .await
                .unwrap();
            partner.trouble("b", [Trouble::Retry, Trouble::Unknown]);
            partner.trouble("c", [Trouble::Reject]);
            for id in ["1", "2"] {
                engine.start(&saga, id, &7).await.unwrap();
                engine.ended("abc", id).await.unwrap();
            }
        });
    });
    let text = handle.render();
    for line in [
        r#"saga_started_total{definition="abc"} 2"#,
        r#"saga_ended_total{definition="abc",outcome="completed"} 1"#,
        r#"saga_ended_total{definition="abc",outcome="compensated"} 1"#,
        r#"saga_attempts_total{definition="abc",step="b",outcome="retry"} 1"#,
        r#"saga_attempts_total{definition="abc",step="b",outcome="unknown"} 1"#,
        r#"saga_attempts_total{definition="abc",step="b",outcome="done"} 2"#,
        r#"saga_attempts_total{definition="abc",step="b",outcome="undone"} 1"#,
        r#"saga_attempts_total{definition="abc",step="c",outcome="rejected"} 1"#,
        r#"saga_attempt_seconds_count{definition="abc",step="a"} 3"#,
        "saga_shards 64",
        "saga_active 0",
    ] {
        assert!(text.lines().any(|other| other == line), "{line} in\n{text}");
    }
}
