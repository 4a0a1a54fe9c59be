//! Numbers. Spans and links are in `tests/spans.rs`.

use metrics_exporter_prometheus::PrometheusBuilder;
use swifttrack_saga::Engine;
use swifttrack_saga::store::memory::MemoryStore;

use crate::parts::{Partner, Trouble, abc};

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
