//! The events' way out: the outbox table, its relay, and the broker.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use chrono::Utc;
use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use swifttrack_outbox::{
    Database, Event, InProcessBroker, KafkaPublisher, Relay, RelayHandle, Waker, append, backlog,
};
use tokio::sync::Mutex;
use uuid::Uuid;

use crate::app::App;
use crate::broker_lock::BrokerLock;
use crate::config::Config;
use crate::db::Db;
use crate::event::{Draft, SOURCE, health_event};
use crate::step::Step;
use crate::wire::StartError;

pub mod commands;

/// Partitions of topics that the in-process broker makes.
const PARTITIONS: u16 = 4;
/// How long a broker may take to say which topics it has.
const PROBE_TIMEOUT: Duration = Duration::from_secs(2);

/// The relay of this process and what it publishes to.
#[derive(Debug)]
pub struct Outbox {
    database: Database,
    waker: Waker,
    relay: Mutex<Option<RelayHandle>>,
    brokers: String,
    answers: Arc<AtomicBool>,
    topic: String,
    /// Lives as long as the service; its log ends with it.
    embedded: Option<InProcessBroker>,
    /// That no other replica has one.
    lock: Option<BrokerLock>,
}

/// An event as the outbox takes it: the envelope under the order's (or the service's) key.
#[must_use]
pub fn outgoing(topic: &str, id: Uuid, key: &str, kind: &str, envelope: &[u8]) -> Event {
    Event::new(topic.to_owned(), key.to_owned(), kind.to_owned(), envelope).with_id(id)
}

impl Outbox {
    /// Makes the outbox's tables, starts the broker if none is configured, and the relay.
    ///
    /// # Errors
    ///
    /// One sentence.
    pub async fn start(config: &Config, db: &Db) -> Result<Self, StartError> {
        let database = match db {
            Db::Postgres { direct, .. } => Database::postgres(direct.clone()),
            Db::Sqlite { write, read } => Database::sqlite(write.clone(), read.clone()),
        };
        swifttrack_outbox::migrate(database.clone())
            .await
            .map_err(|error| StartError::because("the outbox tables cannot be prepared", error))?;
        let (embedded, lock) = match &config.kafka_brokers {
            Some(_) => (None, None),
            None => embed(config).await?,
        };
        let brokers = match (&config.kafka_brokers, &embedded) {
            (Some(brokers), _) => brokers.clone(),
            (None, Some(broker)) => broker.bootstrap_servers().to_owned(),
            (None, None) => String::new(),
        };
        let relay = Relay::new(database.clone(), KafkaPublisher::new(brokers.clone()))
            .source(SOURCE)
            .spawn()
            .await
            .map_err(|error| StartError::because("the outbox relay cannot start", error))?;
        Ok(Self {
            database,
            waker: relay.waker(),
            relay: Mutex::new(Some(relay)),
            brokers,
            answers: Arc::new(AtomicBool::new(true)),
            topic: config.topics.health.clone(),
            embedded,
            lock,
        })
    }

    /// Wakes the relay after a commit.
    #[must_use]
    pub fn waker(&self) -> Waker {
        self.waker.clone()
    }

    /// Where consumers reach the broker.
    #[must_use]
    pub fn brokers(&self) -> &str {
        &self.brokers
    }

    /// Rows that wait, and the age of the oldest in seconds. None if the database does not answer.
    pub async fn backlog(&self) -> Option<(u64, f64)> {
        let backlog = backlog(self.database.clone()).await.ok()?;
        Some((backlog.rows, backlog.oldest_age.as_secs_f64()))
    }

    /// Whether the broker answered when it was last asked.
    #[must_use]
    pub fn broker_answers(&self) -> bool {
        self.answers.load(Ordering::Relaxed)
    }

    /// Asks the broker, and sees that it is the only one.
    pub async fn probe(&self) {
        let alone = match &self.lock {
            Some(lock) => lock.is_held().await,
            None => true,
        };
        let brokers = self.brokers.clone();
        let answered = tokio::task::spawn_blocking(move || {
            let client: BaseConsumer = ClientConfig::new()
                .set("bootstrap.servers", brokers)
                .create()?;
            client.fetch_metadata(None, PROBE_TIMEOUT).map(drop)
        })
        .await;
        let answers = matches!(answered, Ok(Ok(()))) && alone;
        if self.answers.swap(answers, Ordering::Relaxed) != answers {
            tracing::warn!(answers, alone, brokers = %self.brokers, "the broker changed its mind");
        }
    }

    /// Publishes what happened to a partner. A database that is gone costs the event, not the service.
    pub async fn health_event(&self, app: &App, step: Step, draft: &Draft) {
        let id = Uuid::now_v7();
        let envelope = health_event(id, step.service(), &app.instance, Utc::now(), draft);
        let event = outgoing(
            &self.topic,
            id,
            step.service(),
            &draft.kind,
            envelope.to_string().as_bytes(),
        );
        if let Err(error) = self.append(app, &event).await {
            tracing::warn!(%error, kind = %draft.kind, "a health event was not written");
        }
        self.waker.wake();
    }

    async fn append(
        &self,
        app: &App,
        event: &Event,
    ) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        match &app.db {
            Db::Postgres { direct, .. } => {
                append(&mut *direct.acquire().await?, event).await?;
            }
            Db::Sqlite { write, .. } => {
                append(&mut *write.acquire().await?, event).await?;
            }
        }
        Ok(())
    }

    /// Publishes what is committed, gives the leases back, and lets the broker go.
    pub async fn stop(&self, limit: Duration) {
        if let Some(relay) = self.relay.lock().await.take()
            && let Err(error) = relay.shutdown(limit).await
        {
            tracing::warn!(%error, "the relay did not end in time; its rows go out after the next start");
        }
        if self.embedded.is_some() {
            tracing::debug!("the in-process broker ends with the process");
        }
    }
}

/// Starts the broker of this process.
async fn embed(
    config: &Config,
) -> Result<(Option<InProcessBroker>, Option<BrokerLock>), StartError> {
    let lock = match &config.database {
        crate::config::Database::Sqlite(_) => None,
        crate::config::Database::Postgres { direct_url, .. } => {
            let taken = BrokerLock::take(direct_url)
                .await
                .map_err(|error| StartError::because("the database cannot be reached", error))?;
            Some(taken.ok_or_else(|| {
                StartError::new(
                    "another replica on this database has the in-process broker; \
                     set KAFKA_BROKERS to run more than one",
                )
            })?)
        }
    };
    let topics = [
        config.topics.order.as_str(),
        config.topics.retry.as_str(),
        config.topics.health.as_str(),
    ];
    let broker = InProcessBroker::start(&topics, PARTITIONS)
        .map_err(|error| StartError::because("the in-process broker cannot start", error))?;
    Ok((Some(broker), lock))
}
