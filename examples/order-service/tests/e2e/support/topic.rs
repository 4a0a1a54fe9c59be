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

/// A record: its key, its headers and its value.
#[derive(Clone, Debug)]
pub(crate) struct Record {
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
            key: text(message.key()),
            headers: headers.map(|h| (h.key.to_owned(), text(h.value))).collect(),
            value: serde_json::from_slice(message.payload().unwrap_or_default()).unwrap(),
        }
    }
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
