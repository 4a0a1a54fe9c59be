//! The marker of a group: which of its rows are published and perhaps still in the table.

use std::time::Duration;

use rdkafka::Message as _;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::KafkaError;
use rdkafka::producer::BaseRecord;
use rdkafka::types::RDKafkaErrorCode;
use rdkafka::{Offset, TopicPartitionList};
use uuid::Uuid;

use super::producer::KafkaProducer;
use crate::error::Error;
use crate::slot::SLOTS;

/// Longer than a broker takes for an answer.
const ANSWER: Duration = Duration::from_secs(10);

/// Offsets that are read back from the end at first; then four times as many, and so on.
/// Control records take offsets too.
const LOOK_BACK: i64 = 64;

/// Bytes of one row in a marker: its number and the end of its id.
const ENTRY_BYTES: usize = 12;

/// A partition of the outbox's own marker topic. Only this outbox's producers of one
/// `transactional.id` write there, so after a fence nothing in it is open.
#[derive(Debug)]
pub(super) struct Markers {
    topic: String,
    group: u8,
    /// For consumers and the admin client: where the brokers are and how to speak to them.
    config: ClientConfig,
}

impl Markers {
    pub(super) fn new(producer: &ClientConfig, identity: Uuid, group: u8) -> Self {
        const SHARED: [&str; 8] = [
            "bootstrap.",
            "security.",
            "ssl.",
            "enable.ssl.",
            "sasl.",
            "client.",
            "socket.",
            "broker.",
        ];
        let mut config = ClientConfig::new();
        // The map has the names only: it hides the values of passwords.
        for name in producer.config_map().into_keys() {
            let shared = SHARED.iter().any(|prefix| name.starts_with(prefix));
            if let Some(value) = producer.get(name).filter(|_| shared) {
                config.set(name, value);
            }
        }
        Self {
            topic: format!("swifttrack-outbox-markers-{identity}"),
            group,
            config,
        }
    }

    /// Makes the topic if it is not there: compacted, a partition for each group.
    pub(super) async fn ensure(&self) -> Result<(), Error> {
        let kafka = |error| Error::kafka("making the marker topic", error);
        let admin: AdminClient<DefaultClientContext> = self.config.create().map_err(kafka)?;
        let topic = NewTopic::new(
            &self.topic,
            i32::from(SLOTS / 8),
            TopicReplication::Fixed(-1),
        )
        .set("cleanup.policy", "compact")
        .set("segment.bytes", "16777216")
        .set("min.cleanable.dirty.ratio", "0.1");
        let options = AdminOptions::new().operation_timeout(Some(ANSWER));
        for made in admin
            .create_topics([&topic], &options)
            .await
            .map_err(kafka)?
        {
            match made {
                Ok(_) | Err((_, RDKafkaErrorCode::TopicAlreadyExists)) => {}
                Err((_, code)) => return Err(kafka(KafkaError::AdminOp(code))),
            }
        }
        Ok(())
    }

    /// Puts the marker into the open transaction.
    pub(super) fn send(
        &self,
        producer: &KafkaProducer,
        rows: &[(i64, u32)],
    ) -> Result<(), KafkaError> {
        let value = encode(rows);
        let key = [self.group];
        let record = BaseRecord::<[u8], [u8], usize>::with_opaque_to(&self.topic, usize::MAX)
            .partition(i32::from(self.group))
            .key(&key)
            .payload(&value);
        producer.send(record).map_err(|(error, _)| error)
    }

    /// The rows of the last marker that was committed.
    pub(super) fn last(&self) -> Result<Vec<(i64, u32)>, Error> {
        let kafka = |error| Error::kafka("reading the group's marker", error);
        let partition = i32::from(self.group);
        let consumer: BaseConsumer = self
            .config
            .clone()
            .set("group.id", "swifttrack-outbox-markers")
            .set("enable.auto.commit", "false")
            .set("isolation.level", "read_committed")
            .set("enable.partition.eof", "true")
            .create()
            .map_err(kafka)?;
        let (low, high) = consumer
            .fetch_watermarks(&self.topic, partition, ANSWER)
            .map_err(kafka)?;
        let mut back = LOOK_BACK;
        loop {
            let from = (high - back).max(low);
            let mut list = TopicPartitionList::new();
            list.add_partition_offset(&self.topic, partition, Offset::Offset(from))
                .map_err(kafka)?;
            consumer.assign(&list).map_err(kafka)?;
            let mut last = None;
            loop {
                match consumer.poll(ANSWER) {
                    Some(Ok(message)) => last = message.payload().map(decode),
                    Some(Err(KafkaError::PartitionEOF(_))) => break,
                    Some(Err(error)) => return Err(kafka(error)),
                    None => {
                        let code = RDKafkaErrorCode::OperationTimedOut;
                        return Err(kafka(KafkaError::MessageConsumption(code)));
                    }
                }
            }
            match last {
                Some(rows) => return Ok(rows),
                None if from == low => return Ok(Vec::new()),
                None => back *= 4,
            }
        }
    }
}

fn encode(rows: &[(i64, u32)]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(rows.len() * ENTRY_BYTES);
    for (seq, mark) in rows {
        bytes.extend_from_slice(&seq.to_be_bytes());
        bytes.extend_from_slice(&mark.to_be_bytes());
    }
    bytes
}

fn decode(bytes: &[u8]) -> Vec<(i64, u32)> {
    bytes
        .chunks_exact(ENTRY_BYTES)
        .filter_map(|entry| {
            let (seq, mark) = entry.split_at(8);
            Some((
                i64::from_be_bytes(seq.try_into().ok()?),
                u32::from_be_bytes(mark.try_into().ok()?),
            ))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_reads_markers_logs_in_as_the_producer_does() {
        let mut producer = ClientConfig::new();
        producer
            .set("sasl.password", "secret")
            .set("enable.ssl.certificate.verification", "false")
            .set("linger.ms", "1");
        let markers = Markers::new(&producer, Uuid::nil(), 0);
        assert_eq!(markers.config.get("sasl.password"), Some("secret"));
        assert_eq!(
            markers.config.get("enable.ssl.certificate.verification"),
            Some("false")
        );
        assert_eq!(markers.config.get("linger.ms"), None);
    }

    #[test]
    fn a_marker_survives_the_way_through_kafka() {
        let rows = [(1, 7), (i64::MAX, u32::MAX)];
        assert_eq!(decode(&encode(&rows)), rows);
        assert!(decode(&[]).is_empty());
    }
}
