//! What the SQL stores agree on about a batch.

use std::any::Any;
use std::sync::Arc;

use uuid::Uuid;

use super::{Change, Head, Outcome, StoreError};

/// Shards of a group.
pub(super) const SHARDS: u16 = 64;

impl Change {
    /// The saga's `seq` after this change.
    pub(super) fn seq_after(&self) -> u32 {
        self.rows.last().map_or(self.expect_seq, |row| row.seq)
    }
}

impl Head {
    pub(super) fn wake_at(&self) -> Option<i64> {
        match self {
            Self::Live { wake_at, .. } => wake_at.map(|at| at.0),
            Self::Ended { .. } => None,
        }
    }
}

/// Refuses a batch that no correct caller makes, before anything is written.
pub(super) fn check(changes: &[Change]) -> Result<(), StoreError> {
    if !changes.is_sorted_by(|a, b| a.saga < b.saga) {
        return Err(StoreError::invalid(
            "the changes of a batch are sorted by saga, and no saga stands twice",
        ));
    }
    changes.iter().try_for_each(check_change)
}

fn check_change(change: &Change) -> Result<(), StoreError> {
    let contiguous = change
        .rows
        .iter()
        .zip(u64::from(change.expect_seq) + 1..)
        .all(|(row, seq)| u64::from(row.seq) == seq);
    let numbers = change.seq_after() <= i32::MAX.cast_unsigned() && change.lease.shard < SHARDS;
    let start = match &change.start {
        None => true,
        Some(start) => {
            start.version <= i32::MAX.cast_unsigned()
                && change.expect_seq == 0
                && change.expect_ctl == 0
                && !change.rows.is_empty()
        }
    };
    if contiguous && numbers && start {
        return Ok(());
    }
    Err(StoreError::invalid(format!(
        "the change of saga {} does not fit together",
        change.saga
    )))
}

/// Marks those that a commit has made durable.
pub(super) fn decide(outcomes: &mut [Option<Outcome>], which: &[usize], outcome: &Outcome) {
    for i in which {
        outcomes[*i] = Some(outcome.clone());
    }
}

/// Marks those that a batch had to leave out.
pub(super) fn settle(outcomes: &mut [Option<Outcome>], lost: Vec<(usize, Outcome)>) {
    for (i, outcome) in lost {
        outcomes[i] = Some(outcome);
    }
}

/// Marks the starts that a hook refused. One that refuses nothing of the batch has failed.
pub(super) fn refuse<'a>(
    outcomes: &mut [Option<Outcome>],
    accepted: impl Iterator<Item = (usize, &'a Change)> + Clone,
    refused: Vec<(Uuid, Reason)>,
) -> Result<(), StoreError> {
    let mut known = false;
    for (saga, reason) in refused {
        let start = accepted
            .clone()
            .find(|(_, change)| change.saga == saga && change.start.is_some());
        if let Some((i, _)) = start {
            outcomes[i] = Some(Outcome::Refused(reason));
            known = true;
        }
    }
    if known {
        return Ok(());
    }
    Err(StoreError::hook(
        "the hook refused what is no start of this batch",
    ))
}

type Reason = Arc<dyn Any + Send + Sync>;
