//! The owner of the producer.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, TryRecvError};
use std::time::{Duration, Instant};

use rdkafka::config::ClientConfig;
use rdkafka::producer::Producer as _;

use super::producer::{self, KafkaProducer, Sent, Topic};
use crate::publisher::{Command, Link, Report};
use crate::relay::core::{Batch, Fate};

/// Rows between two looks at delivery reports, commands and the trust deadline.
const BURST_ROWS: usize = 256;

/// A wait for reports while rows are in flight.
const POLL: Duration = Duration::from_millis(1);

/// A wait for commands while nothing is.
const IDLE: Duration = Duration::from_millis(100);

/// One look-up of a topic; commands wait as long.
const LOOK_UP: Duration = Duration::from_millis(500);

/// What purging may take; librdkafka answers at once.
const PURGE_MAX: Duration = Duration::from_secs(5);

pub(super) struct Worker {
    config: ClientConfig,
    link: Link,
    open: Option<Open>,
}

/// A producer and what it was given.
struct Open {
    generation: u64,
    producer: KafkaProducer,
    /// Batches whose rows are not all handed over, the ledger's entry and the next row.
    queue: VecDeque<(Arc<Batch>, u32, usize)>,
    topics: HashMap<Arc<str>, Known>,
    /// Nothing more is handed over.
    failed: bool,
}

#[derive(Clone, Debug)]
enum Known {
    There,
    Away(String),
}

impl Worker {
    pub(super) fn new(config: ClientConfig, link: Link) -> Self {
        Self {
            config,
            link,
            open: None,
        }
    }

    /// Until the relay is gone.
    pub(super) fn run(mut self, commands: &Receiver<Command>) {
        loop {
            loop {
                match commands.try_recv() {
                    Ok(command) => self.command(command),
                    Err(TryRecvError::Empty) => break,
                    Err(TryRecvError::Disconnected) => return self.abandon(),
                }
            }
            if self.work() {
                continue;
            }
            match commands.recv_timeout(IDLE) {
                Ok(command) => self.command(command),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return self.abandon(),
            }
        }
    }

    fn command(&mut self, command: Command) {
        match command {
            Command::Open { generation } => self.open(generation),
            Command::Publish { generation, batch } => {
                let link = &self.link;
                match self
                    .open
                    .as_mut()
                    .filter(|open| open.generation == generation)
                {
                    Some(open) => {
                        let entry = open.producer.context().enter(&batch);
                        open.queue.push_back((batch, entry, 0));
                    }
                    // The producer could not be made; its failure was told.
                    None => link.report(Report::Settled {
                        generation,
                        batch: batch.id,
                        outcome: unknown(&batch),
                    }),
                }
            }
            Command::Close { generation, flush } => self.close(generation, flush),
            Command::Probe { topic } => self.probe(topic),
            Command::Fence { generation, .. } => self.link.report(Report::Failed { generation }),
        }
    }

    fn open(&mut self, generation: u64) {
        match producer::create(&self.config) {
            Ok(producer) => {
                self.open = Some(Open {
                    generation,
                    producer,
                    queue: VecDeque::new(),
                    topics: HashMap::new(),
                    failed: false,
                });
            }
            Err(error) => {
                tracing::error!(%error, "no producer");
                self.link.report(Report::Failed { generation });
            }
        }
    }

    /// Hands rows over and serves reports; true while there is something to do.
    fn work(&mut self) -> bool {
        let Some(open) = &mut self.open else {
            return false;
        };
        let link = &self.link;
        let handed = open.hand_over(link);
        let in_flight = open.producer.in_flight_count() > 0;
        // With rows left to hand over, only what is there; else as long as a report may take.
        let wait = if handed || !in_flight {
            Duration::ZERO
        } else {
            POLL
        };
        open.producer.poll(wait);
        open.tell(link);
        in_flight || (handed && !open.queue.is_empty())
    }

    fn probe(&mut self, topic: String) {
        let Some(open) = &mut self.open else {
            return self.link.report(Report::TopicAway { topic });
        };
        match producer::look_up(open.producer.client(), &topic, LOOK_UP) {
            Topic::There => {
                open.topics.insert(topic.as_str().into(), Known::There);
                self.link.report(Report::TopicReady { topic });
            }
            Topic::Away(_) | Topic::Silent => self.link.report(Report::TopicAway { topic }),
        }
    }

    fn close(&mut self, generation: u64, flush: Duration) {
        if let Some(open) = self.open.take_if(|open| open.generation == generation) {
            open.close(&self.link, flush);
        }
        self.link.report(Report::Closed { generation });
    }

    /// The relay is gone without a word: what is queued must not be sent any more.
    fn abandon(mut self) {
        if let Some(open) = self.open.take() {
            open.close(&self.link, Duration::ZERO);
        }
    }
}

impl Open {
    /// Sends up to a burst of rows, in order; true if it may go on at once.
    fn hand_over(&mut self, link: &Link) -> bool {
        for _ in 0..BURST_ROWS {
            // A row costs microseconds and the clock nanoseconds, so it is read for each: the
            // process may have been frozen between any two.
            if self.failed || !link.trust.holds() {
                return false;
            }
            let Some((batch, entry, next)) = self.queue.front_mut() else {
                return false;
            };
            let Some(row) = batch.rows.get(*next) else {
                self.queue.pop_front();
                continue;
            };
            let context = self.producer.context();
            match self.topics.get(&row.topic) {
                Some(Known::There) => {}
                Some(Known::Away(reason)) => {
                    let reason = reason.clone();
                    context.settle(*entry, *next, Fate::TopicAway { reason });
                    *next += 1;
                    continue;
                }
                None => {
                    let topic = Arc::clone(&row.topic);
                    return self.learn(topic);
                }
            }
            match producer::send(&self.producer, &link.envelope, row, *entry, *next) {
                Sent::Queued => *next += 1,
                Sent::Full => return false,
                Sent::Refused(fate) => {
                    context.settle(*entry, *next, fate);
                    *next += 1;
                    self.failed = true;
                    link.report(Report::Failed {
                        generation: self.generation,
                    });
                }
            }
        }
        true
    }

    /// Before the first record to a topic: one that is missing would have some records fail
    /// and, once it is made, later ones succeed.
    fn learn(&mut self, topic: Arc<str>) -> bool {
        match producer::look_up(self.producer.client(), &topic, LOOK_UP) {
            Topic::There => {
                self.topics.insert(topic, Known::There);
                true
            }
            Topic::Away(reason) => {
                self.topics.insert(topic, Known::Away(reason));
                true
            }
            Topic::Silent => true,
        }
    }

    /// Passes on what the callbacks noted.
    fn tell(&mut self, link: &Link) {
        let context = self.producer.context();
        for (batch, outcome) in context.take_settled() {
            link.report(Report::Settled {
                generation: self.generation,
                batch,
                outcome,
            });
        }
        if !self.failed && context.has_failed() {
            self.failed = true;
            link.report(Report::Failed {
                generation: self.generation,
            });
        }
    }

    /// After this nothing of the producer reaches the broker any more.
    fn close(mut self, link: &Link, flush: Duration) {
        let context = self.producer.context();
        for (batch, entry, next) in std::mem::take(&mut self.queue) {
            for row in next..batch.rows.len() {
                context.settle(entry, row, Fate::Unknown);
            }
        }
        // A producer that reported an error may go on past the gap, so it is not waited for.
        let until = Instant::now() + flush;
        while !self.producer.context().has_failed()
            && self.producer.in_flight_count() > 0
            && Instant::now() < until
            && link.trust.holds()
        {
            self.producer.poll(POLL);
        }
        producer::purge(&self.producer);
        let until = Instant::now() + PURGE_MAX;
        while self.producer.in_flight_count() > 0 && Instant::now() < until {
            self.producer.poll(POLL);
        }
        self.failed = true;
        self.tell(link);
        drop(self.producer);
    }
}

pub(super) fn unknown(batch: &Batch) -> crate::relay::core::Outcome {
    crate::relay::core::Outcome::Mixed(vec![Fate::Unknown; batch.rows.len()])
}
