//! One producer, and what it says.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rdkafka::ClientContext;
use rdkafka::client::Client;
use rdkafka::config::ClientConfig;
use rdkafka::error::KafkaError;
use rdkafka::message::{DeliveryResult, Header, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _, ProducerContext, PurgeConfig};
use rdkafka::types::RDKafkaErrorCode;

use super::errors;
use super::ledger::{Ledger, Ticket};
use crate::error::Error;
use crate::publisher::Envelope;
use crate::publisher::envelope::STANDARD_HEADERS;
use crate::relay::core::{Batch, Fate, Outcome, Packing};
use crate::relay::row::Row;

/// librdkafka's own default.
const BATCH_SIZE: u64 = 1_000_000;

/// A producer whose reports go to its ledger.
pub(super) type KafkaProducer = BaseProducer<Context>;

pub(super) fn create(config: &ClientConfig, packing: Packing) -> Result<KafkaProducer, Error> {
    let mut config = config.clone();
    match packing {
        Packing::Single => {
            config.set("batch.num.messages", "1");
        }
        Packing::Full { halvings: 0 } => {}
        Packing::Full { halvings } => {
            let bytes: Option<u64> = config
                .get("batch.size")
                .and_then(|bytes| bytes.parse().ok());
            let bytes = (bytes.unwrap_or(BATCH_SIZE) >> halvings).max(1);
            config.set("batch.size", bytes.to_string());
        }
    }
    let context = Context {
        single: packing == Packing::Single,
        state: Mutex::default(),
    };
    config
        .create_with_context(context)
        .map_err(|error| Error::kafka("making a producer", error))
}

/// What a producer's callbacks know. They run on the owner's thread, inside `poll`, so the
/// lock is never waited for.
#[derive(Debug)]
pub(super) struct Context {
    /// Each record is a request of its own, so a refusal is certain.
    single: bool,
    state: Mutex<State>,
}

/// A partition whose first record is on its way.
pub(super) type First = (Arc<str>, i32);

#[derive(Debug, Default)]
struct State {
    ledger: Ledger,
    settled: Vec<(u64, Outcome)>,
    /// First records of their partitions.
    asked: Vec<(usize, First)>,
    taken: Vec<First>,
    /// The producer reported an error: nothing more may be handed to it.
    failed: bool,
}

impl Context {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn enter(&self, batch: &Arc<Batch>) -> u32 {
        self.state().ledger.enter(batch)
    }

    pub(super) fn settle(&self, entry: u32, row: usize, fate: Fate) {
        let mut state = self.state();
        if let Some(done) = state.ledger.settle(Ledger::ticket(entry, row), fate) {
            state.settled.push(done);
        }
    }

    pub(super) fn take_settled(&self) -> Vec<(u64, Outcome)> {
        std::mem::take(&mut self.state().settled)
    }

    /// Settles what has no report to come.
    pub(super) fn settle_rest(&self) {
        let mut state = self.state();
        let rest = state.ledger.settle_rest();
        state.settled.extend(rest);
    }

    /// Notes when the partition acknowledges this record.
    pub(super) fn ask(&self, entry: u32, row: usize, first: First) {
        let opaque = Ledger::ticket(entry, row).into();
        self.state().asked.push((opaque, first));
    }

    pub(super) fn unask(&self, entry: u32, row: usize) {
        let opaque: usize = Ledger::ticket(entry, row).into();
        self.state().asked.retain(|(other, _)| *other != opaque);
    }

    pub(super) fn take_taken(&self) -> Vec<First> {
        std::mem::take(&mut self.state().taken)
    }

    pub(super) fn has_failed(&self) -> bool {
        self.state().failed
    }
}

impl ClientContext for Context {
    fn error(&self, error: KafkaError, reason: &str) {
        let fatal = matches!(
            error.rdkafka_error_code(),
            Some(RDKafkaErrorCode::Fatal | RDKafkaErrorCode::GaplessGuarantee)
        );
        if fatal {
            tracing::warn!(%error, reason, "the producer has failed");
            self.state().failed = true;
        } else {
            tracing::debug!(%error, reason, "kafka");
        }
    }
}

impl ProducerContext for Context {
    type DeliveryOpaque = usize;

    fn delivery(&self, result: &DeliveryResult<'_>, opaque: usize) {
        let mut state = self.state();
        if !state.asked.is_empty()
            && let Some(asked) = state.asked.iter().position(|(other, _)| *other == opaque)
        {
            let (_, first) = state.asked.swap_remove(asked);
            if result.is_ok() {
                state.taken.push(first);
            }
        }
        let fate = match result {
            // Without an offset too: a retry that was a duplicate is acknowledged without one.
            Ok(_) => Fate::Acked,
            Err((error, _)) => {
                state.failed = true;
                errors::fate(error, self.single)
            }
        };
        if let Some(done) = state.ledger.settle(Ticket::from(opaque), fate) {
            state.settled.push(done);
        }
    }
}

/// What became of handing one row over.
pub(super) enum Sent {
    Queued,
    Full,
    Refused(Fate),
}

pub(super) fn send(
    producer: &KafkaProducer,
    envelope: &Envelope,
    row: &Row,
    entry: u32,
    index: usize,
    partition: Option<i32>,
) -> Sent {
    let mut buffer = [0; uuid::fmt::Hyphenated::LENGTH];
    let id = &*row.id.hyphenated().encode_lower(&mut buffer);
    // An option, since `insert` takes the headers and gives them back.
    let mut headers = Some(OwnedHeaders::new_with_capacity(STANDARD_HEADERS));
    envelope.headers(row, id, &mut |key, value| {
        headers = headers.take().map(|all| {
            all.insert(Header {
                key,
                value: Some(value),
            })
        });
    });
    let mut record = BaseRecord::<str, [u8], usize>::with_opaque_to(
        &row.topic,
        Ledger::ticket(entry, index).into(),
    )
    .key(row.key.as_str())
    .headers(headers.unwrap_or_default());
    if let Some(partition) = partition {
        record = record.partition(partition);
    }
    if let Some(payload) = &row.payload {
        record = record.payload(payload.as_ref());
    }
    match producer.send(record) {
        Ok(()) => Sent::Queued,
        Err((error, _)) if error.rdkafka_error_code() == Some(RDKafkaErrorCode::QueueFull) => {
            Sent::Full
        }
        // It was refused before it was queued, so it was refused alone.
        Err((error, _)) => Sent::Refused(errors::fate(&error, true)),
    }
}

/// What is known of a topic.
pub(super) enum Topic {
    /// With so many partitions.
    There(usize),
    Away(String),
    /// The brokers gave no answer in time.
    Silent,
}

pub(super) fn look_up<C: ClientContext>(client: &Client<C>, topic: &str, limit: Duration) -> Topic {
    let metadata = match client.fetch_metadata(Some(topic), limit) {
        Ok(metadata) => metadata,
        Err(error) => {
            return match error.rdkafka_error_code() {
                Some(code) if errors::is_of_the_topic(code) => Topic::Away(code.to_string()),
                _ => Topic::Silent,
            };
        }
    };
    let Some(found) = metadata.topics().iter().find(|found| found.name() == topic) else {
        return Topic::Silent;
    };
    match found.error().map(RDKafkaErrorCode::from) {
        None if !found.partitions().is_empty() => Topic::There(found.partitions().len()),
        Some(code) if errors::is_of_the_topic(code) => Topic::Away(code.to_string()),
        // It is being created, or has no leader now.
        _ => Topic::Silent,
    }
}

/// A wait for reports where nothing else is waited for.
const WAIT: Duration = Duration::from_millis(1);

/// Waits a moment for reports. Polling with a timeout is no such wait: rdkafka's lasts to its
/// end, whatever comes meanwhile, and spins through the last millisecond.
pub(super) fn wait(producer: &KafkaProducer) {
    std::thread::sleep(WAIT);
    serve(producer);
}

/// Serves the reports that are there. A poll takes one of them, which is of many records.
pub(super) fn serve(producer: &KafkaProducer) {
    loop {
        let before = producer.in_flight_count();
        producer.poll(Duration::ZERO);
        if producer.in_flight_count() >= before {
            return;
        }
    }
}

/// Drops what is queued and in flight; the reports of that come with the next polls.
pub(super) fn purge(producer: &KafkaProducer) {
    producer.purge(PurgeConfig::default().queue().inflight());
}

/// Drops what is queued and leaves what is in flight.
pub(super) fn purge_queue(producer: &KafkaProducer) {
    producer.purge(PurgeConfig::default().queue());
}
