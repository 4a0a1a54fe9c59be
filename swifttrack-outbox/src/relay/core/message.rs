//! What the core is told, and what it asks for.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use super::Moment;
use crate::relay::row::Row;
use crate::store::{Burial, Holding, Page, Read, id_mark};

/// Rows that are handed to the publisher as one.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Batch {
    pub(crate) id: u64,
    /// The group of slots, when each has a transactional producer of its own; else 0.
    pub(crate) group: u8,
    pub(crate) rows: Vec<Row>,
    /// Rows of the group that are published, or will be before this batch, and whose delete is not
    /// confirmed.
    pub(crate) unconfirmed: Vec<(i64, u32)>,
}

impl Batch {
    /// The marker of the batch's transaction: all that is published and perhaps not deleted when
    /// it has committed. `left_out`: rows that this transaction or an earlier one did not send,
    /// since their topic takes nothing. When the batch was made, those of the batches before it
    /// were still to be published; whoever has the group next would delete them for published.
    pub(crate) fn marker(&self, left_out: &HashSet<i64>) -> Vec<(i64, u32)> {
        let own = self.rows.iter().map(|row| (row.seq, id_mark(row.id)));
        self.unconfirmed
            .iter()
            .copied()
            .chain(own)
            .filter(|(seq, _)| !left_out.contains(seq))
            .collect()
    }
}

/// How a generation's rows are packed into requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Packing {
    /// As many as a request takes, whose size in bytes is halved so many times.
    Full { halvings: u8 },
    /// Each row is a request of its own, so a refusal names its row.
    Single,
}

/// What became of one row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    Acked,
    /// The broker does not take this row. `certain`: it was alone in its request.
    Refused {
        reason: String,
        certain: bool,
    },
    /// Its topic takes nothing now.
    TopicAway {
        reason: String,
    },
    /// It may or may not be published.
    Unknown,
}

/// What became of a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Acked,
    /// One fate for each row.
    Mixed(Vec<Fate>),
}

/// What happened.
#[derive(Debug)]
pub(crate) enum Event<P> {
    Tick,
    Wake,
    ReaderOpen,
    ReaderLost,
    Page(Page<P>),
    /// None: this life of the lease has ended. `asked`: before the heartbeat was sent.
    Kept {
        asked: Moment,
        holding: Option<Holding>,
    },
    KeepFailed,
    Released,
    ReleaseFailed,
    Left,
    Settled {
        generation: u64,
        batch: u64,
        outcome: Outcome,
    },
    /// The generation takes nothing more; it has to be closed.
    Failed {
        generation: u64,
    },
    /// Nothing of the generation can be sent any more, and all that settled was told.
    Closed {
        generation: u64,
    },
    /// The group is fenced; these rows were published by whoever had it before.
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
    Deleted,
    WriteFailed,
    Buried {
        mine: bool,
    },
    /// Drain until then.
    Stop {
        until: Moment,
    },
}

/// What to do.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Action<P> {
    OpenReader,
    Read(Read<P>),
    Keep {
        life: u64,
        first: bool,
    },
    Release {
        life: u64,
        slots: Vec<u8>,
    },
    Leave {
        life: u64,
    },
    /// Until then rows may be handed to a producer.
    Trust {
        until: Moment,
    },
    OpenProducer {
        generation: u64,
        packing: Packing,
    },
    Fence {
        generation: u64,
        group: u8,
    },
    Publish {
        generation: u64,
        batch: Arc<Batch>,
    },
    CloseProducer {
        generation: u64,
        flush: Duration,
    },
    Probe {
        topic: String,
    },
    Delete {
        seqs: Vec<i64>,
        dead: Vec<i64>,
    },
    DeleteMarked {
        rows: Vec<(i64, u32)>,
    },
    Bury {
        life: u64,
        burial: Burial,
    },
    Stopped {
        clean: bool,
    },
}
