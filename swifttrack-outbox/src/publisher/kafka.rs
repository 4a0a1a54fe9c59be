//! Kafka, through librdkafka.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::mpsc;

use rdkafka::config::ClientConfig;

use super::sealed::Sealed;
use super::{Backend, Command, Commands, Link, Publisher, Start};
use crate::error::Error;
use crate::relay::core::Packing;
use crate::security;

mod broker;
mod errors;
mod ledger;
mod marker;
mod producer;
mod topics;
mod transactions;
mod worker;

pub use broker::InProcessBroker;

/// Publishes to Kafka with an idempotent producer that keeps the order of each key.
///
/// A thread of its own owns librdkafka's producer: it sends, serves delivery reports and looks
/// a topic up before it sends the first record there. A record that the broker refuses fails the
/// whole request that it is in; the records of that request are then sent again as requests of
/// their own, so that the second refusal names the culprit. Requests of which no record is
/// refused alone are too large for the topic (`max.message.bytes` counts a request's records
/// together), and are made half as large from then on.
///
/// # Defaults
/// What the laws of the outbox ask for, which cannot be changed: `enable.idempotence=true`,
/// `acks=all`, `enable.gapless.guarantee=true` (after a refused batch nothing later of its
/// partition may be acknowledged), `message.timeout.ms=0` (a record that expired would let its
/// successor overtake it; the relay itself ends what takes too long),
/// `partitioner=murmur2_random` (keys stay on their partition when Kafka Connect takes over).
/// And what can be changed with [`set`](Self::set): `linger.ms=1`, `batch.size=1000000`,
/// `batch.num.messages=10000`, `message.max.bytes=1048576`,
/// `queue.buffering.max.messages=500000`, `queue.buffering.max.kbytes=262144`,
/// `compression.type=none`, `socket.nagle.disable=true`, and with transactions
/// `retry.backoff.ms=2`.
///
/// # Security
/// The connection is as `security.protocol` says: `plaintext` (the default), `ssl`,
/// `sasl_plaintext` or `sasl_ssl`. TLS, and SASL with SCRAM, need the crate's feature `kafka-tls`,
/// which links OpenSSL of the machine (on Debian: `libssl-dev` and `pkg-config`); SASL with PLAIN
/// is in every build. The certificate of the broker and its name are verified, unless
/// `enable.ssl.certificate.verification` is `false`. A [`Consumer`](crate::Consumer) takes the same
/// properties.
///
/// ```no_run
/// use swifttrack_outbox::KafkaPublisher;
///
/// let publisher = KafkaPublisher::new("kafka-1:9093,kafka-2:9093")
///     .set("security.protocol", "sasl_ssl")?
///     .set("sasl.mechanism", "SCRAM-SHA-512")?
///     .set("sasl.username", "orders")?
///     .set("sasl.password", std::env::var("KAFKA_PASSWORD")?)?
///     // Without it, the authorities that the machine trusts.
///     .set("ssl.ca.location", "/etc/kafka/ca.pem")?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
/// With a client's certificate instead of a password: `security.protocol=ssl`,
/// `ssl.certificate.location`, `ssl.key.location` and, where the key has one, `ssl.key.password`.
///
/// Besides its topics a relay needs no right, but for
/// [`Fencing::KafkaTransactions`](crate::Fencing): there it also creates, writes and reads the topic
/// `swifttrack-outbox-markers-…`, reads as the group `swifttrack-outbox-markers`, and uses
/// transactional ids that begin with `swifttrack-outbox-`.
#[derive(Clone)]
pub struct KafkaPublisher {
    properties: BTreeMap<String, String>,
}

/// `retry.backoff.ms` of transactions; it doubles up to `retry.backoff.max.ms`.
const TRANSACTION_RETRY_MS: &str = "2";

/// Properties that a law decides, and the reason.
const LAWS: [(&[&str], &str); 8] = [
    (
        &["enable.idempotence", "acks", "request.required.acks"],
        "the order of retries rests on an idempotent producer with acks=all",
    ),
    (
        &["enable.gapless.guarantee"],
        "after a refused batch a later record must not be acknowledged",
    ),
    (
        &["message.timeout.ms", "delivery.timeout.ms"],
        "a record that expires lets its successor overtake it; the relay enforces time itself",
    ),
    (
        &["retries", "message.send.max.retries"],
        "a record that is given up lets its successor overtake it",
    ),
    (
        &["partitioner"],
        "it must be murmur2_random, or keys change their partition when Kafka Connect takes over",
    ),
    (
        &["transactional.id"],
        "the relay names its transactions; ask for them by Fencing::KafkaTransactions",
    ),
    (
        &[
            "delivery.report.only.error",
            "max.in.flight",
            "max.in.flight.requests.per.connection",
        ],
        "rows are deleted by their delivery reports, in order",
    ),
    (
        &["test.mock.num.brokers"],
        "a broker in this process is an InProcessBroker",
    ),
];

impl KafkaPublisher {
    /// A publisher to the brokers of `bootstrap.servers` (`host:port,host:port`).
    #[must_use]
    pub fn new(bootstrap_servers: impl Into<String>) -> Self {
        let mut properties = BTreeMap::new();
        for (name, value) in [
            ("linger.ms", "1"),
            ("batch.size", "1000000"),
            ("batch.num.messages", "10000"),
            ("message.max.bytes", "1048576"),
            ("queue.buffering.max.messages", "500000"),
            ("queue.buffering.max.kbytes", "262144"),
            ("socket.nagle.disable", "true"),
            ("client.id", "swifttrack-outbox"),
        ] {
            properties.insert(name.to_owned(), value.to_owned());
        }
        properties.insert("bootstrap.servers".to_owned(), bootstrap_servers.into());
        Self { properties }
    }

    /// Sets any property of librdkafka (`security.protocol`, `compression.type`, …), but those
    /// that a law of the outbox decides.
    ///
    /// # Errors
    /// [`Error::is_config`], with the law's reason, or with the feature that is missing for it.
    pub fn set(mut self, name: &str, value: impl Into<String>) -> Result<Self, Error> {
        for (names, reason) in LAWS {
            if names.contains(&name) {
                return Err(Error::config(format!("{name} cannot be set: {reason}")));
            }
        }
        let value = value.into();
        security::check_property(name, &value)?;
        self.properties.insert(name.to_owned(), value);
        Ok(self)
    }

    fn config(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        for (name, value) in &self.properties {
            config.set(name, value);
        }
        config
            .set("enable.idempotence", "true")
            .set("acks", "all")
            .set("message.timeout.ms", "0")
            .set("partitioner", "murmur2_random");
        config
    }
}

impl fmt::Debug for KafkaPublisher {
    /// Without the properties, since a password may be among them.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KafkaPublisher")
            .field(
                "bootstrap.servers",
                &self.properties.get("bootstrap.servers"),
            )
            .finish_non_exhaustive()
    }
}

impl Sealed for KafkaPublisher {}

impl Publisher for KafkaPublisher {
    fn backend(self) -> Backend {
        Backend(Box::new(self))
    }
}

impl Start for KafkaPublisher {
    fn start(self: Box<Self>, link: Link) -> Result<Box<dyn Commands>, Error> {
        let mut config = self.config();
        security::check_whole(&config)?;
        if link.transactions {
            // A record that expires aborts its transaction, so it overtakes nothing.
            config
                .set("transaction.timeout.ms", "60000")
                .set("message.timeout.ms", "60000");
            // A broker that verifies a transaction's partitions, as Kafka does since 3.6, has one
            // such question of a producer waiting, and answers the request that asked before with
            // an error that is to be tried again; each partition is a request of its own here.
            if config.get("retry.backoff.ms").is_none() {
                config.set("retry.backoff.ms", TRANSACTION_RETRY_MS);
            }
            drop(producer::create(&config, Packing::Full { halvings: 0 })?);
            return Ok(Box::new(transactions::Transactions::new(config, link)));
        }
        config.set("enable.gapless.guarantee", "true");
        // A wrong property is found now, not when the first row waits.
        drop(producer::create(&config, Packing::Full { halvings: 0 })?);
        // Not bounded by itself: the core bounds the batches in flight.
        let (commands, inbox) = mpsc::channel();
        std::thread::Builder::new()
            .name("outbox-kafka".to_owned())
            .spawn(move || worker::Worker::new(config, link).run(&inbox))
            .map_err(|error| Error::config(format!("no thread for the producer: {error}")))?;
        Ok(Box::new(Running { commands }))
    }

    fn has_transactions(&self) -> bool {
        true
    }
}

/// The way to the owner's thread, which ends when this is dropped.
struct Running {
    commands: mpsc::Sender<Command>,
}

impl Commands for Running {
    fn command(&self, command: Command) {
        // The thread ends only after this was dropped, or by a panic that it has told of.
        let _ = self.commands.send(command);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_property_that_breaks_a_law_is_refused_with_the_reason() {
        for name in [
            "acks",
            "message.timeout.ms",
            "partitioner",
            "transactional.id",
            "retries",
        ] {
            let refused = KafkaPublisher::new("127.0.0.1:1")
                .set(name, "1")
                .unwrap_err();
            assert!(
                refused.is_config() && refused.to_string().contains(name),
                "{refused}"
            );
        }
        let fine = KafkaPublisher::new("127.0.0.1:1").set("compression.type", "lz4");
        assert!(fine.is_ok());
    }

    #[test]
    fn a_password_is_not_shown() {
        let publisher = KafkaPublisher::new("kafka:9092")
            .set("sasl.password", "hunter2")
            .unwrap();
        let shown = format!("{publisher:?}");
        assert!(
            shown.contains("kafka:9092") && !shown.contains("hunter2"),
            "{shown}"
        );
    }
}
