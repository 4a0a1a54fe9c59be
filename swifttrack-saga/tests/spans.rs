//! Spans and links.
//!
//! A program of its own: a thread that has no subscriber may be the first to come by a span, and
//! tracing then has it off for all.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use swifttrack_saga::store::memory::MemoryStore;
use swifttrack_saga::{Attempt, Engine, Saga, Step, StepError, TraceLink, Tune as _};
use tracing::span::{Attributes, Id};
use tracing::{Span, Subscriber};
use tracing_subscriber::layer::{Context, SubscriberExt as _};
use tracing_subscriber::registry::LookupSpan;

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

struct Price;

impl Step for Price {
    const NAME: &'static str = "price";
    type In = u32;
    type Out = u32;

    async fn run(&self, _: &Attempt, input: &u32) -> Result<u32, StepError> {
        Ok(*input)
    }
}

/// Hangs the first time that it is asked.
#[derive(Default)]
struct Stock(AtomicBool);

impl Step for Stock {
    const NAME: &'static str = "stock";
    type In = u32;
    type Out = u32;

    async fn run(&self, _: &Attempt, input: &u32) -> Result<u32, StepError> {
        if !self.0.swap(true, Ordering::Relaxed) {
            std::future::pending::<()>().await;
        }
        Ok(*input)
    }
}

#[tokio::test(start_paused = true)]
async fn spans_of_a_saga_are_tied_to_its_starter_over_a_restart() {
    let (spans, links) = (Spans::default(), Links::default());
    let subscriber = tracing_subscriber::registry().with(spans.clone());
    let _guard = tracing::subscriber::set_default(subscriber);
    let store = MemoryStore::new();
    let saga = Saga::<u32>::define("look", 1, |s, input| {
        let price = s.step(Price.read_only(), input);
        let stock = s.step(Stock::default().read_only(), price);
        s.finish(stock)
    });
    let saga = saga.unwrap();
    let spawn = || {
        let engine = Engine::builder(store.clone()).register(&saga);
        engine.trace_link(links.clone()).spawn()
    };

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
    second.ended("look", "1").await.unwrap();

    let told = |what: &str| {
        let spans = spans.0.lock().unwrap();
        spans.iter().filter(|span| *span == what).count()
    };
    assert_eq!(told(" > saga"), 2, "one in each process");
    assert_eq!(told("saga > attempt"), 3, "price, stock; stock again");
    let linked = links.0.lock().unwrap().clone();
    assert_eq!(
        linked,
        [
            ("trace of request".to_owned(), true),
            ("trace of request".to_owned(), true)
        ]
    );
    let rows = second.history("look", "1", 0, 1).await.unwrap();
    assert_eq!(rows.len(), 1);
}
