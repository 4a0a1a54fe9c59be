//! One database, one broker, and relays between them.

use std::time::{Duration, Instant};

use swifttrack_outbox::{
    Event, Fencing, InProcessBroker, KafkaPublisher, Relay, RelayHandle, append_batch, backlog,
};
use uuid::Uuid;

use super::args::Args;
use super::pool::{Pool, SOURCE, event, events};
use super::recorder::seen;
use super::{Error, bare};

/// Between two looks at how far the relays are.
const LOOK: Duration = Duration::from_millis(2);

/// Rows before the end of the table that are looked at: a batch.
const TAIL_ROWS: i64 = 5_000;

/// What anything may take.
const PATIENCE: Duration = Duration::from_secs(120);

pub(crate) struct Setting {
    pub(crate) pool: Pool,
    pub(crate) brokers: String,
    pub(crate) topic: String,
    set: Vec<(String, String)>,
    /// It lives as long as this.
    _in_process: Option<InProcessBroker>,
}

impl Setting {
    pub(crate) async fn new(args: &Args, connections: u32) -> Result<Self, Error> {
        let pool = Pool::open(&args.url, connections).await?;
        if backlog(pool.database()).await?.rows > 0 {
            return Err("the outbox is not empty: give the program a database of its own".into());
        }
        let topic = format!("relay-load-{}", Uuid::new_v4());
        let (brokers, in_process) = match &args.brokers {
            Some(brokers) => {
                bare::make_topic(brokers, &topic).await?;
                (brokers.clone(), None)
            }
            None => {
                let broker = InProcessBroker::start(&[&topic], 4)?;
                (broker.bootstrap_servers().to_owned(), Some(broker))
            }
        };
        Ok(Self {
            pool,
            brokers,
            topic,
            set: args.set.clone(),
            _in_process: in_process,
        })
    }

    pub(crate) async fn relay(&self, fencing: Fencing) -> Result<RelayHandle, Error> {
        let mut publisher = KafkaPublisher::new(self.brokers.clone());
        for (name, value) in &self.set {
            publisher = publisher.set(name, value)?;
        }
        let relay = Relay::new(self.pool.database(), publisher)
            .source(SOURCE)
            .fencing(fencing)
            .spawn()
            .await?;
        Ok(relay)
    }

    /// Relays that hold their shares, know the topic and have a record in each partition.
    pub(crate) async fn warm_relays(
        &self,
        count: usize,
        fencing: Fencing,
    ) -> Result<Vec<RelayHandle>, Error> {
        let mut relays = Vec::new();
        for _ in 0..count {
            relays.push(self.relay(fencing).await?);
        }
        let start = Instant::now();
        let slots = |relay: &RelayHandle| relay.status().slots;
        // As many as its share, and no more than that: shares are equal here.
        while relays.iter().any(|relay| slots(relay) != 64 / count) {
            in_time(start)?;
            tokio::time::sleep(LOOK).await;
        }
        // Twice: what the first brings about, such as connections, is over by the second.
        for _ in 0..2 {
            seen().clear();
            self.pool.append(&events(&self.topic, 0..1_000)).await?;
            self.until_done(&relays, 1_000).await?;
        }
        Ok(relays)
    }

    /// Until so many rows were acknowledged and the table is empty.
    pub(crate) async fn until_done(&self, relays: &[RelayHandle], rows: u64) -> Result<(), Error> {
        let start = Instant::now();
        let last = self.pool.last().await?;
        while seen().published() < rows {
            in_time(start)?;
            tokio::time::sleep(LOOK).await;
        }
        let left = |relay: &RelayHandle| relay.status().in_flight + relay.status().undeleted;
        while relays.iter().any(|relay| left(relay) > 0)
            || !self.pool.is_empty_after(last - TAIL_ROWS).await?
        {
            in_time(start)?;
            tokio::time::sleep(LOOK).await;
        }
        Ok(())
    }

    /// When nothing is left.
    pub(crate) async fn stop(&self, relays: Vec<RelayHandle>) -> Result<(), Error> {
        let start = Instant::now();
        while backlog(self.pool.database()).await?.rows > 0 {
            in_time(start)?;
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        for relay in relays {
            relay.shutdown(PATIENCE).await?;
        }
        Ok(())
    }

    /// Rows a second from a backlog, writers stopped; the wait for slots does not count.
    pub(crate) async fn backlog_rate(&self, rows: u64) -> Result<f64, Error> {
        self.pool.fill(&self.topic, rows).await?;
        seen().clear();
        let relay = self.relay(Fencing::Lease).await?;
        relay.ready().await;
        let start = Instant::now();
        let relays = vec![relay];
        self.until_done(&relays, rows).await?;
        let took = start.elapsed();
        self.stop(relays).await?;
        Ok(rows as f64 / took.as_secs_f64())
    }

    /// Rows a second of relays that run, from the commit of all of them in one transaction.
    pub(crate) async fn commit_rate(
        &self,
        relays: &[RelayHandle],
        rows: u64,
    ) -> Result<f64, Error> {
        let pool = self.pool.postgres()?;
        sqlx::query("VACUUM outbox").execute(pool).await?;
        let mut tx = pool.begin().await?;
        for from in (0..rows).step_by(1_000) {
            let to = rows.min(from + 1_000);
            append_batch(&mut *tx, &events(&self.topic, from..to)).await?;
        }
        seen().clear();
        tx.commit().await?;
        let start = Instant::now();
        for relay in relays {
            relay.waker().wake();
        }
        self.until_done(relays, rows).await?;
        Ok(rows as f64 / start.elapsed().as_secs_f64())
    }

    /// A steady rate of transactions of one row, each with a wake.
    pub(crate) async fn latency(
        &self,
        fencing: Fencing,
        rate: u64,
        seconds: u64,
    ) -> Result<Latency, Error> {
        let relays = self.warm_relays(1, fencing).await?;
        seen().clear();
        let waker = relays[0].waker();
        let mut ticks = tokio::time::interval(Duration::from_micros(1_000_000 / rate));
        let mut writers = tokio::task::JoinSet::new();
        for n in 0..rate * seconds {
            ticks.tick().await;
            let (pool, waker) = (self.pool.clone(), waker.clone());
            let event: Event = event(&self.topic, n);
            writers.spawn(async move {
                pool.append(&[event]).await.map(|()| {
                    let committed = Instant::now();
                    waker.wake();
                    committed
                })
            });
        }
        let mut commits = Vec::new();
        while let Some(committed) = writers.join_next().await {
            commits.push(committed??);
        }
        self.until_done(&relays, rate * seconds).await?;
        self.stop(relays).await?;
        commits.sort_unstable();
        let acks = seen().acks();
        let ms = |(commit, ack): (&Instant, &Instant)| {
            ack.saturating_duration_since(*commit).as_secs_f64() * 1_000.0
        };
        Ok(Latency {
            from_commit: Sorted::new(commits.iter().zip(&acks).map(ms).collect()),
            from_append: Sorted::new(seen().oldest_ms()),
        })
    }
}

/// How long rows took, in milliseconds.
pub(crate) struct Latency {
    /// Each row, from when its writer's commit returned: the n-th commit to the n-th
    /// acknowledgement, which is the row itself but where neighbours changed places.
    pub(crate) from_commit: Sorted,
    /// Each batch's oldest row, from its insert, so with the commit's own time: the relay's
    /// histogram.
    pub(crate) from_append: Sorted,
}

pub(crate) struct Sorted(Vec<f64>);

impl Sorted {
    pub(crate) fn new(mut values: Vec<f64>) -> Self {
        values.sort_by(f64::total_cmp);
        Self(values)
    }

    /// To a hundredth.
    pub(crate) fn at(&self, share: f64) -> f64 {
        let last = self.0.len().saturating_sub(1);
        let value = self.0.get((last as f64 * share) as usize);
        value.map_or(f64::NAN, |value| (value * 100.0).round() / 100.0)
    }
}

pub(crate) fn median(values: &[f64]) -> f64 {
    Sorted::new(values.to_vec()).at(0.5)
}

/// To a thousandth.
pub(crate) fn ratio(of: f64, to: f64) -> f64 {
    (of / to * 1_000.0).round() / 1_000.0
}

pub(crate) fn whole(values: &[f64]) -> Vec<f64> {
    values.iter().map(|value| value.round()).collect()
}

fn in_time(start: Instant) -> Result<(), Error> {
    if start.elapsed() < PATIENCE {
        Ok(())
    } else {
        Err("a relay got stuck".into())
    }
}
