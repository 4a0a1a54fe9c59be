//! What a partner did, kept so that no crash forgets what was answered.
//!
//! ```text
//!   request ──► decide (one lock: index, books) ──► row queued ──► answer waits
//!                                                      │                ▲
//!                                       writer thread: write, one fsync ┘ for all that wait
//! ```
//!
//! A partner supplies its [`Books`] (stock, credit, vehicles) and, for each
//! request, what it would hold and answer. The ledger decides whether it is
//! done, refused or answered again; holding and remembering are one step, so
//! that a crash sees both or neither. Every answer, a refusal or a look
//! included, leaves only when all that it may have seen is on disk.

mod file;
mod index;
mod row;
mod writer;

use std::fmt;
use std::fs::File;
use std::io::{self, BufRead};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use chrono::{DateTime, SubsecRound, Utc};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::watch;

pub use self::row::{Effect, Fingerprint, Shown};

use self::index::{Ask, Cancel, Forward, Index, Known, Span};
use self::row::{Answered, Kept, Row};
use self::writer::{Desk, Durable, PENDING_BYTES_MAX};
use crate::Error;

/// The most effects that one page shows.
pub const PAGE_MAX: usize = 10_000;

/// The most second keys that are noted.
const SECOND_KEYS_MAX: usize = 10_000;

/// An order that had its effect was asked for again, under another key. Here it
/// is one effect; at a partner that goes by keys alone it would be two.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SecondKey {
    /// The order.
    pub order_id: String,
    /// The key that came after the first.
    pub key: String,
}

/// What a partner has to give away, in memory. Rebuilt from the ledger at the start.
pub trait Books: Send + 'static {
    /// What one order holds. Kept in memory for every live order, so small.
    type Hold: Serialize + DeserializeOwned + Send + 'static;
    /// The first answer. Kept in the file alone, and read back for a replay.
    type Answer: Serialize + DeserializeOwned + Send + 'static;

    /// Takes `hold` out of the books. Called for new effects and, at the start, for old ones.
    fn take(&mut self, hold: &Self::Hold);

    /// Puts it back.
    fn give_back(&mut self, hold: Self::Hold);
}

/// A request, as far as the ledger needs to know it.
#[derive(Clone, Copy, Debug)]
pub struct Call<'a> {
    /// The operation, by the name that a fault rule uses.
    pub op: &'a str,
    /// The idempotency key. Empty: the order id counts as the key.
    pub key: &'a str,
    /// The order.
    pub order_id: &'a str,
    /// The rest of the body.
    pub body: Fingerprint,
}

impl Call<'_> {
    const fn key(&self) -> &str {
        if self.key.is_empty() {
            self.order_id
        } else {
            self.key
        }
    }
}

/// Number and time of the effect that is about to be.
#[derive(Clone, Copy, Debug)]
pub struct Stamp {
    /// Its number in this ledger, from 1.
    pub n: u64,
    /// Its time, to the millisecond.
    pub at: DateTime<Utc>,
}

/// The answer to a forward request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Done<A> {
    /// The first answer.
    pub answer: A,
    /// Whether it had been given before.
    pub replayed: bool,
}

/// What a cancel came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Undone {
    /// The effect was there and is gone.
    Cancelled,
    /// It had been cancelled, or fenced, before.
    Already,
    /// There was none, and now there cannot be one.
    Tombstoned,
}

/// What is known about an order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Look<A> {
    /// Nothing happened so far.
    Nothing,
    /// Its effect stands.
    Live(A),
    /// It was cancelled, or fenced; the answer is that of the effect, if there ever was one.
    Cancelled(Option<A>),
}

/// Why nothing was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Refused<R> {
    /// The key, or the order, was used with another body.
    KeyReused,
    /// The order was cancelled or fenced.
    Cancelled,
    /// The partner's own reason.
    Business(R),
    /// More waits to be written than may wait.
    Busy,
    /// The disk failed: whether it was done is not known.
    Lost,
}

/// The durable memory of one partner; cheap to clone.
pub struct Ledger<B: Books>(Arc<Shared<B>>);

struct Shared<B: Books> {
    state: Mutex<State<B>>,
    desk: Arc<Desk>,
    durable: watch::Receiver<Durable>,
    reader: Mutex<File>,
    writer: Mutex<Option<JoinHandle<()>>>,
}

struct State<B: Books> {
    books: B,
    index: Index<B::Hold>,
    /// Offset of effect n at n - 1.
    effects: Vec<u64>,
    end: u64,
    second_keys: Vec<SecondKey>,
}

impl<B: Books> Ledger<B> {
    /// Opens `<dir>/<partner>.ledger` and brings `books` to where they were.
    ///
    /// Blocks: a million effects take seconds.
    ///
    /// # Errors
    ///
    /// The file cannot be made, locked or read, or is damaged other than by a torn last line.
    pub fn open(dir: &Path, partner: &str, books: B) -> Result<Self, Error> {
        let mut state = State {
            books,
            index: Index::new(),
            effects: Vec::new(),
            end: 0,
            second_keys: Vec::new(),
        };
        let opened = file::open(dir, partner, |json, offset| state.replay(json, offset))?;
        state.end = opened.end;

        let failed = |source| Error::ledger(&opened.path, "open", source);
        let reader = File::open(&opened.path).map_err(failed)?;
        let (sender, durable) = watch::channel(Durable::To(opened.end));
        let desk = Arc::new(Desk::default());
        let thread = std::thread::Builder::new()
            .name(format!("{partner}-ledger"))
            .spawn({
                let desk = Arc::clone(&desk);
                move || writer::write_all(&desk, opened.file, opened.end, &sender)
            })
            .map_err(failed)?;
        Ok(Self(Arc::new(Shared {
            state: Mutex::new(state),
            desk,
            durable,
            reader: Mutex::new(reader),
            writer: Mutex::new(Some(thread)),
        })))
    }

    /// Does a forward operation once.
    ///
    /// `effect` is asked only if it is to be done. It sees the books, says what
    /// the order shall hold and what is answered, and changes nothing.
    ///
    /// # Cancel safety
    ///
    /// Whether it was done is settled at the first poll; a caller who goes away
    /// only misses the answer.
    ///
    /// # Errors
    ///
    /// See [`Refused`].
    pub async fn forward<R>(
        &self,
        call: Call<'_>,
        effect: impl FnOnce(&B, Stamp) -> Result<(B::Hold, B::Answer), R>,
    ) -> Result<Done<B::Answer>, Refused<R>> {
        let (decided, seen) = {
            let mut state = self.state();
            (self.decide(&mut state, call, effect), state.end)
        };
        self.on_disk(seen).await.map_err(|_| Refused::Lost)?;
        match decided? {
            Decided::Did(answer) => Ok(Done {
                answer,
                replayed: false,
            }),
            Decided::Before(span) => Ok(Done {
                answer: self.answer(span).map_err(|_| Refused::Lost)?,
                replayed: true,
            }),
        }
    }

    /// Undoes the order's effect, or fences it if there was none.
    ///
    /// # Cancel safety
    ///
    /// As [`forward`](Self::forward).
    ///
    /// # Errors
    ///
    /// [`KeyReused`](Refused::KeyReused), [`Busy`](Refused::Busy) or [`Lost`](Refused::Lost).
    pub async fn cancel<R>(&self, call: Call<'_>) -> Result<Undone, Refused<R>> {
        let (decided, seen) = {
            let mut state = self.state();
            (self.decide_cancel(&mut state, call), state.end)
        };
        self.on_disk(seen).await.map_err(|_| Refused::Lost)?;
        Ok(match decided? {
            Effect::Tombstoned => Undone::Tombstoned,
            Effect::Already => Undone::Already,
            Effect::Cancelled | Effect::Applied => Undone::Cancelled,
        })
    }

    /// What is known about the order.
    ///
    /// # Errors
    ///
    /// When the disk failed.
    pub async fn look(&self, order_id: &str) -> io::Result<Look<B::Answer>> {
        let (known, seen) = {
            let state = self.state();
            (state.index.look(order_id), state.end)
        };
        self.on_disk(seen).await?;
        Ok(match known {
            Known::Nothing => Look::Nothing,
            Known::Live(span) => Look::Live(self.answer(span)?),
            Known::Cancelled(span) => {
                Look::Cancelled(span.map(|span| self.answer(span)).transpose()?)
            }
        })
    }

    /// The effects after number `after`, at most `limit` and at most [`PAGE_MAX`].
    ///
    /// # Errors
    ///
    /// When the disk failed.
    pub async fn page(&self, after: u64, limit: usize) -> io::Result<Vec<Shown>> {
        let (from, to) = {
            let state = self.state();
            let after = usize::try_from(after).unwrap_or(usize::MAX);
            let Some(&from) = state.effects.get(after) else {
                return Ok(Vec::new());
            };
            let past = after.saturating_add(limit.min(PAGE_MAX));
            (from, state.effects.get(past).copied().unwrap_or(state.end))
        };
        self.on_disk(to).await?;
        let bytes = self.read(from, (to - from) as usize)?;
        bytes
            .lines()
            .map(|line| {
                row::decode(line?.as_bytes())
                    .map(shown)
                    .ok_or_else(damaged)?
            })
            .filter_map(Result::transpose)
            .take(limit.min(PAGE_MAX))
            .collect()
    }

    /// The orders that were asked for under a second key since the start, at most 10,000 times.
    #[must_use]
    pub fn second_keys(&self) -> Vec<SecondKey> {
        self.state().second_keys.clone()
    }

    /// Shows the books, as of now.
    pub fn books<T>(&self, look: impl FnOnce(&B) -> T) -> T {
        look(&self.state().books)
    }

    /// Writes and syncs what is queued, and lets the file go. Later calls are refused as lost.
    ///
    /// Blocks for at most one write and sync.
    pub fn close(&self) {
        self.0.close();
    }

    /// The closures that run under this lock change nothing before they return,
    /// so that one that panicked left nothing half done.
    fn state(&self) -> MutexGuard<'_, State<B>> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn decide<R>(
        &self,
        state: &mut State<B>,
        call: Call<'_>,
        effect: impl FnOnce(&B, Stamp) -> Result<(B::Hold, B::Answer), R>,
    ) -> Result<Decided<B::Answer>, Refused<R>> {
        let ask = state.index.ask(call.order_id, call.key(), call.body);
        match state.index.forward(ask) {
            Forward::KeyReused => return Err(Refused::KeyReused),
            Forward::Cancelled => return Err(Refused::Cancelled),
            Forward::Replay { span, new_key } => {
                if new_key && state.second_keys.len() < SECOND_KEYS_MAX {
                    state.second_keys.push(SecondKey {
                        order_id: call.order_id.to_owned(),
                        key: call.key().to_owned(),
                    });
                }
                return Ok(Decided::Before(span));
            }
            Forward::Do => {}
        }
        let stamp = state.stamp();
        let (hold, answer) = effect(&state.books, stamp).map_err(Refused::Business)?;
        let span = self.append(
            state,
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
        state.take_in(ask, span, hold);
        Ok(Decided::Did(answer))
    }

    fn decide_cancel<R>(&self, state: &mut State<B>, call: Call<'_>) -> Result<Effect, Refused<R>> {
        let ask = state.index.ask(call.order_id, call.key(), call.body);
        let effect = match state.index.cancel(ask) {
            Cancel::KeyReused => return Err(Refused::KeyReused),
            Cancel::Replay(first) => return Ok(first),
            Cancel::Do(effect) => effect,
        };
        let stamp = state.stamp();
        let span = self.append(
            state,
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
        state.take_back(ask, span, effect);
        Ok(effect)
    }

    /// Queues a row. After this the effect is decided, and only the disk can still lose it.
    fn append<R>(
        &self,
        state: &mut State<B>,
        row: &Row<'_, B::Hold, B::Answer>,
    ) -> Result<Span, Refused<R>> {
        let desk = &self.0.desk;
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
        let offset = state.end;
        state.end += bytes as u64;
        Ok(Span {
            offset,
            bytes: bytes as u32,
        })
    }

    /// Waits until the file is on disk up to `end`.
    async fn on_disk(&self, end: u64) -> io::Result<()> {
        let mut durable = self.0.durable.clone();
        let reached = durable
            .wait_for(|durable| match durable {
                Durable::To(to) => *to >= end,
                Durable::Lost => true,
            })
            .await;
        match reached.as_deref() {
            Ok(Durable::To(_)) => Ok(()),
            Ok(Durable::Lost) | Err(_) => Err(io::Error::other("the ledger's disk failed")),
        }
    }

    fn answer(&self, span: Span) -> io::Result<B::Answer> {
        let line = self.read(span.offset, span.bytes as usize)?;
        let json = line
            .strip_suffix(b"\n")
            .and_then(row::decode)
            .ok_or_else(damaged)?;
        Ok(serde_json::from_slice::<Answered<B::Answer>>(json)?.answer)
    }

    fn read(&self, offset: u64, bytes: usize) -> io::Result<Vec<u8>> {
        let reader = self.0.reader.lock().unwrap_or_else(PoisonError::into_inner);
        file::read_at(&reader, offset, bytes)
    }
}

enum Decided<A> {
    Did(A),
    Before(Span),
}

impl<B: Books> State<B> {
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

    fn replay(&mut self, json: &[u8], offset: u64) -> Result<(), String> {
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

impl<B: Books> Shared<B> {
    fn close(&self) {
        let mut queue = self
            .desk
            .queue
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        queue.closed = true;
        drop(queue);
        self.desk.work.notify_one();
        let mut writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        // A writer that panicked has dropped its end of the watch, which every waiter sees.
        writer.take().map(JoinHandle::join);
    }
}

impl<B: Books> Drop for Shared<B> {
    fn drop(&mut self) {
        self.close();
    }
}

impl<B: Books> Clone for Ledger<B> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<B: Books> fmt::Debug for Ledger<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ledger")
            .field("durable", &*self.0.durable.borrow())
            .finish_non_exhaustive()
    }
}

/// The row as it is shown, if it is an effect.
fn shown(json: &[u8]) -> io::Result<Option<Shown>> {
    #[derive(serde::Deserialize)]
    struct Numbered {
        n: Option<u64>,
    }
    let Numbered { n } = serde_json::from_slice(json)?;
    Ok(match n {
        Some(_) => Some(serde_json::from_slice(json)?),
        None => None,
    })
}

fn damaged() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "a row of the ledger is damaged")
}

#[cfg(test)]
mod tests;
