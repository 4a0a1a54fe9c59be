//! Apache Kafka is killed, and stopped, and comes back, while batches are on their way; a topic is
//! missing, since this one makes none by itself.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use swifttrack_outbox::{Event, Fencing, RelayHandle, slot_of};

use crate::own_kafka::{Listener, OwnKafka};
use crate::support::{Broker, Db, PATIENCE, Tune, check_order, numbered};

const KEYS: u64 = 20;
const BATCH: u32 = 100;
/// A relay's own default.
const BATCHES_MAX: usize = 8;
/// What a writer lets wait: an outage is longer than a test wants to publish.
const BACKLOG_MAX: u64 = 1_000;

/// An outbox whose writer does not rest, its relay and its topic.
struct Lane {
    db: Arc<Db>,
    relay: RelayHandle,
    topic: String,
    done: Arc<AtomicBool>,
    /// Numbers of each key that are committed.
    written: Arc<AtomicU64>,
    writer: tokio::task::JoinHandle<()>,
}

impl Lane {
    async fn start(broker: &Broker, db: Db, fencing: Fencing) -> Self {
        let db = Arc::new(db);
        let topic = broker.topic().await;
        let tune = Tune {
            fencing,
            batch: BATCH,
            ..Tune::default()
        };
        let relay = broker.relay(&db, tune).await;
        let (done, written) = (Arc::<AtomicBool>::default(), Arc::<AtomicU64>::default());
        let writer = tokio::spawn(write(
            Arc::clone(&db),
            topic.clone(),
            Arc::clone(&done),
            Arc::clone(&written),
        ));
        Self {
            db,
            relay,
            topic,
            done,
            written,
            writer,
        }
    }

    fn is_publishing(&self) -> bool {
        self.relay.status().in_flight > 0
    }

    /// How many records a reader saw twice.
    async fn end(self, broker: &Broker) -> usize {
        self.done.store(true, Ordering::Relaxed);
        self.writer.await.unwrap();
        self.db.until_empty().await;
        self.relay.shutdown(PATIENCE).await.unwrap();
        let last = self.written.load(Ordering::Relaxed);
        check_order(&broker.read(&self.topic).await, KEYS, last)
    }
}

async fn write(db: Arc<Db>, topic: String, done: Arc<AtomicBool>, written: Arc<AtomicU64>) {
    const NUMBERS: u64 = 10;
    while !done.load(Ordering::Relaxed) {
        if db.rows().await > BACKLOG_MAX {
            tokio::time::sleep(Duration::from_millis(10)).await;
            continue;
        }
        let next = written.load(Ordering::Relaxed) + 1;
        let events = numbered(&topic, KEYS, next, KEYS * NUMBERS);
        db.append(&events).await.unwrap();
        written.fetch_add(NUMBERS, Ordering::Relaxed);
    }
}

/// One broker for all, since starting it takes longer than the rest.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs Postgres and Kafka's jars: cargo xtask test"]
async fn a_broker_that_dies_or_stops_in_the_middle_of_batches_loses_nothing() {
    let mut kafka = OwnKafka::start(Listener::Plain).await;
    let broker = Broker::Kafka(kafka.brokers());
    let lanes = [
        Lane::start(&broker, Db::postgres().await, Fencing::Lease).await,
        Lane::start(&broker, Db::sqlite().await, Fencing::Lease).await,
        Lane::start(&broker, Db::postgres().await, Fencing::KafkaTransactions).await,
    ];
    for signal in ["-KILL", "-TERM"] {
        let before: Vec<u64> = lanes
            .iter()
            .map(|lane| lane.written.load(Ordering::Relaxed))
            .collect();
        testkit::wait_until("batches of all are on their way", PATIENCE, async || {
            // More than may wait was written since, so something was published in this life.
            let published = lanes.iter().zip(&before).all(|(lane, before)| {
                let since = lane.written.load(Ordering::Relaxed) - before;
                since * KEYS > 2 * BACKLOG_MAX
            });
            published && lanes.iter().all(Lane::is_publishing)
        })
        .await;
        kafka.stop(signal);
        testkit::wait_until("rows wait for the broker", PATIENCE, async || {
            let mut waiting = true;
            for lane in &lanes {
                waiting &= lane.db.rows().await >= BACKLOG_MAX;
            }
            waiting
        })
        .await;
        kafka.run();
    }
    let mut repeats = Vec::new();
    for lane in lanes {
        repeats.push(lane.end(&broker).await);
    }
    // A stop may repeat what was in flight, and no more.
    let in_flight_max = BATCH as usize * BATCHES_MAX;
    assert!(
        repeats[0] <= 2 * in_flight_max && repeats[1] <= 2 * in_flight_max,
        "{repeats:?}"
    );
    assert_eq!(repeats[2], 0, "with transactions");
}

/// The last transaction was put together while the one before was on its way, which left out the
/// event whose topic is missing. Whoever has the slots next must not take it for published.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs Kafka's jars: cargo xtask test"]
async fn an_event_that_a_transaction_left_out_outlives_its_relay() {
    let kafka = OwnKafka::start(Listener::Plain).await;
    let broker = Broker::Kafka(kafka.brokers());
    let (here, missing) = (broker.topic().await, testkit::unique("missing"));
    let db = Db::sqlite().await;
    // Slots change hands, and are published, in groups of eight.
    let group = slot_of(&missing, "key-0") / 8;
    let key = (0..).map(|n| format!("other-{n}"));
    let key = key.into_iter().find(|key| slot_of(&here, key) / 8 == group);
    let key = key.unwrap();
    let other = |number: u32| Event::new(here.clone(), key.clone(), "T", number.to_string());
    let mut events = numbered(&missing, 1, 1, 1);
    events.extend([other(1), other(2), other(3)]);
    db.append(&events).await.unwrap();
    let tune = Tune {
        fencing: Fencing::KafkaTransactions,
        batch: 2,
        ..Tune::default()
    };
    let first = broker.relay(&db, tune).await;
    testkit::wait_until("all others are published", PATIENCE, async || {
        db.rows().await == 1
    })
    .await;
    first.shutdown(PATIENCE).await.unwrap();
    let second = broker.relay(&db, tune).await;
    // It has to fence the group for this, and to delete what the marker lists.
    db.append(&[other(4)]).await.unwrap();
    testkit::wait_until("the next is published", PATIENCE, async || {
        broker.read(&here).await.len() == 4
    })
    .await;
    broker.create(&missing).await;
    db.until_empty().await;
    second.shutdown(PATIENCE).await.unwrap();
    assert_eq!(check_order(&broker.read(&missing).await, 1, 1), 0);
}
