//! From the outbox to the consumer's effects, each once.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock, Mutex};
use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, Consumer as _};
use sqlx::{PgConnection, PgPool};
use swifttrack_outbox::{Consumer, Error, Handler, Received};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::support::{Broker, Db, PATIENCE, Tune, numbered};

/// Writes each event as an effect, and fails at the payload that it is told to.
struct Effects {
    poison: Option<&'static [u8]>,
}

impl Handler<PgPool> for Effects {
    async fn handle(
        &self,
        tx: &mut PgConnection,
        event: &Received,
    ) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        if self.poison.is_some() && event.payload.as_deref() == self.poison {
            return Err("poison".into());
        }
        write_effect(tx, event).await
    }
}

type Handled = Result<(), Box<dyn std::error::Error + Send + Sync>>;

async fn write_effect(tx: &mut PgConnection, event: &Received) -> Handled {
    sqlx::query("INSERT INTO effect (key, number) VALUES ($1, $2)")
        .bind(key_of(event))
        .bind(number_of(event))
        .execute(tx)
        .await?;
    Ok(())
}

fn key_of(event: &Received) -> String {
    String::from_utf8(event.key.clone().unwrap()).unwrap()
}

fn number_of(event: &Received) -> i64 {
    let text = event.payload.as_deref().unwrap();
    std::str::from_utf8(text).unwrap().parse().unwrap()
}

/// A consumer that runs until it is told to stop.
struct Running {
    stop: watch::Sender<bool>,
    task: JoinHandle<Result<(), Error>>,
}

impl Running {
    fn start(consumer: Consumer, pool: &PgPool, handler: impl Handler<PgPool>) -> Self {
        let (stop, stopped) = watch::channel(false);
        let pool = pool.clone();
        let task = tokio::spawn(async move { consumer.run(pool, handler, stopped).await });
        Self { stop, task }
    }

    async fn end(self) {
        self.stop.send_replace(true);
        let ended = tokio::time::timeout(PATIENCE, self.task).await;
        ended.unwrap().unwrap().unwrap();
    }
}

async fn set_up(keys: u64, count: u64) -> (Db, PgPool, Broker, String) {
    let (db, broker) = (Db::postgres().await, Broker::kafka());
    let Db::Postgres { pool, .. } = &db else {
        unreachable!()
    };
    let pool = pool.clone();
    // No unique key: an effect that happens twice is seen.
    sqlx::query("CREATE TABLE effect (at bigserial PRIMARY KEY, key text, number bigint)")
        .execute(&pool)
        .await
        .unwrap();
    let topic = broker.topic().await;
    db.append(&numbered(&topic, keys, 1, count)).await.unwrap();
    let relay = broker.relay(&db, Tune::default()).await;
    db.until_empty().await;
    relay.shutdown(PATIENCE).await.unwrap();
    (db, pool, broker, topic)
}

async fn effects(pool: &PgPool) -> i64 {
    sqlx::query_scalar("SELECT count(*) FROM effect")
        .fetch_one(pool)
        .await
        .unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs Postgres and Kafka: cargo xtask test"]
async fn consumers_that_come_and_go_handle_each_event_once() {
    let (db, pool, broker, topic) = set_up(20, 2_000).await;
    let group = testkit::unique("group");
    let mut members = Vec::new();
    for _ in 0..2 {
        let (stop, stopped) = watch::channel(false);
        let consumer = Consumer::new(broker.address(), &group, &[&topic])
            .batch(37)
            .set("session.timeout.ms", "6000")
            .unwrap();
        let pool = pool.clone();
        let task =
            tokio::spawn(
                async move { consumer.run(pool, Effects { poison: None }, stopped).await },
            );
        testkit::wait_until("some are handled", PATIENCE, async || {
            effects(&pool_of(&db)).await > 0
        })
        .await;
        members.push((stop, task));
    }
    testkit::wait_until("all are handled", PATIENCE, async || {
        effects(&pool).await >= 2_000
    })
    .await;
    for (stop, task) in members {
        stop.send_replace(true);
        task.await.unwrap().unwrap();
    }
    assert_eq!(effects(&pool).await, 2_000);
    assert_eq!(disordered(&pool).await, 0);
}

async fn disordered(pool: &PgPool) -> i64 {
    sqlx::query_scalar(
        "SELECT count(*) FROM effect a JOIN effect b ON a.key = b.key AND a.number < b.number AND a.at > b.at",
    )
    .fetch_one(pool)
    .await
    .unwrap()
}

fn pool_of(db: &Db) -> PgPool {
    let Db::Postgres { pool, .. } = db else {
        unreachable!()
    };
    pool.clone()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs Postgres and Kafka: cargo xtask test"]
async fn a_failing_event_is_put_aside_and_stops_no_other() {
    let (_db, pool, broker, topic) = set_up(1, 20).await;
    let (stop, stopped) = watch::channel(false);
    let consumer = Consumer::new(broker.address(), testkit::unique("group"), &[&topic]).tries(2);
    let (other, effect) = (pool.clone(), Effects { poison: Some(b"7") });
    let task = tokio::spawn(async move { consumer.run(other, effect, stopped).await });
    testkit::wait_until("the others are handled", PATIENCE, async || {
        effects(&pool).await == 19
    })
    .await;
    stop.send_replace(true);
    tokio::time::timeout(Duration::from_secs(30), task)
        .await
        .unwrap()
        .unwrap()
        .unwrap();
    let dead: Vec<(i64, String)> = sqlx::query_as("SELECT position, reason FROM inbox_dead")
        .fetch_all(&pool)
        .await
        .unwrap();
    assert_eq!(dead, [(6, "poison".to_owned())]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs Postgres and Kafka: cargo xtask test"]
async fn an_offset_of_another_cluster_or_past_the_end_stops() {
    let (_db, pool, broker, topic) = set_up(1, 4).await;
    for (cluster, next) in [("another", 0_i64), ("", 1_000_000)] {
        let group = testkit::unique("group");
        let cluster = if cluster.is_empty() {
            cluster_id(&broker)
        } else {
            cluster.to_owned()
        };
        for partition in 0..4 {
            sqlx::query("INSERT INTO inbox_offset VALUES ($1, $2, $3, $4, $5)")
                .bind(&group)
                .bind(&cluster)
                .bind(&topic)
                .bind(partition)
                .bind(next)
                .execute(&pool)
                .await
                .unwrap();
        }
        let (_stop, stopped) = watch::channel(false);
        let consumer = Consumer::new(broker.address(), &group, &[&topic]);
        let run = consumer.run(pool.clone(), Effects { poison: None }, stopped);
        let error = tokio::time::timeout(PATIENCE, run)
            .await
            .unwrap()
            .unwrap_err();
        assert!(error.is_offset(), "{error}");
    }
    assert_eq!(effects(&pool).await, 0);
}

/// Nothing in the inbox knows the first events here: only the seek keeps them from the handler.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs Postgres and Kafka: cargo xtask test"]
async fn a_consumer_begins_where_its_database_stands() {
    let (_db, pool, broker, topic) = set_up(1, 20).await;
    let group = testkit::unique("group");
    // One key, so all are in one partition.
    let partition = partition_of_all(&broker, &topic);
    sqlx::query("INSERT INTO inbox_offset VALUES ($1, $2, $3, $4, 15)")
        .bind(&group)
        .bind(cluster_id(&broker))
        .bind(&topic)
        .bind(partition)
        .execute(&pool)
        .await
        .unwrap();
    let consumer = Consumer::new(broker.address(), &group, &[&topic]);
    let running = Running::start(consumer, &pool, Effects { poison: None });
    testkit::wait_until("the rest is handled", PATIENCE, async || {
        offset(&pool, &group).await == 20
    })
    .await;
    running.end().await;
    let numbers: Vec<i64> = sqlx::query_scalar("SELECT number FROM effect ORDER BY at")
        .fetch_all(&pool)
        .await
        .unwrap();
    assert_eq!(numbers, [16, 17, 18, 19, 20]);
}

/// A database that does not answer when partitions are assigned ends no consumer.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs Postgres and Kafka: cargo xtask test"]
async fn offsets_that_cannot_be_read_are_asked_for_again() {
    let (_db, pool, broker, topic) = set_up(1, 20).await;
    let rename = async |sql: &'static str| {
        sqlx::query(sql).execute(&pool).await.unwrap();
    };
    rename("ALTER TABLE inbox_offset RENAME TO away").await;
    let group = testkit::unique("group");
    let consumer = Consumer::new(broker.address(), &group, &[&topic]);
    let running = Running::start(consumer, &pool, Effects { poison: None });
    testkit::wait_until("it has its partitions", PATIENCE, async || {
        state_of(&broker, &group).await == "Stable"
    })
    .await;
    let asked = "SELECT xact_rollback FROM pg_stat_database WHERE datname = current_database()";
    testkit::wait_until("it has asked in vain", PATIENCE, async || {
        let failed: i64 = sqlx::query_scalar(asked).fetch_one(&pool).await.unwrap();
        failed > 0
    })
    .await;
    rename("ALTER TABLE away RENAME TO inbox_offset").await;
    testkit::wait_until("all are handled", PATIENCE, async || {
        effects(&pool).await == 20
    })
    .await;
    running.end().await;
}

fn partition_of_all(broker: &Broker, topic: &str) -> i32 {
    let reader: BaseConsumer = rdkafka::ClientConfig::new()
        .set("bootstrap.servers", broker.address())
        .create()
        .unwrap();
    let has_some = |partition: &i32| {
        let ends = reader.fetch_watermarks(topic, *partition, PATIENCE);
        ends.unwrap().1 > 0
    };
    (0..4).find(has_some).unwrap()
}

/// How far the group has come, over all partitions.
async fn offset(pool: &PgPool, group: &str) -> i64 {
    sqlx::query_scalar(
        "SELECT coalesce(sum(next), 0)::bigint FROM inbox_offset WHERE consumer = $1",
    )
    .bind(group)
    .fetch_one(pool)
    .await
    .unwrap()
}

/// Fails at each event so often before it takes it.
struct Recovers {
    failures: u64,
    calls: AtomicU64,
}

impl Handler<PgPool> for Recovers {
    async fn handle(&self, tx: &mut PgConnection, event: &Received) -> Handled {
        // The effect of a failed try is rolled back.
        write_effect(tx, event).await?;
        if self.calls.fetch_add(1, Ordering::Relaxed) < self.failures {
            return Err("not yet".into());
        }
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs Postgres and Kafka: cargo xtask test"]
async fn an_event_whose_handler_recovers_is_not_put_aside() {
    let (_db, pool, broker, topic) = set_up(1, 5).await;
    let consumer = Consumer::new(broker.address(), testkit::unique("group"), &[&topic]).tries(3);
    let handler = Recovers {
        // The batch, and the first event twice.
        failures: 3,
        calls: AtomicU64::new(0),
    };
    let running = Running::start(consumer, &pool, handler);
    testkit::wait_until("all are handled", PATIENCE, async || {
        effects(&pool).await == 5
    })
    .await;
    running.end().await;
    let dead: i64 = sqlx::query_scalar("SELECT count(*) FROM inbox_dead")
        .fetch_one(&pool)
        .await
        .unwrap();
    assert_eq!(dead, 0);
}

/// Holds each event back until the gate is open.
struct Gated {
    open: watch::Receiver<bool>,
    entered: Arc<AtomicUsize>,
}

impl Handler<PgPool> for Gated {
    async fn handle(&self, tx: &mut PgConnection, event: &Received) -> Handled {
        self.entered.fetch_add(1, Ordering::Relaxed);
        self.open.clone().wait_for(|open| *open).await?;
        write_effect(tx, event).await
    }
}

/// The group waits with the new member until the old one has ended what it has begun.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs Postgres and Kafka: cargo xtask test"]
async fn a_batch_ends_before_its_partitions_go_to_another_member() {
    let (_db, pool, broker, topic) = set_up(20, 400).await;
    let group = testkit::unique("group");
    let (gate, open) = watch::channel(false);
    let member = |entered: &Arc<AtomicUsize>| {
        let consumer = Consumer::new(broker.address(), &group, &[&topic])
            .batch(50)
            .set("session.timeout.ms", "6000")
            .unwrap();
        let handler = Gated {
            open: open.clone(),
            entered: Arc::clone(entered),
        };
        Running::start(consumer, &pool, handler)
    };
    let (first, second) = (Arc::default(), Arc::default());
    let old = member(&first);
    testkit::wait_until("the first has begun", PATIENCE, async || {
        first.load(Ordering::Relaxed) > 0
    })
    .await;
    let new = member(&second);
    testkit::wait_until("the second waits for it", PATIENCE, async || {
        state_of(&broker, &group).await == "PreparingRebalance"
    })
    .await;
    assert_eq!(second.load(Ordering::Relaxed), 0);
    gate.send_replace(true);
    testkit::wait_until("all are handled", PATIENCE, async || {
        effects(&pool).await >= 400
    })
    .await;
    old.end().await;
    new.end().await;
    assert_eq!(effects(&pool).await, 400);
    assert_eq!(disordered(&pool).await, 0);
}

async fn state_of(broker: &Broker, group: &str) -> String {
    let (address, group) = (broker.address(), group.to_owned());
    let asked = tokio::task::spawn_blocking(move || {
        let reader: BaseConsumer = rdkafka::ClientConfig::new()
            .set("bootstrap.servers", address)
            .create()
            .unwrap();
        let groups = reader.fetch_group_list(Some(&group), PATIENCE).unwrap();
        let found = groups
            .groups()
            .first()
            .map(|group| group.state().to_owned());
        found.unwrap_or_default()
    });
    asked.await.unwrap()
}

/// Holds one key back until the gate is open, and knows what came where.
struct OneWaits {
    key: &'static str,
    open: watch::Receiver<bool>,
    seen: Arc<Mutex<Seen>>,
}

/// Partitions and offsets.
#[derive(Default)]
struct Seen {
    waits: Option<(i32, i64)>,
    written: Vec<(i32, i64)>,
}

impl Seen {
    /// Whether an event behind the one that waits was written: they are handled side by side.
    fn is_overtaken(&self) -> bool {
        let behind = |(partition, offset)| {
            let mut written = self.written.iter();
            written.any(|(other, at)| *other == partition && *at > offset)
        };
        self.waits.is_some_and(behind)
    }
}

impl Handler<PgPool> for OneWaits {
    async fn handle(&self, tx: &mut PgConnection, event: &Received) -> Handled {
        let place = (event.partition, event.offset);
        if key_of(event) == self.key {
            self.seen.lock().unwrap().waits.get_or_insert(place);
            self.open.clone().wait_for(|open| *open).await?;
        }
        write_effect(tx, event).await?;
        self.seen.lock().unwrap().written.push(place);
        Ok(())
    }
}

/// The first member is dropped while one key is not handled, which no offset may hide.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs Postgres and Kafka: cargo xtask test"]
async fn keys_side_by_side_keep_their_order_and_no_offset_passes_one_that_waits() {
    // So many keys that no partition's are all in one lane.
    let (_db, pool, broker, topic) = set_up(100, 400).await;
    let group = testkit::unique("group");
    let consumer = || {
        Consumer::new(broker.address(), &group, &[&topic])
            .batch(400)
            .side_by_side(8)
            .set("session.timeout.ms", "6000")
            .unwrap()
    };
    let (gate, open) = watch::channel(false);
    let seen = Arc::new(Mutex::new(Seen::default()));
    let handler = || OneWaits {
        key: "key-7",
        open: open.clone(),
        seen: Arc::clone(&seen),
    };
    let first = Running::start(consumer(), &pool, handler());
    testkit::wait_until("one behind it is handled", PATIENCE, async || {
        seen.lock().unwrap().is_overtaken()
    })
    .await;
    first.task.abort();
    assert!(first.task.await.unwrap_err().is_cancelled());
    assert!(effects(&pool).await < 400, "one waits");
    let (partition, waits) = seen.lock().unwrap().waits.unwrap();
    let next: Option<i64> =
        sqlx::query_scalar("SELECT next FROM inbox_offset WHERE consumer = $1 AND partition = $2")
            .bind(&group)
            .bind(partition)
            .fetch_optional(&pool)
            .await
            .unwrap();
    assert!(
        next.is_none_or(|next| next <= waits),
        "{next:?} past {waits}"
    );
    gate.send_replace(true);
    let second = Running::start(consumer(), &pool, handler());
    testkit::wait_until("the offsets are at the end", PATIENCE, async || {
        offset(&pool, &group).await == 400
    })
    .await;
    second.end().await;
    assert_eq!(effects(&pool).await, 400);
    assert_eq!(disordered(&pool).await, 0);
}

/// A gauge's name and its consumer.
type Which = (String, String);

/// What the gauges of this process were set to.
static GAUGES: LazyLock<Mutex<HashMap<Which, Vec<f64>>>> = LazyLock::new(Mutex::default);

struct Recorder;

struct Gauge(Which);

impl metrics::GaugeFn for Gauge {
    fn increment(&self, _: f64) {}
    fn decrement(&self, _: f64) {}
    fn set(&self, value: f64) {
        let mut gauges = GAUGES.lock().unwrap();
        gauges.entry(self.0.clone()).or_default().push(value);
    }
}

impl metrics::Recorder for Recorder {
    fn describe_counter(
        &self,
        _: metrics::KeyName,
        _: Option<metrics::Unit>,
        _: metrics::SharedString,
    ) {
    }
    fn describe_gauge(
        &self,
        _: metrics::KeyName,
        _: Option<metrics::Unit>,
        _: metrics::SharedString,
    ) {
    }
    fn describe_histogram(
        &self,
        _: metrics::KeyName,
        _: Option<metrics::Unit>,
        _: metrics::SharedString,
    ) {
    }
    fn register_counter(&self, _: &metrics::Key, _: &metrics::Metadata<'_>) -> metrics::Counter {
        metrics::Counter::noop()
    }
    fn register_gauge(&self, key: &metrics::Key, _: &metrics::Metadata<'_>) -> metrics::Gauge {
        let consumer = key.labels().find(|label| label.key() == "consumer");
        let consumer = consumer.map_or("", |label| label.value()).to_owned();
        metrics::Gauge::from_arc(Arc::new(Gauge((key.name().to_owned(), consumer))))
    }
    fn register_histogram(
        &self,
        _: &metrics::Key,
        _: &metrics::Metadata<'_>,
    ) -> metrics::Histogram {
        metrics::Histogram::noop()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs Postgres and Kafka: cargo xtask test"]
async fn the_lag_is_told_and_goes_back_to_nothing() {
    // The only test that installs one.
    metrics::set_global_recorder(Recorder).unwrap();
    let (_db, pool, broker, topic) = set_up(1, 20).await;
    let group = testkit::unique("group");
    let consumer = Consumer::new(broker.address(), &group, &[&topic]);
    let running = Running::start(consumer, &pool, Effects { poison: None });
    let told = || {
        let gauges = GAUGES.lock().unwrap();
        let gauge = gauges.get(&("inbox_lag_seconds".to_owned(), group.clone()));
        gauge.cloned().unwrap_or_default()
    };
    testkit::wait_until("all are handled, and nothing waits", PATIENCE, async || {
        effects(&pool).await == 20 && told().last() == Some(&0.0)
    })
    .await;
    running.end().await;
    // They waited at least until the group was there.
    assert!(told().iter().any(|lag| *lag > 0.0), "{:?}", told());
}

fn cluster_id(broker: &Broker) -> String {
    use rdkafka::producer::Producer;
    let producer: rdkafka::producer::BaseProducer = rdkafka::ClientConfig::new()
        .set("bootstrap.servers", broker.address())
        .create()
        .unwrap();
    producer.client().fetch_cluster_id(PATIENCE).unwrap()
}
