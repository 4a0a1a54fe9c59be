//! The ledger itself: the lock, the file, the waiting.

use std::fmt;
use std::fs::File;
use std::io::{self, BufRead};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use tokio::sync::watch;

use super::Books;
use super::index::{Known, Span};
use super::row::{self, Answered, Effect, Shown};
use super::state::{Decided, State};
use super::words::{Call, Done, Look, Refused, SecondKey, Stamp, Undone};
use super::writer::{Desk, Durable};
use super::{file, writer};
use crate::Error;

/// The most effects that one page shows.
pub const PAGE_MAX: usize = 10_000;
/// The most of the file that is read for one page.
const PAGE_BYTES_MAX: u64 = 16 << 20;

/// The durable memory of one partner; cheap to clone.
pub struct Ledger<B: Books>(Arc<Shared<B>>);

struct Shared<B: Books> {
    state: Mutex<State<B>>,
    desk: Arc<Desk>,
    durable: watch::Receiver<Durable>,
    reader: Mutex<File>,
    writer: Mutex<Option<JoinHandle<()>>>,
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
        let mut state = State::new(books);
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
            (state.decide(&self.0.desk, call, effect), state.end)
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
            (state.decide_cancel(&self.0.desk, call), state.end)
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

    /// The effects after number `after`: at least one if there is any, at most `limit`
    /// and [`PAGE_MAX`], and no more than 16 MiB of the file.
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
            let end_of = |effects: usize| {
                let next = state.effects.get(after + effects);
                next.copied().unwrap_or(state.end)
            };
            let left = state.effects.len() - after;
            let mut effects = left.min(limit.clamp(1, PAGE_MAX));
            if end_of(effects) - from > PAGE_BYTES_MAX {
                let ends = &state.effects[after + 1..after + effects];
                effects = ends
                    .partition_point(|end| end - from <= PAGE_BYTES_MAX)
                    .max(1);
            }
            (from, end_of(effects))
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
