//! Brokers that let nobody in without a password, in the clear and behind TLS: the publisher, what
//! fencing needs besides it, and the consumer.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use rdkafka::admin::{AdminClient, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use sqlx::{SqliteConnection, SqlitePool};
use swifttrack_outbox::{Consumer, Fencing, Handler, KafkaPublisher, Received};
use tokio::sync::watch;

use crate::own_kafka::{Listener, OwnKafka};
use crate::support::{Db, PATIENCE, Read, Tune, check_order, numbered};

/// Keeps what it is given.
#[derive(Clone, Default)]
struct Keep(Arc<Mutex<Vec<Read>>>);

impl Handler<SqlitePool> for Keep {
    async fn handle(
        &self,
        _tx: &mut SqliteConnection,
        event: &Received,
    ) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        self.0.lock().unwrap().push(Read {
            key: String::from_utf8(event.key.clone().unwrap_or_default())?,
            payload: event.payload.clone().unwrap_or_default(),
            headers: Vec::new(),
        });
        Ok(())
    }
}

/// From the outbox through the broker to the consumer.
async fn through(kafka: &OwnKafka, fencing: Fencing) {
    let db = Db::sqlite().await;
    let Db::Sqlite { writer, .. } = &db else {
        unreachable!()
    };
    let topic = testkit::unique("secure");
    let admin: AdminClient<DefaultClientContext> = kafka.client().create().unwrap();
    let new = NewTopic::new(&topic, 2, TopicReplication::Fixed(1));
    let made = admin.create_topics([&new], &Default::default()).await;
    made.unwrap().remove(0).unwrap();

    db.append(&numbered(&topic, 5, 1, 100)).await.unwrap();
    let mut publisher = KafkaPublisher::new(kafka.brokers());
    let group = testkit::unique("group");
    let mut consumer = Consumer::new(kafka.brokers(), group, &[&topic]);
    for (name, value) in kafka.properties() {
        publisher = publisher.set(name, value.clone()).unwrap();
        consumer = consumer.set(name, value).unwrap();
    }
    let tune = Tune {
        fencing,
        ..Tune::default()
    };
    let relay = tune.on(&db, publisher).spawn().await.unwrap();
    db.until_empty().await;
    relay.shutdown(PATIENCE).await.unwrap();

    let (kept, pool) = (Keep::default(), writer.clone());
    let (stop, stopped) = watch::channel(false);
    let handler = kept.clone();
    let task = tokio::spawn(async move { consumer.run(pool, handler, stopped).await });
    let count = || kept.0.lock().unwrap().len();
    testkit::wait_until("all are consumed", PATIENCE, async || count() >= 100).await;
    stop.send_replace(true);
    task.await.unwrap().unwrap();
    let read = kept.0.lock().unwrap().clone();
    assert_eq!(check_order(&read, 5, 20), 0);
}

/// A listener without its lock would let the tests above pass too.
fn nobody_else_gets_in(kafka: &OwnKafka) {
    let mut stranger = kafka.client();
    stranger.set("sasl.password", "guessed");
    let stranger: BaseConsumer = stranger.create().unwrap();
    let answer = stranger.fetch_metadata(None, Duration::from_secs(2));
    assert!(answer.is_err(), "a wrong password was taken");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs Kafka's jars: cargo xtask test"]
async fn a_password_opens_a_listener_in_every_build() {
    let kafka = OwnKafka::start(Listener::Sasl).await;
    tokio::join!(
        through(&kafka, Fencing::Lease),
        through(&kafka, Fencing::KafkaTransactions)
    );
    nobody_else_gets_in(&kafka);
}

#[cfg(feature = "kafka-tls")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs Kafka's jars: cargo xtask test"]
async fn scram_behind_tls_opens_with_the_feature() {
    let kafka = OwnKafka::start(Listener::SaslTls).await;
    tokio::join!(
        through(&kafka, Fencing::Lease),
        through(&kafka, Fencing::KafkaTransactions)
    );
    nobody_else_gets_in(&kafka);
}
