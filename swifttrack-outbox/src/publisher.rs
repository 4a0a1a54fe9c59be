//! Where events go: the line between the relay and a broker.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::mpsc;
use uuid::Uuid;

use crate::error::Error;
use crate::relay::core::{Batch, Outcome, Packing};

mod envelope;
#[cfg(feature = "kafka")]
pub(crate) mod kafka;
mod memory;

pub(crate) use envelope::Envelope;
#[cfg(feature = "kafka")]
pub use kafka::{InProcessBroker, KafkaPublisher};
pub use memory::{MemoryPublisher, Record};

/// A broker that a relay can publish to: `KafkaPublisher`, or [`MemoryPublisher`].
pub trait Publisher: sealed::Sealed + Send + 'static {
    #[doc(hidden)]
    fn backend(self) -> Backend;
}

pub(crate) mod sealed {
    #[expect(unnameable_types, reason = "a sealed trait has no public path")]
    pub trait Sealed {}
}

/// A publisher without its type.
#[derive(Debug)]
pub struct Backend(pub(crate) Box<dyn Start>);

/// A publisher that was configured and not started.
pub(crate) trait Start: Send + std::fmt::Debug {
    fn start(self: Box<Self>, link: Link) -> Result<Box<dyn Commands>, Error>;
    fn has_transactions(&self) -> bool;
}

/// What a relay asks of its publisher. None of it blocks.
///
/// The contract, on which the core rests:
/// 1. Rows of a batch, and batches of a group, are handed over in order.
/// 2. Each batch of a generation is settled once, before the generation's `Closed`.
/// 3. `Unknown` is a fate only of a generation that has failed or is being closed.
/// 4. After `Closed` nothing of the generation reaches the broker any more.
/// 5. After a first failure the generation hands nothing more over, and says `Failed`.
/// 6. Nothing is handed over when the trust has ended.
/// 7. A topic that is away takes nothing before a probe found it.
pub(crate) trait Commands: Send {
    fn command(&self, command: Command);
}

/// See [`Commands`].
#[derive(Debug)]
pub(crate) enum Command {
    Open { generation: u64, packing: Packing },
    Fence { generation: u64, group: u8 },
    Publish { generation: u64, batch: Arc<Batch> },
    Close { generation: u64, flush: Duration },
    Probe { topic: String },
}

/// What a publisher answers.
#[derive(Debug)]
pub(crate) enum Report {
    Settled {
        generation: u64,
        batch: u64,
        outcome: Outcome,
    },
    Failed {
        generation: u64,
    },
    Closed {
        generation: u64,
    },
    Fenced {
        generation: u64,
        group: u8,
        published: Vec<(i64, u32)>,
    },
    TopicReady {
        topic: String,
    },
    TopicAway {
        topic: String,
    },
}

/// What a publisher gets from its relay.
#[derive(Debug)]
pub(crate) struct Link {
    /// Not bounded by itself: there is one report for each batch in flight at the most, and
    /// those are bounded by the core.
    pub(crate) reports: mpsc::UnboundedSender<Report>,
    pub(crate) trust: Arc<Trust>,
    pub(crate) envelope: Arc<Envelope>,
    /// Which outbox this is, the same for all of its relays.
    pub(crate) identity: Uuid,
    /// Groups of slots are fenced by Kafka.
    pub(crate) transactions: bool,
}

impl Link {
    pub(crate) fn report(&self, report: Report) {
        // The relay may have gone; then nobody wants to know.
        let _ = self.reports.send(report);
    }
}

/// Until when the lease is trusted, shared with the threads that hand rows over.
#[derive(Debug)]
pub(crate) struct Trust {
    start: Instant,
    until_micros: AtomicU64,
}

impl Trust {
    pub(crate) fn new(start: Instant) -> Self {
        Self {
            start,
            until_micros: AtomicU64::new(0),
        }
    }

    pub(crate) fn extend(&self, until: Duration) {
        self.until_micros
            .fetch_max(until.as_micros() as u64, Ordering::Release);
    }

    pub(crate) fn holds(&self) -> bool {
        self.start.elapsed().as_micros() < u128::from(self.until_micros.load(Ordering::Acquire))
    }
}
