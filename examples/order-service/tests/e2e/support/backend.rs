//! Where a service keeps its state and sends its events.

use std::path::Path;
use std::sync::OnceLock;

use swifttrack_outbox::InProcessBroker;
use testkit::pg::TestDb;

/// One of the two ways to run the service.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "a test has one of them")]
pub(crate) enum Backend {
    /// A file and a broker inside the service: nothing else is needed.
    Sqlite,
    /// A database of the test's own, and topics of its own on a shared Kafka.
    PostgresAndKafka {
        db: TestDb,
        brokers: String,
        topics: Topics,
    },
}

/// The topics' names.
#[derive(Clone, Debug)]
pub(crate) struct Topics {
    pub(crate) order: String,
    pub(crate) retry: String,
    pub(crate) health: String,
}

impl Backend {
    pub(crate) fn sqlite() -> Self {
        Self::Sqlite
    }

    pub(crate) async fn postgres_and_kafka() -> Self {
        Self::PostgresAndKafka {
            db: TestDb::create().await,
            brokers: brokers(),
            topics: Topics {
                order: testkit::unique("order-events"),
                retry: testkit::unique("retry-events"),
                health: testkit::unique("health-events"),
            },
        }
    }

    /// The topics that the service writes.
    pub(crate) fn topics(&self) -> Topics {
        match self {
            Self::Sqlite => Topics {
                order: "order-events".to_owned(),
                retry: "retry-events".to_owned(),
                health: "health-events".to_owned(),
            },
            Self::PostgresAndKafka { topics, .. } => topics.clone(),
        }
    }

    /// For the service's environment.
    pub(crate) fn environment(&self, data: &Path) -> Vec<(&'static str, String)> {
        let mut environment = vec![("DATA_DIR", data.display().to_string())];
        if let Self::PostgresAndKafka {
            db,
            brokers,
            topics,
        } = self
        {
            environment.extend([
                ("DATABASE_URL", db.url().to_owned()),
                ("KAFKA_BROKERS", brokers.clone()),
                ("ORDER_EVENTS_TOPIC", topics.order.clone()),
                ("RETRY_EVENTS_TOPIC", topics.retry.clone()),
                ("HEALTH_EVENTS_TOPIC", topics.health.clone()),
            ]);
        }
        environment
    }
}

/// Kafka, where there is one, else a broker of this program for all its tests. What the service
/// does is the same on either; what Kafka does is tested elsewhere.
fn brokers() -> String {
    static BROKER: OnceLock<InProcessBroker> = OnceLock::new();
    std::env::var("TEST_KAFKA_BROKERS").unwrap_or_else(|_| {
        let broker = BROKER.get_or_init(|| InProcessBroker::start(&[], 4).unwrap());
        broker.bootstrap_servers().to_owned()
    })
}
