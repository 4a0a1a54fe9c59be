//! The owner of the producer.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, TryRecvError};
use std::time::{Duration, Instant};

use rdkafka::config::ClientConfig;
use rdkafka::producer::Producer as _;

use super::producer::{self, KafkaProducer, Sent, Topic};
use super::topics::{Place, Topics};
use crate::publisher::{Command, Link, Report};
use crate::relay::core::{Batch, Fate, Packing};

/// Rows between two looks at delivery reports, commands and the trust deadline.
const BURST_ROWS: usize = 256;

/// A wait for commands while rows are in flight; then their reports are looked for.
const LOOK: Duration = Duration::from_micros(250);

/// A wait for commands while nothing is in flight.
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
    topics: Topics,
    /// Nothing more is handed over.
    failed: bool,
}

/// What an owner does next.
enum Next {
    /// More rows can be handed over at once.
    Rows,
    /// Rows are in flight.
    Reports,
    Commands,
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
            let wait = match self.work() {
                Next::Rows => continue,
                Next::Reports => LOOK,
                Next::Commands => IDLE,
            };
            match commands.recv_timeout(wait) {
                Ok(command) => self.command(command),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return self.abandon(),
            }
        }
    }

    fn command(&mut self, command: Command) {
        match command {
            Command::Open {
                generation,
                packing,
            } => self.open(generation, packing),
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

    fn open(&mut self, generation: u64, packing: Packing) {
        match producer::create(&self.config, packing) {
            Ok(producer) => {
                self.open = Some(Open {
                    generation,
                    producer,
                    queue: VecDeque::new(),
                    topics: Topics::default(),
                    failed: false,
                });
            }
            Err(error) => {
                tracing::error!(%error, "no producer");
                self.link.report(Report::Failed { generation });
            }
        }
    }

    /// Hands rows over and serves the reports that are there.
    fn work(&mut self) -> Next {
        let Some(open) = &mut self.open else {
            return Next::Commands;
        };
        let handed = open.hand_over(&self.link);
        producer::serve(&open.producer);
        open.tell(&self.link);
        if handed && !open.queue.is_empty() {
            Next::Rows
        } else if open.producer.in_flight_count() > 0 {
            Next::Reports
        } else {
            Next::Commands
        }
    }

    fn probe(&mut self, topic: String) {
        let Some(open) = &mut self.open else {
            return self.link.report(Report::TopicAway { topic });
        };
        match producer::look_up(open.producer.client(), &topic, LOOK_UP) {
            Topic::There(partitions) => {
                let name = topic.as_str().into();
                open.topics.found(name, partitions, Instant::now());
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
        let now = Instant::now();
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
            let (partition, first) = match self.topics.place(&row.topic, &row.key, now) {
                Place::Partition(partition) => (partition, false),
                Place::First(partition) => (partition, true),
                Place::Wait => return false,
                Place::Away(reason) => {
                    context.settle(*entry, *next, Fate::TopicAway { reason });
                    *next += 1;
                    continue;
                }
                Place::Unknown => {
                    let topic = Arc::clone(&row.topic);
                    return self.learn(topic);
                }
            };
            if first {
                context.ask(*entry, *next, (Arc::clone(&row.topic), partition));
            }
            match producer::send(
                &self.producer,
                &link.envelope,
                row,
                *entry,
                *next,
                Some(partition),
            ) {
                Sent::Queued => *next += 1,
                Sent::Full => {
                    if first {
                        context.unask(*entry, *next);
                        self.topics.unasked(&row.topic, partition);
                    }
                    return false;
                }
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
            Topic::There(partitions) => {
                self.topics.found(topic, partitions, Instant::now());
                true
            }
            Topic::Away(reason) => {
                self.topics.missed(topic, reason);
                true
            }
            Topic::Silent => true,
        }
    }

    /// Passes on what the callbacks noted.
    fn tell(&mut self, link: &Link) {
        let context = self.producer.context();
        for (topic, partition) in context.take_taken() {
            self.topics.taken(&topic, partition, Instant::now());
        }
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
        let until = Instant::now() + flush;
        while self.producer.in_flight_count() > 0 && Instant::now() < until && link.trust.holds() {
            if self.producer.context().has_failed() {
                // It sends nothing more, but what is on its way may still be acknowledged, and
                // then is not repeated. Again and again, since what failed goes back.
                producer::purge_queue(&self.producer);
            }
            producer::wait(&self.producer);
        }
        let until = Instant::now() + PURGE_MAX;
        while self.producer.in_flight_count() > 0 && Instant::now() < until {
            producer::purge(&self.producer);
            producer::wait(&self.producer);
        }
        // What still has no report never gets one; a refusal beside it must not be lost by that.
        context.settle_rest();
        self.failed = true;
        self.tell(link);
        drop(self.producer);
    }
}

pub(super) fn unknown(batch: &Batch) -> crate::relay::core::Outcome {
    crate::relay::core::Outcome::Mixed(vec![Fate::Unknown; batch.rows.len()])
}

#[cfg(test)]
mod tests {
    use rdkafka::consumer::{BaseConsumer, Consumer};
    use rdkafka::types::{RDKafkaApiKey, RDKafkaRespErr};

    use super::*;
    use crate::publisher::kafka::{InProcessBroker, KafkaPublisher};
    use crate::publisher::{Command, Envelope, Start, Trust};
    use crate::relay::row::Row;

    fn row(number: i64) -> Row {
        Row {
            seq: number,
            id: uuid::Uuid::now_v7(),
            slot: 0,
            topic: "t".into(),
            key: "k".into(),
            kind: "T".into(),
            payload: Some(number.to_string().into()),
            headers: None,
            trace: None,
            created_ms: 0,
            replayed: false,
        }
    }

    /// The broker is far away, so that several requests could be on their way; and, as Kafka
    /// does with a producer that it knows nothing of, it takes any sequence after a refusal.
    #[test]
    fn nothing_overtakes_a_refused_first_request() {
        let broker = InProcessBroker::start(&["t"], 1).unwrap();
        let refused = RDKafkaRespErr::RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE;
        broker
            .with_cluster("making it slow", |cluster| {
                cluster.broker_round_trip_time(1, Duration::from_millis(200))?;
                cluster.request_errors(RDKafkaApiKey::Produce, &[refused]);
                Ok(())
            })
            .unwrap();
        let publisher = KafkaPublisher::new(broker.bootstrap_servers());
        let publisher = publisher.set("batch.num.messages", "10").unwrap();
        let (reports, mut inbox) = tokio::sync::mpsc::unbounded_channel();
        let trust = Arc::new(Trust::new(Instant::now()));
        trust.extend(Duration::from_secs(600));
        let link = Link {
            reports,
            trust,
            envelope: Arc::new(Envelope {
                source: "/test".to_owned(),
                content_type: "text/plain".to_owned(),
            }),
            identity: uuid::Uuid::nil(),
            transactions: false,
        };
        let commands = Box::new(publisher).start(link).unwrap();
        commands.command(Command::Open {
            generation: 0,
            packing: Packing::Full { halvings: 0 },
        });
        let batch = Arc::new(Batch {
            id: 0,
            group: 0,
            rows: (1..=100).map(row).collect(),
            unconfirmed: Vec::new(),
        });
        commands.command(Command::Publish {
            generation: 0,
            batch,
        });
        while !matches!(inbox.blocking_recv().unwrap(), Report::Failed { .. }) {}
        let flush = Duration::from_secs(5);
        commands.command(Command::Close {
            generation: 0,
            flush,
        });
        while !matches!(inbox.blocking_recv().unwrap(), Report::Closed { .. }) {}

        let consumer: BaseConsumer = ClientConfig::new()
            .set("bootstrap.servers", broker.bootstrap_servers())
            .create()
            .unwrap();
        let log = consumer.fetch_watermarks("t", 0, Duration::from_secs(10));
        assert_eq!(log.unwrap(), (0, 0), "records after the refused ones");
    }
}
