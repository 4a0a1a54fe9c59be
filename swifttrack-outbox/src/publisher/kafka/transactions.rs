//! Exactly once between outbox and topic: a transactional producer for each group of slots.
//!
//! Every transaction has the batch's records and a marker: the numbers of all rows of the group
//! that are published and whose delete is not confirmed, this batch's among them. Whoever has
//! the group next first fences it (`init_transactions` with the same `transactional.id`, which
//! also ends what was left open), then reads the last committed marker and deletes those rows,
//! and only then reads the backlog. So it does not matter where a relay died: a committed
//! transaction's rows are in the marker, an uncommitted one's are in the table.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use rdkafka::config::ClientConfig;
use rdkafka::error::KafkaError;
use rdkafka::producer::Producer as _;

use super::marker::Markers;
use super::producer::{self, KafkaProducer, Sent, Topic};
use crate::error::Error;
use crate::publisher::{Command, Commands, Link, Report};
use crate::relay::core::{Batch, Fate, Outcome, Packing};

/// One call into the transaction's coordinator; between two the thread looks around.
const CALL: Duration = Duration::from_secs(2);
const LOOK_UP: Duration = Duration::from_millis(500);
/// A wait for commands; the group ends within it.
const IDLE: Duration = Duration::from_millis(50);

/// Routes commands to the groups' threads.
pub(super) struct Transactions {
    config: ClientConfig,
    link: Arc<Link>,
    runtime: tokio::runtime::Handle,
    // A std mutex: commands come from one task, and nothing is awaited.
    groups: Mutex<Groups>,
    known: Arc<Mutex<HashMap<Arc<str>, bool>>>,
}

struct Groups {
    packing: Packing,
    running: HashMap<u8, Group>,
}

enum Order {
    Publish(Arc<Batch>),
    Probe(String),
}

struct Group {
    orders: Sender<Order>,
    closing: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

impl Group {
    /// Tells the thread to end, and gives what to wait for.
    fn close(self) -> JoinHandle<()> {
        self.closing.store(true, Ordering::Release);
        self.thread
    }
}

impl Transactions {
    pub(super) fn new(config: ClientConfig, link: Link) -> Self {
        Self {
            config,
            link: Arc::new(link),
            runtime: tokio::runtime::Handle::current(),
            groups: Mutex::new(Groups {
                packing: Packing::Full { halvings: 0 },
                running: HashMap::new(),
            }),
            known: Arc::default(),
        }
    }

    fn fence(&self, groups: &mut Groups, generation: u64, number: u8) {
        let before = groups.running.remove(&number).map(Group::close);
        let (orders, inbox) = channel();
        let closing = Arc::new(AtomicBool::new(false));
        let worker = Worker {
            generation,
            group: number,
            link: Arc::clone(&self.link),
            closing: Arc::clone(&closing),
            markers: Markers::new(&self.config, self.link.identity, number),
            known: Arc::clone(&self.known),
        };
        let mut config = self.config.clone();
        config.set(
            "transactional.id",
            format!("swifttrack-outbox-{}-{number}", self.link.identity),
        );
        let (runtime, packing) = (self.runtime.clone(), groups.packing);
        let thread = std::thread::Builder::new()
            .name(format!("outbox-group-{number}"))
            .spawn(move || {
                // Its predecessor of this process must not outlive its fence.
                if let Some(before) = before {
                    let _ = before.join();
                }
                worker.run(&config, packing, &runtime, &inbox);
            });
        match thread {
            Ok(thread) => {
                groups.running.insert(
                    number,
                    Group {
                        orders,
                        closing,
                        thread,
                    },
                );
            }
            Err(error) => {
                tracing::error!(%error, "no thread for a group's producer");
                self.link.report(Report::Failed { generation });
            }
        }
    }
}

impl Commands for Transactions {
    fn command(&self, command: Command) {
        let mut groups = self.groups.lock().unwrap_or_else(PoisonError::into_inner);
        match command {
            Command::Open { packing, .. } => groups.packing = packing,
            Command::Fence { generation, group } => self.fence(&mut groups, generation, group),
            Command::Publish { generation, batch } => {
                let order = Order::Publish(Arc::clone(&batch));
                let taken = groups
                    .running
                    .get(&batch.group)
                    .is_some_and(|g| g.orders.send(order).is_ok());
                if !taken {
                    let outcome = unknown(&batch);
                    self.link.report(Report::Settled {
                        generation,
                        batch: batch.id,
                        outcome,
                    });
                    self.link.report(Report::Failed { generation });
                }
            }
            Command::Probe { topic } => {
                let order = |topic: &str| Order::Probe(topic.to_owned());
                if !groups
                    .running
                    .values()
                    .any(|group| group.orders.send(order(&topic)).is_ok())
                {
                    self.link.report(Report::TopicAway { topic });
                }
            }
            Command::Close { generation, .. } => {
                let running = groups.running.drain();
                let threads: Vec<_> = running.map(|(_, group)| group.close()).collect();
                let link = Arc::clone(&self.link);
                // Not on the relay's task: a thread may take as long as one call.
                std::thread::spawn(move || {
                    for thread in threads {
                        let _ = thread.join();
                    }
                    link.report(Report::Closed { generation });
                });
            }
        }
    }
}

impl Drop for Transactions {
    fn drop(&mut self) {
        let groups = self
            .groups
            .get_mut()
            .unwrap_or_else(PoisonError::into_inner);
        for (_, group) in groups.running.drain() {
            group.close();
        }
    }
}

/// The owner of one group's producer.
struct Worker {
    generation: u64,
    group: u8,
    link: Arc<Link>,
    closing: Arc<AtomicBool>,
    markers: Markers,
    /// Topics that were looked up; true: it is there. All groups share it, so that a probe by
    /// one of them holds for all.
    known: Arc<Mutex<HashMap<Arc<str>, bool>>>,
}

/// Why a transaction did not commit.
enum Stop {
    /// The relay does not want it any more.
    Closing,
    Failed,
}

impl Worker {
    fn run(
        self,
        config: &ClientConfig,
        packing: Packing,
        runtime: &tokio::runtime::Handle,
        orders: &Receiver<Order>,
    ) {
        let producer = match self.begin(config, packing, runtime) {
            Ok(producer) => Some(producer),
            Err(Stop::Closing) => None,
            Err(Stop::Failed) => {
                self.link.report(Report::Failed {
                    generation: self.generation,
                });
                None
            }
        };
        let mut failed = producer.is_none();
        let mut left_out = HashSet::new();
        while !self.is_closing() {
            match orders.recv_timeout(IDLE) {
                Ok(Order::Publish(batch)) => match &producer {
                    Some(producer) if !failed => {
                        failed = !self.publish(producer, &batch, &mut left_out)
                    }
                    _ => self.settle(&batch, unknown(&batch)),
                },
                Ok(Order::Probe(topic)) => self.probe(producer.as_ref(), topic),
                Err(RecvTimeoutError::Timeout) => {
                    if let Some(producer) = &producer {
                        producer.poll(Duration::ZERO);
                    }
                }
                Err(RecvTimeoutError::Disconnected) => break,
            }
        }
        for order in orders.try_iter() {
            match order {
                Order::Publish(batch) => self.settle(&batch, unknown(&batch)),
                Order::Probe(topic) => self.link.report(Report::TopicAway { topic }),
            }
        }
    }

    fn known(&self) -> std::sync::MutexGuard<'_, HashMap<Arc<str>, bool>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_closing(&self) -> bool {
        self.closing.load(Ordering::Acquire)
    }

    /// Fences the group and finds what was published by whoever had it before.
    fn begin(
        &self,
        config: &ClientConfig,
        packing: Packing,
        runtime: &tokio::runtime::Handle,
    ) -> Result<KafkaProducer, Stop> {
        let failed = |error: Error| {
            let source = std::error::Error::source(&error).map(ToString::to_string);
            tracing::warn!(%error, ?source, group = self.group, "fencing a group failed");
            Stop::Failed
        };
        runtime.block_on(self.markers.ensure()).map_err(failed)?;
        let producer = producer::create(config, packing).map_err(failed)?;
        loop {
            if self.is_closing() {
                return Err(Stop::Closing);
            }
            match producer.init_transactions(CALL) {
                Ok(()) => break,
                Err(error) if is_retriable(&error) => producer.poll(Duration::ZERO),
                Err(error) => return Err(failed(Error::kafka("fencing a group", error))),
            }
        }
        let published = self.markers.last().map_err(failed)?;
        self.link.report(Report::Fenced {
            generation: self.generation,
            group: self.group,
            published,
        });
        Ok(producer)
    }

    fn settle(&self, batch: &Batch, outcome: Outcome) {
        let (generation, batch) = (self.generation, batch.id);
        self.link.report(Report::Settled {
            generation,
            batch,
            outcome,
        });
    }

    /// One batch, one transaction. False: the producer takes no more.
    fn publish(
        &self,
        producer: &KafkaProducer,
        batch: &Arc<Batch>,
        left_out: &mut HashSet<i64>,
    ) -> bool {
        let context = producer.context();
        let entry = context.enter(batch);
        let mut sent = vec![false; batch.rows.len()];
        let done = self.transact(producer, batch, entry, &mut sent, left_out);
        if done.is_err() {
            abort(producer);
            // Rows that were never handed over have no report to come.
            for (row, sent) in sent.iter().enumerate() {
                if !sent {
                    context.settle(entry, row, Fate::Unknown);
                }
            }
        }
        let outcome = context
            .take_settled()
            .into_iter()
            .find(|(id, _)| *id == batch.id)
            .map_or_else(|| unknown(batch), |(_, outcome)| outcome);
        let outcome = if done.is_ok() {
            outcome
        } else {
            aborted(outcome, batch)
        };
        self.settle(batch, outcome);
        if done.is_err() {
            self.link.report(Report::Failed {
                generation: self.generation,
            });
        }
        done.is_ok()
    }

    fn transact(
        &self,
        producer: &KafkaProducer,
        batch: &Arc<Batch>,
        entry: u32,
        sent: &mut [bool],
        left_out: &mut HashSet<i64>,
    ) -> Result<(), Stop> {
        let failed = |error: KafkaError| {
            tracing::warn!(%error, "a transaction failed");
            Stop::Failed
        };
        producer.begin_transaction().map_err(failed)?;
        if !left_out.is_empty() {
            // What no marker takes for published any more need not be known.
            let listed: HashSet<i64> = batch.unconfirmed.iter().map(|(seq, _)| *seq).collect();
            left_out.retain(|seq| listed.contains(seq));
        }
        for (index, row) in batch.rows.iter().enumerate() {
            if !self.is_there(producer, &row.topic)? {
                let reason = "the topic takes nothing".to_owned();
                producer
                    .context()
                    .settle(entry, index, Fate::TopicAway { reason });
                sent[index] = true;
                left_out.insert(row.seq);
                continue;
            }
            loop {
                self.may_go_on(producer)?;
                match producer::send(producer, &self.link.envelope, row, entry, index, None) {
                    Sent::Queued => break,
                    Sent::Full => producer::wait(producer),
                    Sent::Refused(fate) => {
                        producer.context().settle(entry, index, fate);
                        sent[index] = true;
                        return Err(Stop::Failed);
                    }
                }
            }
            sent[index] = true;
            left_out.remove(&row.seq);
        }
        self.markers
            .send(producer, &batch.marker(left_out))
            .map_err(failed)?;
        while producer.in_flight_count() > 0 {
            self.may_go_on(producer)?;
            producer::wait(producer);
        }
        self.may_go_on(producer)?;
        self.commit(producer)
    }

    /// After an ambiguous answer only the commit is tried again.
    fn commit(&self, producer: &KafkaProducer) -> Result<(), Stop> {
        loop {
            match producer.commit_transaction(CALL) {
                Ok(()) => return Ok(()),
                Err(error) if is_retriable(&error) => {
                    if self.is_closing() {
                        // Whoever fences the group next finds out by the marker.
                        return Err(Stop::Closing);
                    }
                }
                Err(error) => {
                    tracing::warn!(%error, group = self.group, "a commit failed");
                    return Err(Stop::Failed);
                }
            }
        }
    }

    fn may_go_on(&self, producer: &KafkaProducer) -> Result<(), Stop> {
        if self.is_closing() || !self.link.trust.holds() {
            return Err(Stop::Closing);
        }
        if producer.context().has_failed() {
            return Err(Stop::Failed);
        }
        Ok(())
    }

    fn is_there(&self, producer: &KafkaProducer, topic: &Arc<str>) -> Result<bool, Stop> {
        loop {
            if let Some(there) = self.known().get(topic) {
                return Ok(*there);
            }
            self.may_go_on(producer)?;
            let there = match producer::look_up(producer.client(), topic, LOOK_UP) {
                Topic::There(_) => true,
                Topic::Away(_) => false,
                Topic::Silent => continue,
            };
            self.known().insert(Arc::clone(topic), there);
        }
    }

    fn probe(&self, producer: Option<&KafkaProducer>, topic: String) {
        let found = producer.map(|p| producer::look_up(p.client(), &topic, LOOK_UP));
        if let Some(Topic::There(_)) = found {
            self.known().insert(topic.as_str().into(), true);
            self.link.report(Report::TopicReady { topic });
        } else {
            self.link.report(Report::TopicAway { topic });
        }
    }
}

fn is_retriable(error: &KafkaError) -> bool {
    match error {
        KafkaError::Transaction(error) => error.is_retriable(),
        // The flush before a commit ran out of its time.
        KafkaError::Flush(_) => true,
        _ => false,
    }
}

fn abort(producer: &KafkaProducer) {
    producer::purge(producer);
    while producer.in_flight_count() > 0 {
        producer::wait(producer);
    }
    if let Err(error) = producer.abort_transaction(CALL) {
        tracing::debug!(%error, "an abort failed; the next fence ends the transaction");
    }
}

/// Nothing of an aborted transaction is published, whatever was acknowledged.
fn aborted(outcome: Outcome, batch: &Batch) -> Outcome {
    match outcome {
        Outcome::Acked => unknown(batch),
        Outcome::Mixed(fates) => Outcome::Mixed(
            fates
                .into_iter()
                .map(|fate| {
                    if fate == Fate::Acked {
                        Fate::Unknown
                    } else {
                        fate
                    }
                })
                .collect(),
        ),
    }
}

fn unknown(batch: &Batch) -> Outcome {
    Outcome::Mixed(vec![Fate::Unknown; batch.rows.len()])
}
