//! The peer: the same records by a bare `BaseProducer` loop, without a database.

use std::time::{Duration, Instant};

use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _};
use rdkafka::types::RDKafkaErrorCode;
use uuid::Uuid;

use super::Error;
use super::pool::{SOURCE, TRACE, TYPE, key, payload};

/// Records between two looks at the reports.
const BURST: u64 = 1_000;

/// Rows a second: idempotent, `acks=all`, the headers that the relay sets.
pub(crate) fn producer_rate(brokers: &str, topic: &str, rows: u64) -> Result<f64, Error> {
    let producer: BaseProducer = ClientConfig::new()
        .set("bootstrap.servers", brokers)
        .set("enable.idempotence", "true")
        .set("acks", "all")
        .set("linger.ms", "1")
        .set("batch.size", "1000000")
        .set("queue.buffering.max.messages", "500000")
        .create()?;
    // Warm: connected, with a producer id.
    let warm = BaseRecord::<str, [u8]>::to(topic).key("warm").payload(b"x");
    producer.send(warm).map_err(|(error, _)| error)?;
    producer.flush(Duration::from_secs(30))?;
    let payload = payload();
    let start = Instant::now();
    for n in 0..rows {
        send(&producer, topic, &key(n), &payload)?;
        if n % BURST == 0 {
            producer.poll(Duration::ZERO);
        }
    }
    while producer.in_flight_count() > 0 {
        wait(&producer);
    }
    Ok(rows as f64 / start.elapsed().as_secs_f64())
}

fn send(producer: &BaseProducer, topic: &str, key: &str, payload: &[u8]) -> Result<(), Error> {
    let id = Uuid::now_v7().to_string();
    loop {
        let mut headers = OwnedHeaders::new_with_capacity(8);
        for (key, value) in [
            ("id", id.as_str()),
            ("type", TYPE),
            ("content-type", "application/json"),
            ("traceparent", TRACE),
            ("ce_id", &id),
            ("ce_source", SOURCE),
            ("ce_type", TYPE),
            ("ce_specversion", "1.0"),
        ] {
            headers = headers.insert(Header {
                key,
                value: Some(value),
            });
        }
        let record = BaseRecord::<str, [u8]>::to(topic)
            .key(key)
            .payload(payload)
            .headers(headers);
        match producer.send(record) {
            Ok(()) => return Ok(()),
            Err((error, _)) if error.rdkafka_error_code() == Some(RDKafkaErrorCode::QueueFull) => {
                wait(producer);
            }
            Err((error, _)) => return Err(error.into()),
        }
    }
}

/// A poll with a timeout would spin through its last millisecond, and take the processor from
/// the broker.
fn wait(producer: &BaseProducer) {
    std::thread::sleep(Duration::from_micros(250));
    for _ in 0..100 {
        producer.poll(Duration::ZERO);
    }
}

pub(crate) async fn make_topic(brokers: &str, topic: &str) -> Result<(), Error> {
    let admin: AdminClient<DefaultClientContext> = ClientConfig::new()
        .set("bootstrap.servers", brokers)
        .create()?;
    let new = NewTopic::new(topic, 4, TopicReplication::Fixed(-1));
    for made in admin.create_topics([&new], &Default::default()).await? {
        made.map_err(|(topic, code)| format!("{topic}: {code}"))?;
    }
    Ok(())
}
