//! When a group's transaction starts.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use uuid::Uuid;

use super::{Action, Batch, Core, Event, FILL_MAX, Moment, Outcome, Settings};
use crate::relay::poison::PoisonRules;
use crate::relay::row::Row;
use crate::slot::SLOTS;
use crate::store::{Holding, Page, Read};

const UNIT: u8 = SLOTS / 2;
const NOW: Moment = Moment::from_secs(1);

/// A relay with two groups, three rows a transaction, that reads many new rows.
struct Relay {
    core: Core<u64>,
    published: Vec<Arc<Batch>>,
}

impl Relay {
    /// The first page has these rows: their group, by number.
    fn new(first: &[u8]) -> Self {
        let settings = Settings {
            trust: Duration::from_secs(60),
            keep_every: Duration::from_secs(60),
            batch_rows: 3,
            batches_max: 2,
            rows_max: 100,
            poll_min: Duration::from_millis(2),
            poll_max: Duration::from_millis(250),
            unit: UNIT,
            fence: true,
            poison: PoisonRules::default(),
        };
        let mut relay = Self {
            core: Core::new(settings),
            published: Vec::new(),
        };
        relay.tell(Event::Tick, NOW);
        relay.tell(Event::ReaderOpen, NOW);
        let holding = Holding {
            slots: (0..SLOTS).map(|slot| (slot, 1)).collect(),
            relays: 1,
            blocked: Vec::new(),
            replays: Vec::new(),
        };
        let asked = NOW;
        relay.tell(
            Event::Kept {
                asked,
                holding: Some(holding),
            },
            NOW,
        );
        relay.page(1, first, true);
        relay
    }

    /// What is asked on the way is answered.
    fn tell(&mut self, event: Event<u64>, now: Moment) {
        let mut events = VecDeque::from([event]);
        while let Some(event) = events.pop_front() {
            for action in self.core.handle(event, now) {
                match action {
                    Action::Fence { generation, group } => events.push_back(Event::Fenced {
                        generation,
                        group,
                        published: Vec::new(),
                    }),
                    Action::DeleteMarked { .. } => events.push_back(Event::Deleted),
                    Action::Read(Read::Begin | Read::Backlog { .. }) => {
                        events.push_back(Event::Page(Page {
                            rows: Vec::new(),
                            more: false,
                            to: Some(1),
                        }));
                    }
                    Action::Publish { batch, .. } => self.published.push(batch),
                    _ => {}
                }
            }
        }
    }

    fn page(&mut self, from: i64, groups: &[u8], more: bool) {
        let rows = (from..).zip(groups).map(|(seq, group)| Row {
            seq,
            id: Uuid::from_u128(seq as u128),
            slot: group * UNIT,
            topic: "orders".into(),
            key: group.to_string(),
            kind: "Placed".into(),
            payload: None,
            headers: None,
            trace: None,
            created_ms: 0,
            replayed: false,
        });
        let page = Page {
            rows: rows.collect(),
            more,
            to: Some(2),
        };
        self.tell(Event::Page(page), NOW);
    }

    /// Group and rows of each transaction that was started.
    fn started(&self) -> Vec<(u8, usize)> {
        let batches = self.published.iter();
        batches.map(|b| (b.group, b.rows.len())).collect()
    }
}

#[test]
fn in_a_backlog_one_transaction_at_a_time_starts_before_it_is_full() {
    let mut relay = Relay::new(&[1, 0, 0]);
    assert_eq!(relay.started(), [(1, 1)], "the oldest row goes first");
    relay.page(4, &[0, 1], true);
    assert_eq!(relay.started()[1..], [(0, 3)], "a full one waits for none");
}

#[test]
fn the_next_one_starts_when_the_last_is_over() {
    let mut relay = Relay::new(&[1, 0, 0]);
    let settled = Event::Settled {
        generation: 0,
        batch: relay.published[0].id,
        outcome: Outcome::Acked,
    };
    relay.tell(settled, NOW);
    assert_eq!(relay.started(), [(1, 1), (0, 2)]);
}

#[test]
fn it_starts_when_there_is_no_more_to_read() {
    let mut relay = Relay::new(&[1, 0, 0]);
    relay.page(4, &[], false);
    assert_eq!(relay.started(), [(1, 1), (0, 2)]);
}

/// A transaction may hang, and what it has to do with other groups is nothing.
#[test]
fn it_waits_only_so_long_for_a_transaction_that_hangs() {
    let mut relay = Relay::new(&[1, 0, 0]);
    let due = relay.core.deadline().unwrap();
    assert_eq!(due, NOW + FILL_MAX);
    relay.tell(Event::Tick, due);
    assert_eq!(relay.started(), [(1, 1), (0, 2)]);
    assert!(relay.core.deadline().unwrap() > due);
}
