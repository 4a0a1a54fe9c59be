//! Which calls are on a connection, and what is known about each.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use tokio::time::Instant;

/// The calls in flight on one connection. Knows no socket and reads no clock.
///
/// ```text
///            start            handed_over             answer
///   (queued) ─────▶ unsent ───────────────▶ sent ───────────────▶ gone
///                     │                      │ its deadline passed
///                     │ end                  ▼
///                     ▼                    overdue ── answer ──▶ gone
///                  not sent                  │ end
///                                            ▼
///                                         unknown
/// ```
///
/// An entry stays until its answer or the end of the connection, whatever its
/// caller does: the partner still works on it, so it still fills the window.
#[derive(Debug)]
pub(super) struct Mux<W> {
    last_id: u64,
    window: usize,
    pending: BTreeMap<u64, Pending<W>>,
    /// Ids whose frame the socket has not taken whole, with the offset at which it has.
    unsent: VecDeque<(u64, u64)>,
    /// Of those that are not overdue yet.
    deadlines: BTreeSet<(Instant, u64)>,
    overdue: usize,
}

#[derive(Debug)]
struct Pending<W> {
    waiter: W,
    deadline: Instant,
    sent: bool,
}

/// What became of a call that was still there when the connection ended.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Left<W> {
    pub(super) waiter: W,
    /// Whether the socket had taken its frame.
    pub(super) sent: bool,
}

impl<W> Mux<W> {
    /// `last_id` is the highest that the greeting used.
    pub(super) const fn new(last_id: u64, window: usize) -> Self {
        Self {
            last_id,
            window,
            pending: BTreeMap::new(),
            unsent: VecDeque::new(),
            deadlines: BTreeSet::new(),
            overdue: 0,
        }
    }

    /// The next id, for whatever frame needs one.
    pub(super) const fn take_id(&mut self) -> u64 {
        self.last_id += 1;
        self.last_id
    }

    /// A frame under this id was queued and ends at `offset` of the stream.
    pub(super) fn start(&mut self, id: u64, waiter: W, deadline: Instant, offset: u64) {
        debug_assert!(self.pending.len() < self.window, "beyond the window");
        self.unsent.push_back((id, offset));
        self.deadlines.insert((deadline, id));
        let pending = Pending {
            waiter,
            deadline,
            sent: false,
        };
        let taken = self.pending.insert(id, pending);
        debug_assert!(taken.is_none(), "an id was used twice");
    }

    /// The socket has taken this many bytes of the stream.
    pub(super) fn handed_over(&mut self, offset: u64) {
        while let Some(&(id, _)) = self.unsent.front().filter(|(_, end)| *end <= offset) {
            self.unsent.pop_front();
            if let Some(pending) = self.pending.get_mut(&id) {
                pending.sent = true;
            }
        }
    }

    /// Who waits for this answer; nobody if the id is not in flight, or was not even sent.
    pub(super) fn answer(&mut self, id: u64) -> Option<W> {
        self.pending.get(&id).filter(|pending| pending.sent)?;
        self.remove(id)
    }

    /// The partner applied nothing above `last_accepted_id`.
    pub(super) fn go_away(&mut self, last_accepted_id: u64) -> Vec<W> {
        let refused: Vec<u64> = match last_accepted_id.checked_add(1) {
            Some(first) => self.pending.range(first..).map(|(id, _)| *id).collect(),
            None => Vec::new(),
        };
        refused
            .into_iter()
            .filter_map(|id| self.remove(id))
            .collect()
    }

    /// Counts the calls whose deadline has passed by `now`.
    pub(super) fn expire(&mut self, now: Instant) {
        while let Some(&first) = self.deadlines.first().filter(|(at, _)| *at <= now) {
            self.deadlines.remove(&first);
            self.overdue += 1;
        }
    }

    /// When [`expire`](Self::expire) has something to do.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        self.deadlines.first().map(|(at, _)| *at)
    }

    /// Whether calls that nobody waits for any more hold half the window.
    pub(super) const fn is_clogged(&self) -> bool {
        self.overdue > 0 && self.overdue * 2 >= self.window
    }

    /// Whether nobody waits for anything any more.
    pub(super) fn is_drained(&self) -> bool {
        self.pending.len() == self.overdue
    }

    pub(super) fn in_flight(&self) -> usize {
        self.pending.len()
    }

    pub(super) const fn overdue(&self) -> usize {
        self.overdue
    }

    /// The connection is gone: what is left, in order of start.
    pub(super) fn end(self) -> impl Iterator<Item = Left<W>> {
        self.pending.into_values().map(|pending| Left {
            waiter: pending.waiter,
            sent: pending.sent,
        })
    }

    fn remove(&mut self, id: u64) -> Option<W> {
        let pending = self.pending.remove(&id)?;
        if !self.deadlines.remove(&(pending.deadline, id)) {
            self.overdue -= 1;
        }
        Some(pending.waiter)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn at(ms: u64) -> Instant {
        // Any moment will do as the origin, as long as a test has only one.
        thread_local!(static ORIGIN: Instant = Instant::now());
        ORIGIN.with(|origin| *origin + Duration::from_millis(ms))
    }

    fn mux_of_four() -> Mux<char> {
        let mut mux = Mux::new(1, 4);
        for (waiter, offset) in [('a', 10), ('b', 20), ('c', 30), ('d', 40)] {
            let id = mux.take_id();
            mux.start(id, waiter, at(offset), offset);
        }
        mux
    }

    #[test]
    fn ids_rise_from_the_greeting() {
        let mut mux = Mux::<()>::new(1, 4);
        assert_eq!((mux.take_id(), mux.take_id()), (2, 3));
    }

    #[test]
    fn an_answer_before_the_last_byte_is_nobodys() {
        let mut mux = mux_of_four();
        mux.handed_over(19);
        assert_eq!(mux.answer(2), Some('a'));
        assert_eq!(mux.answer(3), None);
        mux.handed_over(20);
        assert_eq!(mux.answer(3), Some('b'));
        assert_eq!(mux.answer(3), None);
    }

    #[test]
    fn the_end_tells_what_was_sent() {
        let mut mux = mux_of_four();
        mux.handed_over(25);
        let left: Vec<_> = mux.end().map(|left| (left.waiter, left.sent)).collect();
        assert_eq!(left, [('a', true), ('b', true), ('c', false), ('d', false)]);
    }

    #[test]
    fn going_away_names_those_above() {
        let mut mux = mux_of_four();
        mux.handed_over(40);
        assert_eq!(mux.go_away(3), ['c', 'd']);
        assert_eq!(mux.go_away(u64::MAX), [] as [char; 0]);
        assert_eq!(mux.go_away(0), ['a', 'b']);
        assert!(mux.is_drained());
    }

    #[test]
    fn half_a_window_of_overdue_calls_clogs_it() {
        let mut mux = mux_of_four();
        mux.handed_over(40);
        mux.expire(at(19));
        assert!(!mux.is_clogged());
        mux.expire(at(20));
        assert!(mux.is_clogged());
        assert_eq!(mux.next_deadline(), Some(at(30)));
        assert_eq!(mux.answer(2), Some('a'), "its slot comes back");
        assert!(!mux.is_clogged());
        mux.expire(at(40));
        assert!(mux.is_drained(), "nobody waits any more");
        assert_eq!(mux.go_away(0).len(), 3);
        assert_eq!(mux.overdue(), 0);
    }
}
