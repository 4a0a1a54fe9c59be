//! A consumer that handles each event once.
//!
//! ```text
//!   Kafka ──► poll a batch ──► BEGIN ─ new ids ─ handler ─ ids and offsets ─ COMMIT
//!                                 └── fails: ROLLBACK, then message by message ──► inbox_dead
//! ```

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rdkafka::client::ClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer as _, ConsumerContext, Rebalance, StreamConsumer};
use rdkafka::error::KafkaError;
use rdkafka::message::{Headers as _, Message as _, OwnedMessage};
use rdkafka::types::RDKafkaErrorCode;
use rdkafka::{Offset, TopicPartitionList};
use tokio::sync::watch;
use uuid::Uuid;

use crate::error::{Error, Kind};
use crate::inbox::{Inbox, Progress};
use crate::security;

mod transaction;

pub use transaction::Store;

/// The longest wait for a broker's answer.
const ANSWER: Duration = Duration::from_secs(10);

/// Between two tries of what failed.
const BACKOFF_MIN: Duration = Duration::from_millis(100);
const BACKOFF_MAX: Duration = Duration::from_secs(30);

/// What a handler does with an event, on the transaction in which it is remembered.
///
/// Laws for those who implement it: all effects go through `tx`, or are idempotent by the
/// event's id; `handle` may run again after an error.
pub trait Handler<S: Store>: Send + Sync + 'static {
    /// Handles one event. An error rolls its transaction back.
    fn handle(
        &self,
        tx: &mut S::Connection,
        event: &Received,
    ) -> impl Future<Output = Result<(), Box<dyn std::error::Error + Send + Sync>>> + Send;
}

/// An event as it came from Kafka.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Received {
    /// The header `id`, or one made of topic, partition and offset where there is none.
    pub id: Uuid,
    /// The topic.
    pub topic: String,
    /// The partition.
    pub partition: i32,
    /// The offset.
    pub offset: i64,
    /// The key.
    pub key: Option<Vec<u8>>,
    /// The value; none is a tombstone.
    pub payload: Option<Vec<u8>>,
    /// All headers whose value is text.
    pub headers: BTreeMap<String, String>,
}

impl Received {
    fn new(message: &OwnedMessage) -> Self {
        let mut headers = BTreeMap::new();
        for header in message
            .headers()
            .into_iter()
            .flat_map(|headers| headers.iter())
        {
            if let Some(text) = header
                .value
                .and_then(|value| std::str::from_utf8(value).ok())
            {
                headers.insert(header.key.to_owned(), text.to_owned());
            }
        }
        let position = (message.partition() as u128) << 64 | message.offset() as u128;
        Self {
            id: headers
                .get("id")
                .and_then(|id| Uuid::parse_str(id).ok())
                .unwrap_or_else(|| Uuid::from_u128(position)),
            topic: message.topic().to_owned(),
            partition: message.partition(),
            offset: message.offset(),
            key: message.key().map(<[u8]>::to_vec),
            payload: message.payload().map(<[u8]>::to_vec),
            headers,
        }
    }
}

/// Joins Kafka's consumer with an [`Inbox`]: offsets live in the consumer's database, so that
/// effects, ids and offsets commit together; Kafka's own offsets are written for lag tools.
///
/// # Defaults
/// Batches of 500, five tries of a message before it is put into `inbox_dead`,
/// `isolation.level=read_committed`.
#[derive(Clone)]
pub struct Consumer {
    config: ClientConfig,
    group: String,
    topics: Vec<String>,
    batch: usize,
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
            tries: 5,
        }
    }

    /// The most messages of one transaction, 1 to 10,000.
    #[must_use]
    pub fn batch(mut self, messages: usize) -> Self {
        self.batch = messages.clamp(1, 10_000);
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
                        if let Some(partitions) = run.consumer.context().take() {
                            run.seek(partitions).await?;
                        }
                        continue;
                    }
                },
            };
            let assigned = run.consumer.context().take();
            let moved = assigned.is_some();
            if let Some(partitions) = assigned {
                run.seek(partitions).await?;
            }
            let Some(first) = check(first) else { continue };
            // From before the seek: it is read again. Where there is no offset there was no
            // seek, and it is the first that there is.
            if moved && run.has_offset(&first) {
                continue;
            }
            let mut batch = vec![first];
            while batch.len() < self.batch {
                match futures_util::FutureExt::now_or_never(run.consumer.recv()) {
                    Some(Ok(message)) => batch.push(message.detach()),
                    Some(Err(error)) => {
                        next = Some(Err(error));
                        break;
                    }
                    None => break,
                }
            }
            run.handle(&batch, &mut stop).await;
        }
        run.consumer.unsubscribe();
        Ok(())
    }
}

/// What a running consumer has at hand.
struct Run<S, H> {
    consumer: Arc<StreamConsumer<Assigned>>,
    store: S,
    handler: H,
    inbox: Inbox,
    cluster: String,
    tries: u32,
    /// The partitions that are ours, each with its next offset where the database has one:
    /// what comes below was handled.
    positions: HashMap<(String, i32), Option<i64>>,
}

impl<S: Store, H: Handler<S>> Run<S, H> {
    /// Goes to where the database says the group stands.
    async fn seek(&mut self, partitions: Vec<(String, i32)>) -> Result<(), Error> {
        self.positions.clear();
        for (topic, partition) in partitions {
            let stored = self.store.progress(&self.inbox, &topic).await?;
            let Some(found) = stored.into_iter().find(|p| p.partition == partition) else {
                self.positions.insert((topic, partition), None);
                continue;
            };
            if found.cluster != self.cluster {
                return Err(Kind::Offset(format!(
                    "the offset of {topic}/{partition} is of cluster {}, this is {}",
                    found.cluster, self.cluster
                ))
                .into());
            }
            let (consumer, name) = (Arc::clone(&self.consumer), topic.clone());
            let (_, high) =
                blocking(move || consumer.fetch_watermarks(&name, partition, ANSWER)).await?;
            if found.next > high {
                return Err(Kind::Offset(format!(
                    "the offset {} of {topic}/{partition} lies past the log's end, {high}",
                    found.next
                ))
                .into());
            }
            let (consumer, name) = (Arc::clone(&self.consumer), topic.clone());
            blocking(move || consumer.seek(&name, partition, Offset::Offset(found.next), ANSWER))
                .await?;
            self.positions.insert((topic, partition), Some(found.next));
        }
        Ok(())
    }

    fn has_offset(&self, message: &OwnedMessage) -> bool {
        let place = (message.topic().to_owned(), message.partition());
        self.positions.get(&place).is_some_and(Option::is_some)
    }

    async fn handle(&mut self, messages: &[OwnedMessage], stop: &mut watch::Receiver<bool>) {
        let events: Vec<Received> = messages
            .iter()
            .filter(|m| {
                let place = (m.topic().to_owned(), m.partition());
                // A partition that is not ours any more is another member's.
                self.positions
                    .get(&place)
                    .is_some_and(|next| next.is_none_or(|next| m.offset() >= next))
            })
            .map(Received::new)
            .collect();
        if events.is_empty() {
            return;
        }
        metrics::gauge!("inbox_lag_seconds").set(lag(messages).as_secs_f64());
        let whole = self.once(&events).await;
        if let Err(error) = whole {
            tracing::warn!(%error, events = events.len(), "a batch failed; its events are handled one by one");
            for event in &events {
                if self.stubborn(event, stop).await.is_none() {
                    return; // told to stop: the rest is read again
                }
            }
        }
        self.tell(&events);
    }

    /// One event, until it is handled or put aside. None: told to stop.
    async fn stubborn(&self, event: &Received, stop: &mut watch::Receiver<bool>) -> Option<()> {
        let mut delay = BACKOFF_MIN;
        let mut tries = 0;
        loop {
            let Err(error) = self.once(std::slice::from_ref(event)).await else {
                return Some(());
            };
            // The database's own failures are not the event's fault.
            tries += u32::from(error.is_handler());
            if tries >= self.tries {
                let reason =
                    std::error::Error::source(&error).map_or_else(String::new, ToString::to_string);
                let after = self.after(std::slice::from_ref(event));
                match self
                    .store
                    .put_aside(&self.inbox, event, &reason, &after)
                    .await
                {
                    Ok(()) => {
                        tracing::error!(
                            topic = event.topic,
                            partition = event.partition,
                            offset = event.offset,
                            reason,
                            "event put aside"
                        );
                        metrics::counter!("inbox_dead_total").increment(1);
                        return Some(());
                    }
                    Err(error) => tracing::warn!(%error, "putting an event aside failed"),
                }
            }
            tokio::select! {
                () = tokio::time::sleep(delay) => {}
                _ = stop.changed() => return None,
            }
            delay = (delay * 2).min(BACKOFF_MAX);
        }
    }

    async fn once(&self, events: &[Received]) -> Result<usize, Error> {
        let after = self.after(events);
        self.store
            .transact(&self.inbox, events, &after, &self.handler)
            .await
    }

    /// Where the group stands when these are handled.
    fn after(&self, events: &[Received]) -> Vec<Progress> {
        let mut next: BTreeMap<(&str, i32), i64> = BTreeMap::new();
        for event in events {
            let place = next.entry((&event.topic, event.partition)).or_default();
            *place = (*place).max(event.offset + 1);
        }
        next.into_iter()
            .map(|((topic, partition), next)| Progress {
                cluster: self.cluster.clone(),
                topic: topic.to_owned(),
                partition,
                next,
            })
            .collect()
    }

    /// Kafka's own offsets, for lag tools; nothing depends on them.
    fn tell(&mut self, events: &[Received]) {
        let mut list = TopicPartitionList::new();
        for place in self.after(events) {
            let offset = Offset::Offset(place.next);
            if list
                .add_partition_offset(&place.topic, place.partition, offset)
                .is_ok()
            {
                self.positions
                    .insert((place.topic, place.partition), Some(place.next));
            }
        }
        if let Err(error) = self
            .consumer
            .commit(&list, rdkafka::consumer::CommitMode::Async)
        {
            tracing::debug!(%error, "telling Kafka the offsets failed");
        }
    }
}

fn lag(messages: &[OwnedMessage]) -> Duration {
    let now = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap_or_default();
    let oldest = messages
        .iter()
        .filter_map(|m| m.timestamp().to_millis())
        .min();
    oldest.map_or(Duration::ZERO, |ms| {
        now.saturating_sub(Duration::from_millis(ms.max(0) as u64))
    })
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
