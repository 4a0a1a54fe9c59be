//! A database and a broker for a test, whichever of them it is.

use std::collections::HashMap;
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::Message;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::Headers;
use rdkafka::{Offset, TopicPartitionList};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{PgPool, SqlitePool};
use swifttrack_outbox::{
    Database, Error, Event, Fencing, InProcessBroker, KafkaPublisher, MemoryPublisher, Poison,
    Publisher, Relay, RelayHandle, append_batch, backlog,
};
use testkit::pg::TestDb;
use uuid::Uuid;

/// Longer than anything takes on a machine that does other things too.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) enum Db {
    Postgres {
        pool: PgPool,
        _db: TestDb,
    },
    Sqlite {
        writer: SqlitePool,
        reader: SqlitePool,
        _dir: tempfile::TempDir,
    },
}

impl Db {
    pub(crate) async fn postgres() -> Self {
        log();
        let db = TestDb::create().await;
        let pool = PgPool::connect(db.url()).await.unwrap();
        let db = Self::Postgres { pool, _db: db };
        swifttrack_outbox::migrate(&db.database()).await.unwrap();
        db
    }

    pub(crate) async fn sqlite() -> Self {
        log();
        let dir = tempfile::tempdir().unwrap();
        let options = SqliteConnectOptions::new()
            .filename(dir.path().join("outbox.db"))
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full);
        let writer = SqlitePoolOptions::new()
            .max_connections(1)
            .connect_with(options.clone())
            .await
            .unwrap();
        let reader = SqlitePoolOptions::new()
            .max_connections(4)
            .connect_with(options.read_only(true))
            .await
            .unwrap();
        let db = Self::Sqlite {
            writer,
            reader,
            _dir: dir,
        };
        swifttrack_outbox::migrate(&db.database()).await.unwrap();
        db
    }

    pub(crate) fn database(&self) -> Database {
        match self {
            Self::Postgres { pool, .. } => Database::postgres(pool.clone()),
            Self::Sqlite { writer, reader, .. } => Database::sqlite(writer.clone(), reader.clone()),
        }
    }

    /// Appends and commits.
    pub(crate) async fn append(&self, events: &[Event]) -> Result<u64, Error> {
        match self {
            Self::Postgres { pool, .. } => {
                let mut tx = pool.begin().await.unwrap();
                let written = append_batch(&mut *tx, events).await?;
                tx.commit().await.unwrap();
                Ok(written)
            }
            Self::Sqlite { writer, .. } => {
                let mut tx = writer.begin().await.unwrap();
                let written = append_batch(&mut *tx, events).await?;
                tx.commit().await.unwrap();
                Ok(written)
            }
        }
    }

    /// Appends and rolls back.
    pub(crate) async fn append_and_roll_back(&self, events: &[Event]) {
        match self {
            Self::Postgres { pool, .. } => {
                let mut tx = pool.begin().await.unwrap();
                append_batch(&mut *tx, events).await.unwrap();
                tx.rollback().await.unwrap();
            }
            Self::Sqlite { writer, .. } => {
                let mut tx = writer.begin().await.unwrap();
                append_batch(&mut *tx, events).await.unwrap();
                tx.rollback().await.unwrap();
            }
        }
    }

    pub(crate) async fn rows(&self) -> u64 {
        backlog(&self.database()).await.unwrap().rows
    }

    /// The ids of all rows, in the order in which they are numbered.
    pub(crate) async fn ids(&self) -> Vec<Uuid> {
        const IDS: &str = "SELECT id FROM outbox ORDER BY seq";
        match self {
            Self::Postgres { pool, .. } => sqlx::query_scalar(IDS).fetch_all(pool).await,
            Self::Sqlite { reader, .. } => sqlx::query_scalar(IDS).fetch_all(reader).await,
        }
        .unwrap()
    }

    pub(crate) async fn until_empty(&self) {
        testkit::wait_until("the outbox is empty", PATIENCE, async || {
            self.rows().await == 0
        })
        .await;
    }
}

/// `RUST_LOG=swifttrack_outbox=debug` shows what a relay did.
fn log() {
    // The first test to come sets it up for all.
    let _ = tracing_subscriber::fmt()
        .with_env_filter(tracing_subscriber::EnvFilter::from_default_env())
        .with_test_writer()
        .try_init();
}

/// What a consumer read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Read {
    pub(crate) key: String,
    pub(crate) payload: Vec<u8>,
    pub(crate) headers: Vec<(String, String)>,
}

impl Read {
    /// The number that [`numbered`] wrote.
    pub(crate) fn number(&self) -> u64 {
        String::from_utf8(self.payload.clone())
            .unwrap()
            .parse()
            .unwrap()
    }
}

pub(crate) enum Broker {
    Memory(MemoryPublisher),
    InProcess(InProcessBroker),
    Kafka(String),
}

/// Settings of a relay under test.
#[derive(Clone, Copy)]
pub(crate) struct Tune {
    pub(crate) fencing: Fencing,
    pub(crate) ttl: Duration,
    pub(crate) batch: u32,
    pub(crate) poison: Poison,
}

impl Default for Tune {
    fn default() -> Self {
        Self {
            fencing: Fencing::Lease,
            ttl: Duration::from_secs(3),
            batch: 1_000,
            poison: Poison::BlockKey,
        }
    }
}

impl Tune {
    pub(crate) fn on<P: Publisher>(self, db: &Db, publisher: P) -> Relay<P> {
        Relay::new(db.database(), publisher)
            .lease_ttl(self.ttl)
            .fencing(self.fencing)
            .batch(self.batch, 4 * 1024 * 1024)
            .on_poison("*", self.poison)
            .source("/test")
    }
}

impl Broker {
    pub(crate) fn memory() -> Self {
        Self::Memory(MemoryPublisher::new())
    }

    pub(crate) fn in_process() -> Self {
        Self::InProcess(InProcessBroker::start(&[], 4).unwrap())
    }

    pub(crate) fn kafka() -> Self {
        Self::Kafka(testkit::kafka::brokers())
    }

    pub(crate) fn address(&self) -> String {
        match self {
            Self::Memory(_) => unreachable!("a memory publisher has no address"),
            Self::InProcess(broker) => broker.bootstrap_servers().to_owned(),
            Self::Kafka(address) => address.clone(),
        }
    }

    /// A topic that exists and that no other test uses.
    pub(crate) async fn topic(&self) -> String {
        let topic = testkit::unique("outbox");
        self.create(&topic).await;
        topic
    }

    pub(crate) async fn create(&self, topic: &str) {
        match self {
            Self::Memory(_) => {}
            Self::InProcess(broker) => broker.create_topic(topic, 4).unwrap(),
            Self::Kafka(address) => {
                let admin = admin(address);
                let new = rdkafka::admin::NewTopic::new(
                    topic,
                    4,
                    rdkafka::admin::TopicReplication::Fixed(1),
                );
                for made in admin
                    .create_topics([&new], &Default::default())
                    .await
                    .unwrap()
                {
                    made.unwrap();
                }
            }
        }
    }

    pub(crate) async fn relay(&self, db: &Db, tune: Tune) -> RelayHandle {
        match self {
            Self::Memory(memory) => tune.on(db, memory.clone()).spawn().await.unwrap(),
            _ => {
                let publisher = KafkaPublisher::new(self.address());
                tune.on(db, publisher).spawn().await.unwrap()
            }
        }
    }

    /// All that a read_committed consumer sees of the topic now.
    pub(crate) async fn read(&self, topic: &str) -> Vec<Read> {
        if let Self::Memory(memory) = self {
            let records = memory
                .records()
                .into_iter()
                .filter(|record| record.topic == topic);
            return records
                .map(|record| Read {
                    key: record.key,
                    payload: record.payload.unwrap_or_default(),
                    headers: record.headers,
                })
                .collect();
        }
        let (address, topic) = (self.address(), topic.to_owned());
        tokio::task::spawn_blocking(move || read_topic(&address, &topic))
            .await
            .unwrap()
    }
}

pub(crate) fn admin(
    address: &str,
) -> rdkafka::admin::AdminClient<rdkafka::client::DefaultClientContext> {
    ClientConfig::new()
        .set("bootstrap.servers", address)
        .create()
        .unwrap()
}

fn read_topic(address: &str, topic: &str) -> Vec<Read> {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", address)
        .set("group.id", testkit::unique("reader"))
        .set("enable.auto.commit", "false")
        .set("isolation.level", "read_committed")
        .set("enable.partition.eof", "true")
        .create()
        .unwrap();
    let metadata = consumer.fetch_metadata(Some(topic), PATIENCE).unwrap();
    let partitions = metadata.topics()[0].partitions().len();
    let mut list = TopicPartitionList::new();
    for partition in 0..partitions {
        list.add_partition_offset(topic, partition as i32, Offset::Beginning)
            .unwrap();
    }
    consumer.assign(&list).unwrap();
    let mut ended = 0;
    let mut read = Vec::new();
    while ended < partitions {
        match consumer.poll(PATIENCE) {
            Some(Ok(message)) => read.push(Read {
                key: String::from_utf8(message.key().unwrap().to_vec()).unwrap(),
                payload: message.payload().unwrap_or_default().to_vec(),
                headers: message.headers().map(all_headers).unwrap_or_default(),
            }),
            Some(Err(rdkafka::error::KafkaError::PartitionEOF(_))) => ended += 1,
            Some(Err(error)) => panic!("reading {topic}: {error}"),
            None => panic!("{topic} has no end"),
        }
    }
    read
}

fn all_headers(headers: &impl Headers) -> Vec<(String, String)> {
    headers
        .iter()
        .map(|header| {
            let value = header.value.unwrap_or_default().to_vec();
            (header.key.to_owned(), String::from_utf8(value).unwrap())
        })
        .collect()
}

/// `count` events, numbered from `from` within each of `keys` keys.
pub(crate) fn numbered(topic: &str, keys: u64, from: u64, count: u64) -> Vec<Event> {
    (0..count)
        .map(|n| {
            let number = (from + n / keys).to_string();
            Event::new(
                topic.to_owned(),
                format!("key-{}", n % keys),
                "NUMBERED",
                number,
            )
        })
        .collect()
}

/// Nothing lost, and each key's first occurrences in order from 1 to `last`. Returns the number
/// of repeats.
#[track_caller]
pub(crate) fn check_order(read: &[Read], keys: u64, last: u64) -> usize {
    let mut seen: HashMap<&str, u64> = HashMap::new();
    let mut repeats = 0;
    for record in read {
        let number = record.number();
        let before = seen.entry(&record.key).or_default();
        if number <= *before {
            repeats += 1;
        } else {
            assert_eq!(
                number,
                *before + 1,
                "{}: {number} after {before}",
                record.key
            );
            *before = number;
        }
    }
    assert_eq!(seen.len() as u64, keys, "keys");
    for (key, number) in seen {
        assert_eq!(number, last, "{key} ends early");
    }
    repeats
}

/// Makes a test of each law for one cell of databases and brokers.
macro_rules! cell {
    ($cell:ident, $db:ident, $broker:ident, $attribute:tt, $($law:ident)+) => {
        mod $cell {
            $(crate::support::law!($law, $db, $broker, $attribute);)+
        }
    };
}
pub(crate) use cell;

macro_rules! law {
    ($law:ident, $db:ident, $broker:ident, [$($attribute:meta)?]) => {
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        $(#[$attribute])?
        async fn $law() {
            let db = crate::support::Db::$db().await;
            super::$law(db, crate::support::Broker::$broker()).await;
        }
    };
}
pub(crate) use law;

/// Makes a test of each law for all cells.
macro_rules! laws {
    ($($law:ident),+ $(,)?) => {
        crate::support::cell!(sqlite_memory, sqlite, memory, [], $($law)+);
        crate::support::cell!(sqlite_in_process, sqlite, in_process, [], $($law)+);
        crate::support::cell!(sqlite_kafka, sqlite, kafka,
            [ignore = "needs Kafka: cargo xtask test"], $($law)+);
        crate::support::cell!(postgres_memory, postgres, memory,
            [ignore = "needs Postgres: cargo xtask test"], $($law)+);
        crate::support::cell!(postgres_in_process, postgres, in_process,
            [ignore = "needs Postgres: cargo xtask test"], $($law)+);
        crate::support::cell!(postgres_kafka, postgres, kafka,
            [ignore = "needs Postgres and Kafka: cargo xtask test"], $($law)+);
    };
}
pub(crate) use laws;
