//! What is on a topic, read as any other Kafka client would.

use std::collections::BTreeMap;
use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::{BorrowedMessage, Headers, Message};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};
use serde_json::Value;

use super::LIMIT;

/// One call to the broker.
const CALL_LIMIT: Duration = Duration::from_secs(10);

/// A record: where it stands, its key, its headers and its value.
#[derive(Clone, Debug)]
pub(crate) struct Record {
    pub(crate) partition: i32,
    pub(crate) key: String,
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) value: Value,
}

impl Record {
    fn of(message: &BorrowedMessage<'_>) -> Self {
        let text =
            |bytes: Option<&[u8]>| String::from_utf8(bytes.unwrap_or_default().to_vec()).unwrap();
        let headers = message.headers().into_iter().flat_map(Headers::iter);
        Self {
            partition: message.partition(),
            key: text(message.key()),
            headers: headers.map(|h| (h.key.to_owned(), text(h.value))).collect(),
            value: serde_json::from_slice(message.payload().unwrap_or_default()).unwrap(),
        }
    }

    /// The headers that every event has, and what they say of it.
    #[track_caller]
    pub(crate) fn assert_headers(&self) {
        let header = |name: &str| self.headers.get(name).map(String::as_str);
        for (name, wanted) in [
            ("id", self.value["eventId"].as_str()),
            ("type", self.value["eventType"].as_str()),
            ("content-type", Some("application/json")),
            ("ce_id", self.value["eventId"].as_str()),
            ("ce_source", Some("/swifttrack/order-service")),
            ("ce_type", self.value["eventType"].as_str()),
            ("ce_specversion", Some("1.0")),
        ] {
            assert_eq!(header(name), wanted, "{name}: {self:?}");
        }
    }

    /// The trace that it belongs to: of `00-trace-span-01`.
    #[track_caller]
    pub(crate) fn trace(&self) -> String {
        let parent = &self.headers["traceparent"];
        let parts: Vec<&str> = parent.split('-').collect();
        let lengths: Vec<usize> = parts.iter().map(|part| part.len()).collect();
        assert_eq!(lengths, [2, 32, 16, 2], "{parent}");
        parts[1].to_owned()
    }
}

/// How many partitions a topic has.
pub(crate) async fn partitions(brokers: &str, topic: &str) -> i32 {
    let (brokers, topic) = (brokers.to_owned(), topic.to_owned());
    let counting = tokio::task::spawn_blocking(move || {
        let consumer: BaseConsumer = ClientConfig::new()
            .set("bootstrap.servers", &brokers)
            .create()
            .unwrap();
        let list = from_the_beginning(&consumer, &topic);
        i32::try_from(list.count()).unwrap()
    });
    counting.await.unwrap()
}

/// Where Kafka's own producers put a key: murmur2 of `org.apache.kafka.common.utils.Utils`.
pub(crate) fn partition_of(key: &str, partitions: i32) -> i32 {
    const M: u32 = 0x5bd1_e995;
    let (words, rest) = key.as_bytes().as_chunks::<4>();
    let mut hash = 0x9747_b28c ^ u32::try_from(key.len()).unwrap();
    for word in words {
        let k = u32::from_le_bytes(*word).wrapping_mul(M);
        hash = hash.wrapping_mul(M) ^ (k ^ (k >> 24)).wrapping_mul(M);
    }
    if !rest.is_empty() {
        let last = rest
            .iter()
            .rev()
            .fold(0, |k, byte| k << 8 | u32::from(*byte));
        hash = (hash ^ last).wrapping_mul(M);
    }
    hash = (hash ^ (hash >> 13)).wrapping_mul(M);
    hash ^= hash >> 15;
    i32::try_from(hash & 0x7fff_ffff).unwrap() % partitions
}

/// Everything on the topic, in the order of each partition, once `enough` says so.
pub(crate) async fn read(
    brokers: &str,
    topic: &str,
    enough: impl Fn(&[Record]) -> bool + Send + 'static,
) -> Vec<Record> {
    let (brokers, topic) = (brokers.to_owned(), topic.to_owned());
    let reading = tokio::task::spawn_blocking(move || {
        let consumer: BaseConsumer = ClientConfig::new()
            .set("bootstrap.servers", &brokers)
            .set("group.id", testkit::unique("reader"))
            .set("enable.auto.commit", "false")
            .create()
            .unwrap();
        consumer
            .assign(&from_the_beginning(&consumer, &topic))
            .unwrap();
        let started = std::time::Instant::now();
        let mut records = Vec::new();
        while !enough(&records) {
            assert!(
                started.elapsed() < LIMIT,
                "{topic} holds {} records: {records:#?}",
                records.len()
            );
            if let Some(message) = consumer.poll(Duration::from_millis(100)) {
                records.push(Record::of(&message.unwrap()));
            }
        }
        records
    });
    reading.await.unwrap()
}

/// The records of one order, once there are `count` of them.
pub(crate) async fn of_order(brokers: &str, topic: &str, order: &str, count: usize) -> Vec<Record> {
    let key = order.to_owned();
    let is_its = move |record: &Record| record.key == key;
    let counted = is_its.clone();
    let all = read(brokers, topic, move |records| {
        count <= records.iter().filter(|record| counted(record)).count()
    })
    .await;
    all.into_iter().filter(is_its).collect()
}

fn from_the_beginning(consumer: &BaseConsumer, topic: &str) -> TopicPartitionList {
    let metadata = consumer.fetch_metadata(Some(topic), CALL_LIMIT).unwrap();
    let partitions = metadata.topics()[0].partitions();
    assert!(!partitions.is_empty(), "{topic} does not exist");
    let mut list = TopicPartitionList::new();
    for partition in partitions {
        list.add_partition_offset(topic, partition.id(), Offset::Beginning)
            .unwrap();
    }
    list
}
