//! How fast the relay is, beside a bare producer in the same run.
//!
//! `relay_load --url URL [--brokers LIST] --rows N [--exactly-once] [--rate R]`: appends N rows,
//! lets the relay publish them, sends the same records through a bare `BaseProducer` loop, then
//! measures commit to acknowledgement at R rows/s (1,000 by default). Without `--brokers` the
//! broker is in the process. The last line is one JSON object.

#![allow(clippy::print_stdout, reason = "the figures are this program's output")]
#![allow(clippy::unwrap_used, reason = "a measurement that cannot go on panics")]

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use rdkafka::ClientConfig;
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::types::RDKafkaErrorCode;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{PgPool, SqlitePool};
use swifttrack_outbox::{
    Database, Event, Fencing, InProcessBroker, KafkaPublisher, Relay, RelayHandle, append_batch,
    backlog, migrate,
};
use uuid::Uuid;

/// Repetitions of each; the median is told.
const ROUNDS: usize = 3;
const PAYLOAD_BYTES: usize = 200;
const KEYS: u64 = 10_000;
const SOURCE: &str = "/swifttrack/order-service";
const TRACE: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
/// How long the latency is measured.
const PACED: Duration = Duration::from_secs(10);

#[derive(Clone)]
enum Pool {
    Postgres(PgPool),
    Sqlite(SqlitePool),
}

impl Pool {
    async fn open(url: &str) -> Self {
        if let Some(path) = url.strip_prefix("sqlite://") {
            let options = SqliteConnectOptions::new()
                .filename(path)
                .create_if_missing(true)
                .journal_mode(SqliteJournalMode::Wal)
                .synchronous(SqliteSynchronous::Full);
            let pool = SqlitePoolOptions::new()
                .max_connections(1)
                .connect_with(options)
                .await;
            Self::Sqlite(pool.unwrap())
        } else {
            Self::Postgres(PgPool::connect(url).await.unwrap())
        }
    }

    fn database(&self) -> Database {
        match self {
            Self::Postgres(pool) => pool.into(),
            Self::Sqlite(pool) => pool.into(),
        }
    }

    async fn append(&self, events: &[Event]) {
        match self {
            Self::Postgres(pool) => {
                let mut tx = pool.begin().await.unwrap();
                append_batch(&mut *tx, events).await.unwrap();
                tx.commit().await.unwrap();
            }
            Self::Sqlite(pool) => {
                let mut tx = pool.begin().await.unwrap();
                append_batch(&mut *tx, events).await.unwrap();
                tx.commit().await.unwrap();
            }
        }
    }
}

fn event(topic: &str, n: u64) -> Event {
    let key = format!("ORD-{}", n % KEYS);
    Event::new(
        topic.to_owned(),
        key,
        "CMS_VERIFIED",
        vec![b'x'; PAYLOAD_BYTES],
    )
    .traceparent(TRACE)
}

struct Setting {
    pool: Pool,
    brokers: String,
    topic: String,
    fencing: Fencing,
}

impl Setting {
    async fn relay(&self) -> RelayHandle {
        Relay::new(
            self.pool.database(),
            KafkaPublisher::new(self.brokers.clone()),
        )
        .source(SOURCE)
        .fencing(self.fencing)
        .spawn()
        .await
        .unwrap()
    }

    async fn until_empty(&self) {
        while backlog(self.pool.database()).await.unwrap().rows > 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Rows a second from a backlog, writers stopped; the wait for slots does not count.
    async fn relay_rate(&self, rows: u64) -> f64 {
        for from in (0..rows).step_by(1_000) {
            let to = rows.min(from + 1_000);
            let events: Vec<Event> = (from..to).map(|n| event(&self.topic, n)).collect();
            self.pool.append(&events).await;
        }
        let relay = self.relay().await;
        relay.ready().await;
        let start = Instant::now();
        self.until_empty().await;
        let took = start.elapsed();
        relay.shutdown(Duration::from_secs(60)).await.unwrap();
        rows as f64 / took.as_secs_f64()
    }

    /// From the append to the acknowledgement, at a steady rate, by the relay's own histogram:
    /// a row's `created_at` is taken when it is inserted, so the commit is in it.
    async fn latencies(&self, rate: u64) -> Vec<f64> {
        let relay = self.relay().await;
        relay.ready().await;
        let waker = relay.waker();
        // Warm: the topic is known, the statements are prepared.
        self.pool.append(&[event(&self.topic, 0)]).await;
        waker.wake();
        self.until_empty().await;
        let recorder = LATENCY.get().unwrap();
        recorder.lock().unwrap().clear();
        let mut ticks = tokio::time::interval(Duration::from_micros(1_000_000 / rate));
        let start = Instant::now();
        let mut n = 0;
        let mut writers = tokio::task::JoinSet::new();
        while start.elapsed() < PACED {
            ticks.tick().await;
            n += 1;
            let (pool, waker, event) = (self.pool.clone(), waker.clone(), event(&self.topic, n));
            writers.spawn(async move {
                pool.append(&[event]).await;
                waker.wake();
            });
        }
        while writers.join_next().await.is_some() {}
        self.until_empty().await;
        relay.shutdown(Duration::from_secs(60)).await.unwrap();
        let mut seen = recorder.lock().unwrap().clone();
        seen.sort_by(f64::total_cmp);
        seen
    }

    /// The same records by a bare loop: an idempotent producer, no database.
    fn producer_rate(&self, rows: u64) -> f64 {
        let producer: BaseProducer = ClientConfig::new()
            .set("bootstrap.servers", &self.brokers)
            .set("enable.idempotence", "true")
            .set("acks", "all")
            .set("linger.ms", "1")
            .set("batch.size", "1000000")
            .set("queue.buffering.max.messages", "500000")
            .create()
            .unwrap();
        // Warm: connected, with a producer id.
        producer
            .send(
                BaseRecord::<str, [u8]>::to(&self.topic)
                    .key("warm")
                    .payload(b"x"),
            )
            .unwrap();
        producer.flush(Duration::from_secs(30)).unwrap();
        let payload = vec![b'x'; PAYLOAD_BYTES];
        let start = Instant::now();
        for n in 0..rows {
            let key = format!("ORD-{}", n % KEYS);
            let id = Uuid::now_v7().to_string();
            loop {
                let mut headers = OwnedHeaders::new_with_capacity(8);
                for (key, value) in [
                    ("id", id.as_str()),
                    ("type", "CMS_VERIFIED"),
                    ("content-type", "application/json"),
                    ("traceparent", TRACE),
                    ("ce_id", &id),
                    ("ce_source", SOURCE),
                    ("ce_type", "CMS_VERIFIED"),
                    ("ce_specversion", "1.0"),
                ] {
                    headers = headers.insert(Header {
                        key,
                        value: Some(value),
                    });
                }
                let record = BaseRecord::<str, [u8]>::to(&self.topic)
                    .key(key.as_str())
                    .payload(&payload)
                    .headers(headers);
                match producer.send(record) {
                    Ok(()) => break,
                    Err((error, _))
                        if error.rdkafka_error_code() == Some(RDKafkaErrorCode::QueueFull) =>
                    {
                        producer.poll(Duration::from_millis(1));
                    }
                    Err((error, _)) => panic!("{error}"),
                }
            }
            if n % 1_000 == 0 {
                producer.poll(Duration::ZERO);
            }
        }
        while producer.in_flight_count() > 0 {
            producer.poll(Duration::from_millis(1));
        }
        rows as f64 / start.elapsed().as_secs_f64()
    }
}

/// Samples of `outbox_publish_seconds`: the relay's own histogram of commit to acknowledgement,
/// one sample for each batch, of its oldest row.
static LATENCY: std::sync::OnceLock<std::sync::Arc<std::sync::Mutex<Vec<f64>>>> =
    std::sync::OnceLock::new();

fn median(mut of: Vec<f64>) -> f64 {
    of.sort_by(f64::total_cmp);
    of[of.len() / 2]
}

fn arguments() -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    let mut arguments = std::env::args().skip(1).peekable();
    while let Some(name) = arguments.next() {
        let value = arguments
            .next_if(|next| !next.starts_with("--"))
            .unwrap_or_default();
        found.insert(name.trim_start_matches("--").to_owned(), value);
    }
    found
}

#[tokio::main]
async fn main() {
    let arguments = arguments();
    let url = arguments.get("url").expect("--url is needed");
    let rows: u64 = arguments
        .get("rows")
        .map_or(200_000, |rows| rows.parse().unwrap());
    let rate: u64 = arguments
        .get("rate")
        .map_or(1_000, |rate| rate.parse().unwrap());
    let exactly_once = arguments.contains_key("exactly-once");
    LATENCY.get_or_init(latency::install);
    let topic = format!("relay-load-{}", Uuid::new_v4());
    let in_process = InProcessBroker::start(&[&topic], 4).unwrap();
    let brokers = arguments.get("brokers").filter(|list| !list.is_empty());
    let brokers = brokers
        .map_or(in_process.bootstrap_servers(), String::as_str)
        .to_owned();
    make_topic(&brokers, &topic, in_process.bootstrap_servers() == brokers).await;
    let pool = Pool::open(url).await;
    migrate(pool.database()).await.unwrap();
    let fencing = if exactly_once {
        Fencing::KafkaTransactions
    } else {
        Fencing::Lease
    };
    let setting = Setting {
        pool,
        brokers,
        topic,
        fencing,
    };

    let (mut relay, mut producer, mut ratio) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        relay.push(setting.relay_rate(rows).await);
        producer.push(tokio::task::block_in_place(|| setting.producer_rate(rows)));
        ratio.push(relay[round] / producer[round]);
        println!(
            "round {round}: relay {:.0} rows/s, producer {:.0} rows/s",
            relay[round], producer[round]
        );
    }
    let latencies = setting.latencies(rate).await;
    let at = |share: f64| latencies[((latencies.len() - 1) as f64 * share) as usize] * 1_000.0;
    let round_to = |value: f64| (value * 100.0).round() / 100.0;
    println!(
        "{}",
        serde_json::json!({
            "relay_rows_per_s": median(relay.clone()).round(),
            "producer_rows_per_s": median(producer.clone()).round(),
            "ratio": (median(ratio) * 1_000.0).round() / 1_000.0,
            "p50_ms": round_to(at(0.50)),
            "p99_ms": round_to(at(0.99)),
            "relay_rows_per_s_all": relay.iter().map(|r| r.round()).collect::<Vec<_>>(),
            "producer_rows_per_s_all": producer.iter().map(|r| r.round()).collect::<Vec<_>>(),
            "rows": rows,
            "rate": rate,
            "exactly_once": exactly_once,
            "latency_samples": latencies.len(),
        })
    );
}

async fn make_topic(brokers: &str, topic: &str, there: bool) {
    if there {
        return;
    }
    let admin: rdkafka::admin::AdminClient<rdkafka::client::DefaultClientContext> =
        ClientConfig::new()
            .set("bootstrap.servers", brokers)
            .create()
            .unwrap();
    let replication = rdkafka::admin::TopicReplication::Fixed(-1);
    let new = rdkafka::admin::NewTopic::new(topic, 4, replication);
    for made in admin
        .create_topics([&new], &Default::default())
        .await
        .unwrap()
    {
        made.unwrap();
    }
}

/// A recorder of the one histogram that is wanted here.
mod latency {
    use std::sync::{Arc, Mutex};

    use metrics::{
        Counter, Gauge, Histogram, HistogramFn, Key, KeyName, Metadata, Recorder, SharedString,
        Unit,
    };

    struct Samples(Arc<Mutex<Vec<f64>>>);

    impl HistogramFn for Samples {
        fn record(&self, value: f64) {
            self.0.lock().unwrap().push(value);
        }
    }

    struct One(Arc<Mutex<Vec<f64>>>);

    impl Recorder for One {
        fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
        fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
        fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

        fn register_counter(&self, _: &Key, _: &Metadata<'_>) -> Counter {
            Counter::noop()
        }

        fn register_gauge(&self, _: &Key, _: &Metadata<'_>) -> Gauge {
            Gauge::noop()
        }

        fn register_histogram(&self, key: &Key, _: &Metadata<'_>) -> Histogram {
            if key.name() == "outbox_publish_seconds" {
                Histogram::from_arc(Arc::new(Samples(Arc::clone(&self.0))))
            } else {
                Histogram::noop()
            }
        }
    }

    pub(super) fn install() -> Arc<Mutex<Vec<f64>>> {
        let samples = Arc::default();
        metrics::set_global_recorder(One(Arc::clone(&samples))).unwrap();
        samples
    }
}
