//! What every request handler and every background task shares.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use metrics_exporter_prometheus::PrometheusHandle;
use swifttrack_saga::{Engine, Saga};
use tokio_util::sync::CancellationToken;

use crate::circuits::Circuits;
use crate::config::Config;
use crate::db::Db;
use crate::estimate::Estimate;
use crate::feed::Feed;
use crate::order::NewOrder;
use crate::outbox::Outbox;
use crate::saga::Ready;

/// The service, assembled. Built once, in [`wire`](crate::wire).
#[derive(Debug)]
pub struct App {
    /// What it was told.
    pub config: Config,
    /// Names this process start in events.
    pub instance: String,
    /// The tables.
    pub db: Db,
    /// The sagas.
    pub engine: Engine,
    /// The order's saga.
    pub saga: Saga<NewOrder, Ready>,
    /// The partners' circuits.
    pub partners: Circuits,
    /// The events on their way out.
    pub outbox: Outbox,
    /// How long steps take.
    pub estimate: Arc<Estimate>,
    /// What was committed, for the streams.
    pub feed: Feed,
    /// Renders `/metrics`.
    pub metrics: PrometheusHandle,
    /// Set once somebody asked us to stop: readiness goes first.
    pub stopping: AtomicBool,
    /// Ends the streams, together with the listeners.
    pub closing: CancellationToken,
    /// Ends the background tasks, once no saga runs any more.
    pub stop: CancellationToken,
}

impl App {
    /// Reads the gauges that are not kept up to date by themselves.
    pub async fn measure(&self) {
        if let Some((rows, oldest_s)) = self.outbox.backlog().await {
            #[expect(clippy::cast_precision_loss, reason = "a gauge is a float")]
            metrics::gauge!("outbox_backlog_rows").set(rows as f64);
            metrics::gauge!("outbox_oldest_seconds").set(oldest_s);
        }
        self.metrics.run_upkeep();
    }
}
