//! The relay: reads what was committed, publishes it, deletes it.

use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use uuid::Uuid;

use crate::db::Database;
use crate::error::{Error, Kind};
use crate::ops::Retention;
use crate::publisher::{Backend, Envelope, Link, Publisher, Trust};
use crate::slot::SLOTS;
use crate::store::PageLimit;

pub(crate) mod core;
mod driver;
mod io;
#[cfg(feature = "postgres")]
mod listen;
mod poison;
pub(crate) mod row;
mod wake;

#[cfg(feature = "postgres")]
pub use listen::RemoteWaker;
pub use poison::Poison;
pub use wake::Waker;

/// What keeps a relay that lost its lease from harm.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fencing {
    /// The lease alone: at least once. The first occurrences of a key's events are in order; a
    /// stale repeat of what a frozen process had in flight may follow once. The default.
    #[default]
    Lease,
    /// Each batch is a Kafka transaction that also lists what it published, and each group of
    /// slots has a `transactional.id`: exactly once for readers with
    /// `isolation.level=read_committed`, who see neither stale nor repeated records. In a backlog
    /// transactions wait for each other, up to a second, so that they are full.
    KafkaTransactions,
}

impl Fencing {
    const fn name(self) -> &'static str {
        match self {
            Self::Lease => "lease",
            Self::KafkaTransactions => "kafka-transactions",
        }
    }
}

/// Slots that change hands together under [`Fencing::KafkaTransactions`].
const GROUP_SLOTS: u8 = 8;

/// Publishes the events of one outbox; any number of them may run on one database.
///
/// # Defaults
/// Lease of 10 s; batches of 5,000 rows and 8 MiB, 8 in flight and 40,000 rows in memory at
/// most (with transactions two for each of 8 groups, and 80,000); polls every 2 to 250 ms;
/// [`Fencing::Lease`]; [`Poison::BlockKey`]; source `/swifttrack-outbox`, content type
/// `application/json`; [`Retention`]'s own.
///
/// # Examples
/// ```
/// # #[cfg(feature = "sqlite")]
/// # async fn doc(pool: sqlx::SqlitePool) -> Result<(), Box<dyn std::error::Error>> {
/// use std::time::Duration;
/// use swifttrack_outbox::{MemoryPublisher, Relay};
///
/// let relay = Relay::new(pool, MemoryPublisher::new()).source("/shop").spawn().await?;
/// let waker = relay.waker(); // for the writers: `waker.wake()` after each commit
/// relay.shutdown(Duration::from_secs(10)).await?;
/// # Ok(()) }
/// ```
#[derive(Debug)]
pub struct Relay<P> {
    database: Database,
    publisher: P,
    name: String,
    lease_ttl: Duration,
    page: PageLimit,
    only: Option<String>,
    batches: usize,
    poll: (Duration, Duration),
    fencing: Fencing,
    poison: poison::PoisonRules,
    envelope: Envelope,
    waker: Waker,
    retention: Option<Retention>,
}

impl<P: Publisher> Relay<P> {
    /// A relay of this outbox to this broker. Nothing happens before [`spawn`](Self::spawn).
    #[must_use]
    pub fn new(database: impl Into<Database>, publisher: P) -> Self {
        Self {
            database: database.into(),
            publisher,
            name: format!("relay-{}", std::process::id()),
            lease_ttl: Duration::from_secs(10),
            page: PageLimit {
                rows: 5_000,
                bytes: 8 * 1024 * 1024,
            },
            batches: 8,
            only: None,
            poll: (Duration::from_millis(2), Duration::from_millis(250)),
            fencing: Fencing::Lease,
            poison: poison::PoisonRules::default(),
            envelope: Envelope {
                source: "/swifttrack-outbox".to_owned(),
                content_type: "application/json".to_owned(),
            },
            waker: Waker::new(),
            retention: Some(Retention::new()),
        }
    }

    /// A name by which operators know it; up to 255 bytes.
    #[must_use]
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }

    /// How long slots stay with a relay that has fallen silent, 1 s to 5 min. It renews three
    /// times in that time and trusts three quarters of it.
    #[must_use]
    pub fn lease_ttl(mut self, ttl: Duration) -> Self {
        self.lease_ttl = ttl;
        self
    }

    /// The most rows (1 to 50,000) and payload bytes of one batch.
    #[must_use]
    pub fn batch(mut self, rows: u32, bytes: u64) -> Self {
        self.page = PageLimit { rows, bytes };
        self
    }

    /// Batches that are handed to the broker and not acknowledged, 1 to 64.
    #[must_use]
    pub fn in_flight(mut self, batches: usize) -> Self {
        self.batches = batches;
        self
    }

    /// The shortest and the longest time between two polls. A wake makes the next poll due at
    /// once, or 2 ms after the last one.
    #[must_use]
    pub fn poll(mut self, shortest: Duration, longest: Duration) -> Self {
        self.poll = (shortest, longest);
        self
    }

    /// Publishes what this snapshot (`pg_current_snapshot()`'s text) sees and nothing else, for
    /// the cut-over from polling to CDC:
    ///
    /// 1. stop all relays;
    /// 2. `CREATE PUBLICATION outbox_pub FOR TABLE outbox WITH (publish = 'insert')`;
    /// 3. on a replication connection that stays open,
    ///    `CREATE_REPLICATION_SLOT … LOGICAL pgoutput EXPORT_SNAPSHOT`, and in a second session
    ///    `BEGIN ISOLATION LEVEL REPEATABLE READ; SET TRANSACTION SNAPSHOT '…'; SELECT
    ///    pg_current_snapshot()`;
    /// 4. run one relay with that snapshot until
    ///    `SELECT count(*) FROM outbox WHERE pg_visible_in_snapshot(xid, '…')` is 0, and shut
    ///    it down;
    /// 5. start the connector on the slot: it delivers exactly the rest. Rows are then deleted
    ///    by the application, or by a job.
    ///
    /// Writers need not stop. Postgres only.
    #[must_use]
    pub fn only_visible_in(mut self, snapshot: impl Into<String>) -> Self {
        self.only = Some(snapshot.into());
        self
    }

    /// What keeps a relay that lost its lease from harm. All relays of an outbox must agree.
    #[must_use]
    pub fn fencing(mut self, fencing: Fencing) -> Self {
        self.fencing = fencing;
        self
    }

    /// What to do with an event that the broker refuses for itself; `topic` may end in `*`,
    /// and the last rule that matches counts.
    #[must_use]
    pub fn on_poison(mut self, topic: &str, poison: Poison) -> Self {
        self.poison.set(topic, poison);
        self
    }

    /// CloudEvents' `ce_source`: who says so, a URI reference.
    #[must_use]
    pub fn source(mut self, source: impl Into<String>) -> Self {
        self.envelope.source = source.into();
        self
    }

    /// The `content-type` of events that set none.
    #[must_use]
    pub fn content_type(mut self, content_type: impl Into<String>) -> Self {
        self.envelope.content_type = content_type.into();
        self
    }

    /// Listens to a waker that was made before.
    #[must_use]
    pub fn waker(mut self, waker: Waker) -> Self {
        self.waker = waker;
        self
    }

    /// How long idempotency keys and inbox ids are kept; none: this relay forgets nothing, and
    /// [`expire`](crate::expire) is called elsewhere.
    #[must_use]
    pub fn retention(mut self, retention: Option<Retention>) -> Self {
        self.retention = retention;
        self
    }

    /// Starts it on the current runtime.
    ///
    /// # Errors
    /// [`Error::is_config`] when a setting is out of its range, the publisher has no
    /// transactions, or a relay that lives uses another fencing; [`Error::is_database`] when
    /// the database cannot be reached or has no tables (see [`migrate`](crate::migrate)).
    ///
    /// # Cancel safety
    /// Dropping the future starts nothing.
    pub async fn spawn(self) -> Result<RelayHandle, Error> {
        self.check()?;
        let store = Arc::clone(&self.database.store);
        let transactions = self.fencing == Fencing::KafkaTransactions;
        let Backend(publisher) = self.publisher.backend();
        if transactions && !publisher.has_transactions() {
            return Err(Error::config("this publisher has no transactions"));
        }
        store.check_fencing(self.fencing.name()).await?;
        let start = Instant::now();
        let trust = Arc::new(Trust::new(start));
        let (reports, from_publisher) = mpsc::unbounded_channel();
        let link = Link {
            reports,
            trust: Arc::clone(&trust),
            envelope: Arc::new(self.envelope),
            identity: store.identity().await?,
            transactions,
        };
        let publisher = publisher.start(link)?;
        let trusted = self.lease_ttl * 3 / 4;
        let settings = core::Settings {
            trust: trusted,
            keep_every: self.lease_ttl / 3,
            batch_rows: self.page.rows as usize,
            batches_max: if transactions {
                self.batches.min(2)
            } else {
                self.batches
            },
            // With transactions each group has batches of its own.
            rows_max: self.page.rows as usize * self.batches * if transactions { 2 } else { 1 },
            poll_min: self.poll.0,
            poll_max: self.poll.1,
            unit: if transactions { GROUP_SLOTS } else { 1 },
            fence: transactions,
            poison: self.poison,
        };
        let (stop, stopped) = watch::channel(None);
        let (status, statuses) = watch::channel(Status::default());
        let driver = driver::Driver {
            store,
            publisher,
            from_publisher,
            trust,
            start,
            page: self.page,
            only: self.only,
            name: self.name,
            fencing: self.fencing.name(),
            lease_ttl: self.lease_ttl,
            waker: self.waker.clone(),
            stop: stopped,
            status,
            retention: self.retention,
            database: self.database,
        };
        let task = tokio::spawn(driver.run(settings));
        Ok(RelayHandle {
            waker: self.waker,
            stop,
            status: statuses,
            start,
            task,
        })
    }

    fn check(&self) -> Result<(), Error> {
        let range = |good: bool, what: &str| {
            if good {
                Ok(())
            } else {
                Err(Error::config(format!("{what} is out of its range")))
            }
        };
        let ttl = Duration::from_secs(1)..=Duration::from_secs(300);
        range(ttl.contains(&self.lease_ttl), "lease_ttl")?;
        range(
            (1..=50_000).contains(&self.page.rows) && self.page.bytes > 0,
            "batch",
        )?;
        range((1..=64).contains(&self.batches), "in_flight")?;
        range(
            self.poll.0 >= Duration::from_millis(1) && self.poll.0 <= self.poll.1,
            "poll",
        )?;
        range((1..=255).contains(&self.name.len()), "name")
    }
}

/// What a relay is doing: for health checks and plots.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Status {
    /// Slots that it holds, of 64.
    pub slots: usize,
    /// Rows that were handed to the broker and are not acknowledged.
    pub in_flight: usize,
    /// Acknowledged rows that are not deleted yet.
    pub undeleted: usize,
    /// Topics that take nothing now.
    pub paused_topics: usize,
    /// Keys that wait for a dead event.
    pub blocked_keys: usize,
    /// How many lives its lease has had; more than one: it was lost before.
    pub lives: u64,
    /// How many producers it has closed.
    pub producers_closed: u64,
}

/// A relay that runs. Dropping it stops the relay as a crash would: its slots are free when the
/// lease has run out.
#[derive(Debug)]
pub struct RelayHandle {
    waker: Waker,
    stop: watch::Sender<Option<Duration>>,
    status: watch::Receiver<Status>,
    start: Instant,
    task: JoinHandle<bool>,
}

impl RelayHandle {
    /// The waker that the relay listens to.
    #[must_use]
    pub fn waker(&self) -> Waker {
        self.waker.clone()
    }

    /// What it is doing now.
    #[must_use]
    pub fn status(&self) -> Status {
        *self.status.borrow()
    }

    /// Resolves when it holds slots, and so will publish.
    ///
    /// # Cancel safety
    /// Nothing is lost.
    pub fn ready(&self) -> impl Future<Output = ()> + Send + 'static {
        let mut status = self.status.clone();
        async move {
            // The relay has gone: nobody will be told any more.
            if status.wait_for(|status| status.slots > 0).await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }

    /// Publishes nothing new, waits for what is in flight and its deletes, and gives its slots
    /// back, so that another relay goes on at once.
    ///
    /// # Errors
    /// [`Error::is_timeout`] when rows were still in flight after `limit`; their slots stay
    /// with this relay until its lease has run out, so that nobody overtakes them.
    ///
    /// # Cancel safety
    /// Dropping the future leaves the relay to its crash.
    pub async fn shutdown(mut self, limit: Duration) -> Result<(), Error> {
        self.stop.send_replace(Some(self.start.elapsed() + limit));
        match (&mut self.task).await {
            Ok(true) => Ok(()),
            Ok(false) => Err(Kind::Timeout("draining the relay").into()),
            Err(_) => Err(Kind::Timeout("the relay, which has panicked,").into()),
        }
    }
}

impl Drop for RelayHandle {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// One life of the lease.
fn new_life() -> Uuid {
    Uuid::new_v4()
}

const _: () = assert!(SLOTS.is_multiple_of(GROUP_SLOTS));
