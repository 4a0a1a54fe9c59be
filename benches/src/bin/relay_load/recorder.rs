//! A recorder of the relay's own metrics: what was acknowledged, when, and how old it was.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Instant;

use metrics::{
    Counter, CounterFn, Gauge, Histogram, HistogramFn, Key, KeyName, Metadata, Recorder,
    SharedString, Unit,
};

use super::Error;

/// What was seen since [`clear`](Seen::clear).
#[derive(Debug, Default)]
pub(crate) struct Seen {
    published: AtomicU64,
    // A std mutex: nothing is awaited while it is held.
    samples: Mutex<Samples>,
}

#[derive(Debug, Default)]
struct Samples {
    /// Seconds from a batch's oldest row to its acknowledgement.
    oldest: Vec<f64>,
    /// Acknowledgements and how many rows each was of.
    acks: Vec<(Instant, u64)>,
}

static SEEN: OnceLock<Arc<Seen>> = OnceLock::new();

/// Installs it for the whole program.
pub(crate) fn install() -> Result<(), Error> {
    metrics::set_global_recorder(Those(Arc::clone(seen())))?;
    Ok(())
}

pub(crate) fn seen() -> &'static Arc<Seen> {
    SEEN.get_or_init(Arc::default)
}

impl Seen {
    pub(crate) fn clear(&self) {
        self.published.store(0, Ordering::Relaxed);
        *self.samples() = Samples::default();
    }

    /// Rows that were acknowledged.
    pub(crate) fn published(&self) -> u64 {
        self.published.load(Ordering::Relaxed)
    }

    /// In milliseconds, one for each batch: the age of its oldest row.
    pub(crate) fn oldest_ms(&self) -> Vec<f64> {
        self.samples().oldest.iter().map(|s| s * 1_000.0).collect()
    }

    /// One for each row, in their order.
    pub(crate) fn acks(&self) -> Vec<Instant> {
        let samples = self.samples();
        let rows = samples.acks.iter();
        rows.flat_map(|(at, rows)| std::iter::repeat_n(*at, *rows as usize))
            .collect()
    }

    fn samples(&self) -> MutexGuard<'_, Samples> {
        self.samples.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl HistogramFn for Seen {
    fn record(&self, value: f64) {
        self.samples().oldest.push(value);
    }
}

impl CounterFn for Seen {
    fn increment(&self, rows: u64) {
        self.published.fetch_add(rows, Ordering::Relaxed);
        self.samples().acks.push((Instant::now(), rows));
    }

    fn absolute(&self, _: u64) {}
}

struct Those(Arc<Seen>);

impl Recorder for Those {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        match key.name() {
            "outbox_published_total" => Counter::from_arc(Arc::clone(&self.0)),
            _ => Counter::noop(),
        }
    }

    fn register_gauge(&self, _: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::noop()
    }

    fn register_histogram(&self, key: &Key, _: &Metadata<'_>) -> Histogram {
        match key.name() {
            "outbox_publish_seconds" => Histogram::from_arc(Arc::clone(&self.0)),
            _ => Histogram::noop(),
        }
    }
}
