//! A Kafka broker inside the process.

use std::fmt;

use rdkafka::config::ClientConfig;
use rdkafka::producer::{BaseProducer, Producer as _};

use crate::error::Error;

/// librdkafka's mock cluster: a broker on 127.0.0.1 that other clients can reach, for a service
/// that is tried out on one machine and for tests.
///
/// It is a window, not a store: its log ends with the process and forgets at 5 MiB or 100,000
/// batches a partition. It has no transactions worth the name, no admin requests and no
/// security. An unknown topic is made by its first use, with four partitions.
///
/// # Examples
/// ```
/// use swifttrack_outbox::{InProcessBroker, KafkaPublisher};
///
/// let broker = InProcessBroker::start(&["order-events"], 4)?;
/// let publisher = KafkaPublisher::new(broker.bootstrap_servers());
/// # Ok::<(), swifttrack_outbox::Error>(())
/// ```
pub struct InProcessBroker {
    bootstrap_servers: String,
    /// It owns the cluster.
    client: BaseProducer,
}

impl InProcessBroker {
    /// Starts it on a free port and makes the topics.
    ///
    /// # Errors
    /// [`Error::is_kafka`] when librdkafka could not start it or make a topic.
    pub fn start(topics: &[&str], partitions: u16) -> Result<Self, Error> {
        let client: BaseProducer = ClientConfig::new()
            .set("test.mock.num.brokers", "1")
            .set("client.id", "in-process-broker")
            .create()
            .map_err(|error| Error::kafka("starting the in-process broker", error))?;
        let cluster = client
            .client()
            .mock_cluster()
            .ok_or_else(|| Error::config("this librdkafka has no in-process broker"))?;
        for topic in topics {
            cluster
                .create_topic(topic, i32::from(partitions), 1)
                .map_err(|error| Error::kafka("making a topic", error))?;
        }
        let bootstrap_servers = cluster.bootstrap_servers();
        drop(cluster);
        Ok(Self {
            bootstrap_servers,
            client,
        })
    }

    /// Where clients reach it: `127.0.0.1:port`.
    #[must_use]
    pub fn bootstrap_servers(&self) -> &str {
        &self.bootstrap_servers
    }

    /// Makes a topic.
    ///
    /// # Errors
    /// [`Error::is_kafka`] when it is there already.
    pub fn create_topic(&self, topic: &str, partitions: u16) -> Result<(), Error> {
        self.with_cluster("making a topic", |cluster| {
            cluster.create_topic(topic, i32::from(partitions), 1)
        })
    }

    /// Stops answering, as a broker that went down.
    ///
    /// # Errors
    /// [`Error::is_kafka`] when librdkafka refuses.
    pub fn pause(&self) -> Result<(), Error> {
        self.with_cluster("pausing the broker", |cluster| cluster.broker_down(1))
    }

    /// Answers again.
    ///
    /// # Errors
    /// [`Error::is_kafka`] when librdkafka refuses.
    pub fn resume(&self) -> Result<(), Error> {
        self.with_cluster("resuming the broker", |cluster| cluster.broker_up(1))
    }

    pub(super) fn with_cluster(
        &self,
        doing: &'static str,
        work: impl FnOnce(
            &rdkafka::mocking::MockCluster<'_, rdkafka::producer::DefaultProducerContext>,
        ) -> rdkafka::error::KafkaResult<()>,
    ) -> Result<(), Error> {
        let cluster = self
            .client
            .client()
            .mock_cluster()
            .ok_or_else(|| Error::config("this librdkafka has no in-process broker"))?;
        work(&cluster).map_err(|error| Error::kafka(doing, error))
    }
}

impl fmt::Debug for InProcessBroker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InProcessBroker")
            .field("bootstrap_servers", &self.bootstrap_servers)
            .finish_non_exhaustive()
    }
}
