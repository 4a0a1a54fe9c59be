//! A consumer that handles each event once.
//!
//! ```text
//!   Kafka ──► poll a batch ──► BEGIN ─ new ids ─ handler ─ ids and offsets ─ COMMIT
//!                                 └── fails: ROLLBACK, then message by message ──► inbox_dead
//! ```
//! With [`Consumer::side_by_side`] a batch is several such transactions, one for each lane of keys,
//! and a last one that stores the offsets when all of them are done.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rdkafka::client::ClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer as _, ConsumerContext, Rebalance, StreamConsumer};
use rdkafka::error::KafkaError;
use rdkafka::message::OwnedMessage;
use rdkafka::types::RDKafkaErrorCode;
use tokio::sync::watch;

use crate::error::{Error, Kind};
use crate::inbox::Inbox;
use crate::security;

mod lanes;
mod received;
mod run;
mod transaction;

pub use received::{Handler, Received};
use run::Run;
pub use transaction::Store;

/// The longest wait for a broker's answer.
const ANSWER: Duration = Duration::from_secs(10);

/// Transactions of one consumer at a time.
const LANES_MAX: usize = 64;

/// Between two tries of what failed.
const BACKOFF_MIN: Duration = Duration::from_millis(100);
const BACKOFF_MAX: Duration = Duration::from_secs(30);

/// Joins Kafka's consumer with an [`Inbox`]: offsets live in the consumer's database, so that
/// effects, ids and offsets commit together; Kafka's own offsets are written for lag tools.
///
/// # Defaults
/// Batches of 500, each in one transaction; five tries of a message, with a pause of 100 ms between
/// the first two that doubles up to 30 s, before it is put into `inbox_dead`;
/// `isolation.level=read_committed`.
///
/// # Metrics
/// With the label `consumer`, the group: `inbox_lag_seconds`, the age of the oldest message that is
/// not handled (0 when there is none), and `inbox_dead_total`, messages put aside.
#[derive(Clone)]
pub struct Consumer {
    config: ClientConfig,
    group: String,
    topics: Vec<String>,
    batch: usize,
    lanes: usize,
    tries: u32,
}

impl fmt::Debug for Consumer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Consumer")
            .field("group", &self.group)
            .field("topics", &self.topics)
            .finish_non_exhaustive()
    }
}

impl Consumer {
    /// A member of a consumer group. The group's id names its inbox.
    #[must_use]
    pub fn new(
        bootstrap_servers: impl Into<String>,
        group: impl Into<String>,
        topics: &[&str],
    ) -> Self {
        let group = group.into();
        let mut config = ClientConfig::new();
        config
            .set("bootstrap.servers", bootstrap_servers)
            .set("group.id", &group)
            .set("isolation.level", "read_committed")
            .set("auto.offset.reset", "earliest");
        Self {
            config,
            group,
            topics: topics.iter().map(|topic| (*topic).to_owned()).collect(),
            batch: 500,
            lanes: 1,
            tries: 5,
        }
    }

    /// The most messages of one transaction, 1 to 10,000.
    #[must_use]
    pub fn batch(mut self, messages: usize) -> Self {
        self.batch = messages.clamp(1, 10_000);
        self
    }

    /// How many keys of a batch are handled side by side, 1 (the default) to 64: for handlers that
    /// wait for something else than the database. Events of one key stay in order, those without a
    /// key in the order of their partition.
    ///
    /// Each lane is a transaction on a connection of its own, so the pool needs as many. Offsets are
    /// stored when the whole batch is handled or put aside, and never past an event that is not; what
    /// a crash repeats is known by its id.
    #[must_use]
    pub fn side_by_side(mut self, lanes: usize) -> Self {
        self.lanes = lanes.clamp(1, LANES_MAX);
        self
    }

    /// How often a message is tried before it is put aside; at least once.
    #[must_use]
    pub fn tries(mut self, tries: u32) -> Self {
        self.tries = tries.max(1);
        self
    }

    /// Sets a property of librdkafka, but those on which the offsets in the database rest. How to
    /// reach a secured broker stands at [`KafkaPublisher`](crate::KafkaPublisher#security).
    ///
    /// # Errors
    /// [`Error::is_config`], with the reason, or with the feature that is missing for it.
    pub fn set(mut self, name: &str, value: impl Into<String>) -> Result<Self, Error> {
        if matches!(
            name,
            "group.id" | "enable.auto.commit" | "enable.auto.offset.store"
        ) {
            return Err(Error::config(format!(
                "{name} cannot be set: offsets are kept in the consumer's own transaction"
            )));
        }
        let value = value.into();
        security::check_property(name, &value)?;
        self.config.set(name, value);
        Ok(self)
    }

    /// Consumes until `stop` becomes true, then leaves the group.
    ///
    /// A batch that fails is handled message by message; one that still fails after its tries
    /// goes to `inbox_dead`, and the partition goes on.
    ///
    /// # Errors
    /// [`Error::is_offset`] when the stored offset lies past the log's end or belongs to
    /// another cluster; [`Error::is_config`], [`Error::is_kafka`] and [`Error::is_database`] when
    /// the start failed.
    /// Later failures are tried again.
    ///
    /// # Cancel safety
    /// Dropping the future rolls the open transaction back; the group's next member goes on
    /// where the last commit was.
    pub async fn run<S: Store, H: Handler<S>>(
        &self,
        store: S,
        handler: H,
        mut stop: watch::Receiver<bool>,
    ) -> Result<(), Error> {
        security::check_whole(&self.config)?;
        let kafka = |error| Error::kafka("starting a consumer", error);
        let mut config = self.config.clone();
        config
            .set("enable.auto.commit", "false")
            .set("enable.auto.offset.store", "false")
            .set("partition.assignment.strategy", "range");
        let consumer: StreamConsumer<Assigned> = config
            .create_with_context(Assigned::default())
            .map_err(kafka)?;
        let topics: Vec<&str> = self.topics.iter().map(String::as_str).collect();
        consumer.subscribe(&topics).map_err(kafka)?;
        let consumer = Arc::new(consumer);
        let cluster = cluster_id(&consumer).await?;
        let mut run = Run {
            consumer,
            store,
            handler,
            inbox: Inbox::new(&self.group),
            cluster,
            lanes: self.lanes,
            tries: self.tries,
            positions: HashMap::new(),
        };
        let mut next: Option<Result<OwnedMessage, KafkaError>> = None;
        while !*stop.borrow() {
            let first = match next.take() {
                Some(message) => message,
                None => tokio::select! {
                    biased;
                    _ = stop.changed() => continue,
                    message = run.consumer.recv() => message.map(|message| message.detach()),
                    // Assignments are told on the way through `recv`.
                    () = tokio::time::sleep(Duration::from_millis(100)) => {
                        run.follow(&mut stop).await?;
                        if !run.positions.is_empty() {
                            run.tell_lag(Duration::ZERO);
                        }
                        continue;
                    }
                },
            };
            let moved = run.follow(&mut stop).await?;
            let Some(first) = check(first) else { continue };
            // From before the seek: it is read again. Where there is no offset there was no
            // seek, and it is the first that there is.
            if moved && run.has_offset(&first) {
                continue;
            }
            let mut batch = vec![first];
            while batch.len() < self.batch {
                match futures_util::FutureExt::now_or_never(run.consumer.recv()) {
                    // It is of the new assignment, and what came before is read again.
                    Some(Ok(message)) if run.consumer.context().has_moved() => {
                        next = Some(Ok(message.detach()));
                        break;
                    }
                    Some(Ok(message)) => batch.push(message.detach()),
                    Some(Err(error)) => {
                        next = Some(Err(error));
                        break;
                    }
                    None => break,
                }
            }
            // What was put together may be another member's by now.
            if run.consumer.context().has_moved() {
                continue;
            }
            run.handle(&batch, &mut stop).await;
        }
        run.consumer.unsubscribe();
        Ok(())
    }
}

fn check(message: Result<OwnedMessage, KafkaError>) -> Option<OwnedMessage> {
    match message {
        Ok(message) => Some(message),
        Err(error) => {
            tracing::warn!(%error, "consuming failed");
            None
        }
    }
}

async fn cluster_id(consumer: &Arc<StreamConsumer<Assigned>>) -> Result<String, Error> {
    let consumer = Arc::clone(consumer);
    blocking(move || {
        let until = Instant::now() + ANSWER;
        loop {
            if let Some(id) = consumer.client().fetch_cluster_id(Duration::from_secs(1)) {
                return Ok(id);
            }
            if Instant::now() > until {
                return Err(KafkaError::Global(RDKafkaErrorCode::OperationTimedOut));
            }
        }
    })
    .await
}

/// librdkafka's blocking calls stay off the runtime's threads.
async fn blocking<T: Send + 'static>(
    call: impl FnOnce() -> Result<T, KafkaError> + Send + 'static,
) -> Result<T, Error> {
    match tokio::task::spawn_blocking(call).await {
        Ok(done) => done.map_err(|error| Error::kafka("asking the broker", error)),
        Err(_) => Err(Kind::Timeout("a call to the broker").into()),
    }
}

/// Notes what was assigned, so that the consumer seeks before it handles anything.
#[derive(Debug, Default)]
struct Assigned {
    partitions: Mutex<Option<Vec<(String, i32)>>>,
}

impl Assigned {
    fn has_moved(&self) -> bool {
        self.partitions
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .is_some()
    }

    fn take(&self) -> Option<Vec<(String, i32)>> {
        self.partitions
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take()
    }
}

impl ClientContext for Assigned {}

impl ConsumerContext for Assigned {
    fn post_rebalance(&self, _consumer: &BaseConsumer<Self>, rebalance: &Rebalance<'_>) {
        let list = match rebalance {
            Rebalance::Assign(list) => list
                .elements()
                .iter()
                .map(|place| (place.topic().to_owned(), place.partition()))
                .collect(),
            Rebalance::Revoke(_) | Rebalance::Error(_) => Vec::new(),
        };
        *self
            .partitions
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = Some(list);
    }
}
