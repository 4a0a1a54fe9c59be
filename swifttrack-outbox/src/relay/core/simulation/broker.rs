//! A broker, and the laws that its log shows.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;

use super::database::number;
use crate::relay::core::{Batch, Packing};
use crate::relay::row::Row;

#[derive(Debug, Default)]
pub(super) struct Broker {
    pub(super) log: HashSet<i64>,
    last: HashMap<String, u64>,
    pub(super) repeats: usize,
    /// The topic "away" takes nothing.
    pub(super) away: bool,
    /// Rows that are refused for themselves.
    pub(super) poison: HashSet<i64>,
    /// It refuses requests of more than two rows.
    pub(super) narrow: bool,
    /// Of each group of slots, where groups are fenced.
    pub(super) groups: [GroupLog; 8],
    /// A record that is seen twice breaks a law.
    pub(super) exactly_once: bool,
    /// Commits of those who had lost their group.
    pub(super) fenced_off: usize,
}

/// What the broker knows of a group.
#[derive(Debug, Default)]
pub(super) struct GroupLog {
    /// How often it was fenced.
    pub(super) epoch: u64,
    /// The last that was committed.
    pub(super) marker: Vec<(i64, u32)>,
}

impl Broker {
    /// A request is refused for one of its rows, or for its size.
    pub(super) fn refuses(&self, rows: &[Row], packing: Packing) -> bool {
        let poisoned = rows.iter().any(|row| self.poison.contains(&row.seq));
        poisoned || (self.narrow && rows.len() > 2 && packing == Packing::Full { halvings: 0 })
    }

    /// Appends a record; Err tells which law it breaks.
    pub(super) fn append(&mut self, row: &Row) -> Result<(), String> {
        if !self.log.insert(row.seq) {
            self.repeats += 1;
            if self.exactly_once {
                return Err(format!("record {} of key {} twice", row.seq, row.key));
            }
            return Ok(());
        }
        let last = self.last.entry(row.key.clone()).or_default();
        if number(row) != *last + 1 {
            return Err(format!("key {}: {} after {last}", row.key, number(row)));
        }
        *last = number(row);
        Ok(())
    }
}

/// One generation of a relay's producer.
#[derive(Debug)]
pub(super) struct Producer {
    pub(super) generation: u64,
    pub(super) queue: VecDeque<Arc<Batch>>,
    pub(super) failed: bool,
    pub(super) packing: Packing,
    /// It found the topic missing; a probe has to find it again.
    pub(super) knows_away: bool,
}

/// A relay's producer of one group.
#[derive(Debug)]
pub(super) struct GroupProducer {
    pub(super) generation: u64,
    /// None: it is still fencing.
    pub(super) epoch: Option<u64>,
    pub(super) queue: VecDeque<Arc<Batch>>,
    /// A transaction is on its way.
    pub(super) busy: bool,
    pub(super) failed: bool,
    /// Rows that its transactions left out, and that a marker might still list.
    pub(super) left_out: HashSet<i64>,
}
