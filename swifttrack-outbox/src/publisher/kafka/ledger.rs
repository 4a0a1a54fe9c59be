//! What was handed to a producer and not settled: a slab, whose index is the record's opaque.

use std::sync::Arc;

use crate::relay::core::{Batch, Fate, Outcome};

/// Where a record's batch is, and which row of it: what librdkafka gives back with a report.
/// On 64 bits both halves fit one pointer, so nothing is allocated for a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ticket {
    entry: u32,
    row: u32,
}

const _: () = assert!(usize::BITS == 64, "a ticket needs 64 bits");

impl From<Ticket> for usize {
    fn from(ticket: Ticket) -> Self {
        ((ticket.entry as Self) << 32) | ticket.row as Self
    }
}

impl From<usize> for Ticket {
    fn from(opaque: usize) -> Self {
        Self {
            entry: (opaque >> 32) as u32,
            row: (opaque & 0xffff_ffff) as u32,
        }
    }
}

#[derive(Debug)]
struct Entry {
    batch: u64,
    rows: u32,
    open: u32,
    /// One bit for each row.
    settled: Vec<u64>,
    /// Made at the first row that was not acknowledged. It starts as all acknowledged: a batch
    /// is told only when each of its rows has been settled.
    fates: Option<Vec<Fate>>,
}

/// Batches of one producer.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    entries: Vec<Option<Entry>>,
}

impl Ledger {
    /// Takes a batch in; its tickets are `ticket(entry, row)`.
    pub(super) fn enter(&mut self, batch: &Arc<Batch>) -> u32 {
        let rows = batch.rows.len() as u32;
        let entry = Entry {
            batch: batch.id,
            rows,
            open: rows,
            settled: vec![0; batch.rows.len().div_ceil(64)],
            fates: None,
        };
        match self.entries.iter().position(Option::is_none) {
            Some(free) => {
                self.entries[free] = Some(entry);
                free as u32
            }
            None => {
                self.entries.push(Some(entry));
                (self.entries.len() - 1) as u32
            }
        }
    }

    pub(super) fn ticket(entry: u32, row: usize) -> Ticket {
        Ticket {
            entry,
            row: row as u32,
        }
    }

    /// Settles what is left as unknown, when nothing more can come.
    pub(super) fn settle_rest(&mut self) -> Vec<(u64, Outcome)> {
        let mut done = Vec::new();
        for entry in 0..self.entries.len() {
            let rows = self.entries[entry].as_ref().map_or(0, |entry| entry.rows);
            for row in 0..rows {
                let ticket = Self::ticket(entry as u32, row as usize);
                done.extend(self.settle(ticket, Fate::Unknown));
            }
        }
        done
    }

    /// Settles a row, once; with the last one, the batch.
    pub(super) fn settle(&mut self, ticket: Ticket, fate: Fate) -> Option<(u64, Outcome)> {
        let place = self.entries.get_mut(ticket.entry as usize)?;
        let entry = place.as_mut()?;
        let row = ticket.row as usize;
        let (word, bit) = (&mut entry.settled[row / 64], 1 << (row % 64));
        if *word & bit != 0 {
            return None;
        }
        *word |= bit;
        match (&mut entry.fates, fate) {
            (None, Fate::Acked) => {}
            (fates, fate) => {
                let fates = fates.get_or_insert_with(|| vec![Fate::Acked; entry.rows as usize]);
                fates[row] = fate;
            }
        }
        entry.open -= 1;
        if entry.open > 0 {
            return None;
        }
        let entry = place.take()?;
        Some((
            entry.batch,
            entry.fates.map_or(Outcome::Acked, Outcome::Mixed),
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::relay::row::Row;

    fn batch(id: u64, rows: usize) -> Arc<Batch> {
        let row = Row {
            seq: 1,
            id: uuid::Uuid::nil(),
            slot: 0,
            topic: "t".into(),
            key: "k".into(),
            kind: "T".into(),
            payload: None,
            headers: None,
            trace: None,
            created_ms: 0,
            replayed: false,
        };
        Arc::new(Batch {
            id,
            group: 0,
            rows: vec![row; rows],
            unconfirmed: Vec::new(),
        })
    }

    #[test]
    fn a_ticket_survives_the_way_through_a_pointer() {
        let ticket = Ledger::ticket(7, 49_999);
        assert_eq!(Ticket::from(usize::from(ticket)), ticket);
    }

    #[test]
    fn a_batch_settles_with_its_last_row_and_its_place_is_used_again() {
        let mut ledger = Ledger::default();
        let entry = ledger.enter(&batch(5, 2));
        assert_eq!(ledger.settle(Ledger::ticket(entry, 1), Fate::Acked), None);
        let done = ledger.settle(Ledger::ticket(entry, 0), Fate::Acked);
        assert_eq!(done, Some((5, Outcome::Acked)));
        assert_eq!(ledger.enter(&batch(6, 1)), entry);
    }

    #[test]
    fn what_never_came_is_unknown_and_hides_nothing_that_came() {
        let mut ledger = Ledger::default();
        let entry = ledger.enter(&batch(5, 70));
        let refused = Fate::Refused {
            reason: "too large".to_owned(),
            certain: false,
        };
        ledger.settle(Ledger::ticket(entry, 0), Fate::Acked);
        ledger.settle(Ledger::ticket(entry, 69), refused.clone());
        let mut fates = vec![Fate::Unknown; 70];
        fates[0] = Fate::Acked;
        fates[69] = refused;
        assert_eq!(ledger.settle_rest(), [(5, Outcome::Mixed(fates))]);
        assert_eq!(ledger.settle_rest(), []);
    }

    #[test]
    fn one_row_that_was_not_acknowledged_makes_it_mixed() {
        let mut ledger = Ledger::default();
        let entry = ledger.enter(&batch(5, 3));
        ledger.settle(Ledger::ticket(entry, 0), Fate::Acked);
        ledger.settle(Ledger::ticket(entry, 1), Fate::Unknown);
        let done = ledger.settle(Ledger::ticket(entry, 2), Fate::Acked);
        let fates = vec![Fate::Acked, Fate::Unknown, Fate::Acked];
        assert_eq!(done, Some((5, Outcome::Mixed(fates))));
    }
}
