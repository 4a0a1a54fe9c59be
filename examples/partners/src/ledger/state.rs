//! One lock's worth: what is decided, and what it changes.

use std::sync::PoisonError;

use chrono::{SubsecRound, Utc};

use super::Books;
use super::index::{Ask, Cancel, Forward, Index, Span};
use super::row::{self, Effect, Kept, Row};
use super::words::{Call, Refused, SecondKey, Stamp};
use super::writer::{Desk, PENDING_BYTES_MAX};

/// The most second keys that are noted.
const SECOND_KEYS_MAX: usize = 10_000;

/// Books and memory of one partner, always changed together.
pub(super) struct State<B: Books> {
    pub(super) books: B,
    pub(super) index: Index<B::Hold>,
    /// Offset of effect n at n - 1.
    pub(super) effects: Vec<u64>,
    /// Where the next row goes.
    pub(super) end: u64,
    pub(super) second_keys: Vec<SecondKey>,
}

/// What a forward request comes to.
pub(super) enum Decided<A> {
    Did(A),
    Before(Span),
}

impl<B: Books> State<B> {
    pub(super) fn new(books: B) -> Self {
        Self {
            books,
            index: Index::new(),
            effects: Vec::new(),
            end: 0,
            second_keys: Vec::new(),
        }
    }

    /// Decides a forward request and takes in what it comes to.
    pub(super) fn decide<R>(
        &mut self,
        desk: &Desk,
        call: Call<'_>,
        effect: impl FnOnce(&B, Stamp) -> Result<(B::Hold, B::Answer), R>,
    ) -> Result<Decided<B::Answer>, Refused<R>> {
        let ask = self.index.ask(call.order_id, call.key(), call.body);
        match self.index.forward(ask) {
            Forward::KeyReused => return Err(Refused::KeyReused),
            Forward::Cancelled => return Err(Refused::Cancelled),
            Forward::Replay { span, new_key } => {
                if new_key && self.second_keys.len() < SECOND_KEYS_MAX {
                    self.second_keys.push(SecondKey {
                        order_id: call.order_id.to_owned(),
                        key: call.key().to_owned(),
                    });
                }
                return Ok(Decided::Before(span));
            }
            Forward::Do => {}
        }
        let stamp = self.stamp();
        let (hold, answer) = effect(&self.books, stamp).map_err(Refused::Business)?;
        let span = self.append(
            desk,
            &Row {
                n: Some(stamp.n),
                op: call.op,
                key: call.key(),
                order_id: call.order_id,
                effect: Effect::Applied,
                at: stamp.at,
                body: call.body,
                hold: Some(&hold),
                answer: Some(&answer),
            },
        )?;
        self.take_in(ask, span, hold);
        Ok(Decided::Did(answer))
    }

    /// Decides a cancel and takes in what it comes to.
    pub(super) fn decide_cancel<R>(
        &mut self,
        desk: &Desk,
        call: Call<'_>,
    ) -> Result<Effect, Refused<R>> {
        let ask = self.index.ask(call.order_id, call.key(), call.body);
        let effect = match self.index.cancel(ask) {
            Cancel::KeyReused => return Err(Refused::KeyReused),
            Cancel::Replay(first) => return Ok(first),
            Cancel::Do(effect) => effect,
        };
        let stamp = self.stamp();
        let span = self.append(
            desk,
            &Row::<B::Hold, B::Answer> {
                n: (effect != Effect::Already).then_some(stamp.n),
                op: call.op,
                key: call.key(),
                order_id: call.order_id,
                effect,
                at: stamp.at,
                body: call.body,
                hold: None,
                answer: None,
            },
        )?;
        self.take_back(ask, span, effect);
        Ok(effect)
    }

    /// Queues a row. After this the effect is decided, and only the disk can still lose it.
    fn append<R>(
        &mut self,
        desk: &Desk,
        row: &Row<'_, B::Hold, B::Answer>,
    ) -> Result<Span, Refused<R>> {
        let mut queue = desk.queue.lock().unwrap_or_else(PoisonError::into_inner);
        if queue.closed {
            return Err(Refused::Lost);
        }
        let before = queue.pending.len();
        if before > PENDING_BYTES_MAX {
            return Err(Refused::Busy);
        }
        row::encode(&mut queue.pending, row).map_err(|_| Refused::Lost)?;
        let bytes = queue.pending.len() - before;
        if bytes > row::LINE_BYTES_MAX {
            queue.pending.truncate(before);
            return Err(Refused::Lost);
        }
        drop(queue);
        desk.work.notify_one();
        let offset = self.end;
        self.end += bytes as u64;
        Ok(Span {
            offset,
            bytes: bytes as u32,
        })
    }

    fn stamp(&self) -> Stamp {
        Stamp {
            n: self.effects.len() as u64 + 1,
            at: Utc::now().trunc_subsecs(3),
        }
    }

    fn take_in(&mut self, ask: Ask, span: Span, hold: B::Hold) -> bool {
        self.books.take(&hold);
        self.effects.push(span.offset);
        self.index.applied(ask, span, hold)
    }

    fn take_back(&mut self, ask: Ask, span: Span, effect: Effect) -> bool {
        if effect != Effect::Already {
            self.effects.push(span.offset);
        }
        match self.index.cancelled(ask, effect) {
            None => false,
            Some(None) => true,
            Some(Some(hold)) => {
                self.books.give_back(hold);
                true
            }
        }
    }

    /// Takes in a row of the file. Says what is wrong with it.
    pub(super) fn replay(&mut self, json: &[u8], offset: u64) -> Result<(), String> {
        let kept: Kept<B::Hold> = serde_json::from_slice(json).map_err(|e| e.to_string())?;
        // Checksum, space and line feed are part of the row.
        let span = Span {
            offset,
            bytes: (json.len() + 10) as u32,
        };
        let wanted = (kept.effect != Effect::Already).then_some(self.effects.len() as u64 + 1);
        if kept.n != wanted {
            return Err(format!("its number is {:?}, not {wanted:?}", kept.n));
        }
        let ask = self.index.ask(&kept.order_id, &kept.key, kept.body);
        let fits = match (kept.effect, kept.hold) {
            (Effect::Applied, Some(hold)) => self.take_in(ask, span, hold),
            (Effect::Applied, None) => return Err("it holds nothing".to_owned()),
            (effect, _) => self.take_back(ask, span, effect),
        };
        if fits {
            Ok(())
        } else {
            Err("it contradicts the rows before it".to_owned())
        }
    }
}
