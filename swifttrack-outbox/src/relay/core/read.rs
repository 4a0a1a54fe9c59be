//! What to read next, and what a page means.

use std::collections::HashSet;

use super::{
    Action, Core, Cursor, Guard, Moment, Phase, Producer, RETRY_MIN, Row, Stopping, WAKE_GAP,
    Writing,
};
use crate::store::{Page, Read};

impl<P: Clone> Core<P> {
    pub(super) fn reader_opened(&mut self, now: Moment) {
        self.reader_open = true;
        self.reader_opening = false;
        self.reader_at = now;
    }

    /// The cursor dies with its connection: transaction ids may repeat after a crash or a
    /// failover, so the backlog is read again.
    pub(super) fn reader_lost(&mut self, now: Moment) {
        self.reader_open = false;
        self.reader_opening = false;
        self.reader_at = now + RETRY_MIN;
        self.reading = false;
        self.discard = false;
        self.settled.clear();
        if self.guarded(Guard::ScanAfterReconnect) {
            self.scan_again();
        }
        self.cursor = Cursor::Begin;
    }

    /// Forgets what is pending and has all slots read again from the backlog.
    pub(super) fn scan_again(&mut self) {
        self.forget_pending();
        self.turn(&[Phase::Ready, Phase::Scanning], Phase::Clean);
        self.cursor = match std::mem::replace(&mut self.cursor, Cursor::Begin) {
            // All of the window is visible at its end.
            Cursor::Window { to, .. } => Cursor::At(to),
            Cursor::Scan { at, .. } | Cursor::At(at) => Cursor::At(at),
            Cursor::Begin => Cursor::Begin,
        };
        self.discard = self.reading;
    }

    pub(super) fn forget_pending(&mut self) {
        for queue in &mut self.pending {
            queue.clear();
        }
        self.fill_until.fill(None);
    }

    pub(super) fn page(&mut self, page: Page<P>, now: Moment) {
        if !self.reading {
            return; // its connection was lost since
        }
        self.reading = false;
        let discard = std::mem::take(&mut self.discard);
        let settled = std::mem::take(&mut self.settled);
        match std::mem::replace(&mut self.cursor, Cursor::Begin) {
            Cursor::Begin => {
                self.cursor = page.to.map_or(Cursor::Begin, Cursor::At);
                self.poll_at = now;
            }
            cursor if discard => self.cursor = cursor,
            Cursor::At(since) => {
                let last = page.rows.last().map(|row| row.seq);
                let to = page.to.unwrap_or_else(|| since.clone());
                if last.is_some() {
                    self.poll_delay = self.set.poll_min;
                    self.poll_at = self.polled_at + self.set.poll_min;
                } else {
                    self.poll_at = now + self.poll_delay;
                    self.poll_delay = (self.poll_delay * 2).min(self.set.poll_max);
                }
                self.take_in(page.rows, Phase::Ready);
                self.cursor = match (page.more, last) {
                    (true, Some(after)) => Cursor::Window { since, to, after },
                    _ => Cursor::At(to),
                };
            }
            Cursor::Window { since, to, .. } => {
                let last = page.rows.last().map(|row| row.seq);
                self.take_in(page.rows, Phase::Ready);
                self.cursor = match (page.more, last) {
                    (true, Some(after)) => Cursor::Window { since, to, after },
                    _ => Cursor::At(to),
                };
            }
            Cursor::Scan { at, after } => {
                let last = page.rows.last().map(|row| row.seq);
                let mut known = self.on_their_way(after);
                if self.guarded(Guard::SkipSettled) {
                    known.extend(settled);
                }
                let fresh = page
                    .rows
                    .into_iter()
                    .filter(|row| !known.contains(&row.seq));
                self.take_in(fresh.collect(), Phase::Scanning);
                self.cursor = match (page.more, last) {
                    (true, Some(after)) => Cursor::Scan { at, after },
                    _ => {
                        self.turn(&[Phase::Scanning], Phase::Ready);
                        self.poll_at = now;
                        Cursor::At(at)
                    }
                };
            }
        }
    }

    /// Rows past `after` that a scan finds although they need nothing more than to be awaited.
    fn on_their_way(&self, after: i64) -> HashSet<i64> {
        if !self.guarded(Guard::SkipInFlight) {
            return HashSet::new();
        }
        let (deleting, burying) = match &self.writing {
            Some(Writing::Delete(gone)) => (gone.as_slice(), None),
            Some(Writing::Bury(burial)) => (&[][..], Some(burial)),
            Some(Writing::Marked { .. }) | None => (&[][..], None),
        };
        let in_flight = self.in_flight.values().flat_map(|batch| &batch.rows);
        let gone = self.undeleted.iter().chain(deleting);
        let buried = self.burials.iter().chain(burying);
        in_flight
            .map(|row| row.seq)
            .chain(gone.map(|gone| gone.seq))
            .chain(buried.map(|burial| burial.seq))
            // Most are of this scan's own earlier pages, tens of thousands of them.
            .filter(|seq| *seq > after)
            .collect()
    }

    /// Notes that the row's delete is confirmed, if the page under way may still have it: only
    /// a scan reads what was read before, and only past where its page begins.
    pub(super) fn note_settled(&mut self, seq: i64) {
        if let Cursor::Scan { after, .. } = self.cursor
            && self.reading
            && seq > after
        {
            self.settled.insert(seq);
        }
    }

    /// Queues rows of slots in this phase. The others belong to a slot that was lost, or whose
    /// backlog is going to be read.
    fn take_in(&mut self, rows: Vec<Row>, phase: Phase) {
        for row in rows {
            if self.held(row.slot).is_some_and(|held| held.phase == phase) && self.may_go(&row) {
                let group = self.group_of(row.slot);
                self.pending[group].push_back(row);
            }
        }
    }

    /// A row that may not go is dropped: it stays in the table, and the end of what holds it
    /// back has the backlog read again.
    pub(super) fn may_go(&self, row: &Row) -> bool {
        if self.guarded(Guard::PauseTopic) && self.paused.contains_key(row.topic.as_ref()) {
            return false;
        }
        row.replayed || !self.guarded(Guard::BlockKey) || !self.is_blocked(row)
    }

    fn is_blocked(&self, row: &Row) -> bool {
        self.blocked_count > 0
            && self
                .blocked
                .get(&row.topic)
                .is_some_and(|keys| keys.contains_key(&row.key))
    }

    fn rows_held(&self) -> usize {
        let in_flight: usize = self.in_flight.values().map(|b| b.rows.len()).sum();
        self.rows_pending() + in_flight + self.undeleted.len()
    }

    fn rows_pending(&self) -> usize {
        self.pending.iter().map(|queue| queue.len()).sum()
    }

    fn may_read(&self) -> bool {
        self.reader_open
            && !self.reading
            && self.stopping == Stopping::No
            && self.producer == Producer::Open
            && self
                .pending
                .iter()
                .all(|queue| queue.len() < self.set.batch_rows)
            && self.rows_held() < self.set.rows_max
    }

    /// There is more than a batch, or a page, that could go now.
    pub(super) fn has_backlog(&self) -> bool {
        self.rows_pending() >= self.set.batch_rows
            || matches!(self.cursor, Cursor::Scan { .. } | Cursor::Window { .. })
                && (self.reading || self.may_read())
    }

    /// The next read is a poll, and only time keeps it back.
    pub(super) fn wants_poll(&self) -> bool {
        self.may_read()
            && matches!(self.cursor, Cursor::At(_))
            && self
                .slots
                .iter()
                .flatten()
                .any(|held| held.phase == Phase::Ready)
    }

    /// A wake makes the poll due at once, but polls keep a distance.
    pub(super) fn poll_due(&self) -> Moment {
        if self.woken {
            self.poll_at
                .min(self.polled_at + self.set.poll_min.min(WAKE_GAP))
        } else {
            self.poll_at
        }
    }

    pub(super) fn drive_reads(&mut self, now: Moment, todo: &mut Vec<Action<P>>) {
        if !self.reader_open && !self.reader_opening && now >= self.reader_at && !self.stops() {
            self.reader_opening = true;
            todo.push(Action::OpenReader);
        }
        if !self.may_read() || !self.trusted(now) {
            return;
        }
        if let Cursor::At(at) = &self.cursor {
            let at = at.clone();
            if !self.guarded(Guard::ScanAfterGain) {
                self.turn(&[Phase::Clean], Phase::Ready);
            }
            let ready = self.slots_in(&[Phase::Ready]);
            if !self.slots_in(&[Phase::Clean]).is_empty() {
                self.turn(&[Phase::Clean], Phase::Scanning);
                self.cursor = Cursor::Scan { at, after: 0 };
            } else if ready.is_empty() {
                return;
            } else if now >= self.poll_due() {
                self.woken = false;
                self.polled_at = now;
                self.reading = true;
                todo.push(Action::Read(Read::New {
                    slots: ready,
                    since: at,
                }));
                return;
            } else {
                return;
            }
        }
        self.reading = true;
        todo.push(Action::Read(match &self.cursor {
            Cursor::Begin | Cursor::At(_) => Read::Begin,
            Cursor::Scan { at, after } => Read::Backlog {
                slots: self.slots_in(&[Phase::Scanning]),
                paused: self.paused.keys().cloned().collect(),
                at: at.clone(),
                after: *after,
            },
            Cursor::Window { since, to, after } => Read::More {
                slots: self.slots_in(&[Phase::Ready]),
                since: since.clone(),
                to: to.clone(),
                after: *after,
            },
        }));
    }
}
