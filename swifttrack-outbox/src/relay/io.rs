//! The three database connections of a relay, each a task with one thing under way at a time.

use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::mpsc;
use uuid::Uuid;

use super::core::Event;
use crate::error::{Error, Kind};
use crate::store::{
    Burial, Keeper, Lessee, Page, PageLimit, Position, Read, Reader, Store, Writer,
};

/// Longer than a statement may take by the server's own limit.
const STATEMENT_MAX: Duration = Duration::from_secs(65);

/// Channel places: one command is under way at a time, so this is never reached.
pub(super) const COMMANDS_MAX: usize = 4;

#[derive(Debug)]
pub(super) enum ReaderCommand {
    Open,
    Read(Read<Position>),
}

#[derive(Debug)]
pub(super) enum WriterCommand {
    Delete { seqs: Vec<i64>, dead: Vec<i64> },
    DeleteMarked { rows: Vec<(i64, u32)> },
    Bury { owner: Uuid, burial: Burial },
}

#[derive(Debug)]
pub(super) enum KeeperCommand {
    Keep { me: Lessee, first: bool },
    Release { owner: Uuid, slots: Vec<u8> },
    Leave { owner: Uuid },
}

pub(super) type Events = mpsc::Sender<Event<Position>>;

pub(super) async fn reader(
    store: Arc<dyn Store>,
    limit: PageLimit,
    only: Option<String>,
    mut commands: mpsc::Receiver<ReaderCommand>,
    events: Events,
) {
    let mut reader: Option<Box<dyn Reader>> = None;
    while let Some(command) = commands.recv().await {
        let done = match (command, &mut reader) {
            (ReaderCommand::Open, _) => {
                match within(STATEMENT_MAX, store.reader(only.as_deref())).await {
                    Ok(open) => {
                        reader = Some(open);
                        Ok(Event::ReaderOpen)
                    }
                    Err(error) => Err(error),
                }
            }
            (ReaderCommand::Read(read), Some(open)) => {
                let page: Result<Page<Position>, Error> =
                    within(STATEMENT_MAX, open.read(&read, limit)).await;
                page.map(Event::Page)
            }
            (ReaderCommand::Read(_), None) => continue,
        };
        let event = done.unwrap_or_else(|error| {
            warn("reading the outbox", &error);
            reader = None;
            Event::ReaderLost
        });
        if events.send(event).await.is_err() {
            return;
        }
    }
}

pub(super) async fn writer(
    store: Arc<dyn Store>,
    mut commands: mpsc::Receiver<WriterCommand>,
    events: Events,
) {
    let mut writer: Option<Box<dyn Writer>> = None;
    while let Some(command) = commands.recv().await {
        let done = within(STATEMENT_MAX, write(&store, &mut writer, command)).await;
        let event = done.unwrap_or_else(|error| {
            warn("writing to the outbox", &error);
            writer = None;
            Event::WriteFailed
        });
        if events.send(event).await.is_err() {
            return;
        }
    }
}

async fn write(
    store: &Arc<dyn Store>,
    writer: &mut Option<Box<dyn Writer>>,
    command: WriterCommand,
) -> Result<Event<Position>, Error> {
    let writer = match writer {
        Some(writer) => writer,
        None => writer.insert(store.writer().await?),
    };
    match command {
        WriterCommand::Delete { seqs, dead } => {
            if !dead.is_empty() {
                writer.delete_dead(&dead).await?;
            }
            if !seqs.is_empty() {
                writer.delete(&seqs).await?;
            }
            Ok(Event::Deleted)
        }
        WriterCommand::DeleteMarked { rows } => {
            if !rows.is_empty() {
                writer.delete_marked(&rows).await?;
            }
            Ok(Event::Deleted)
        }
        WriterCommand::Bury { owner, burial } => {
            let mine = writer.bury(owner, &burial).await?;
            Ok(Event::Buried { mine })
        }
    }
}

pub(super) async fn keeper(
    store: Arc<dyn Store>,
    ttl: Duration,
    start: Instant,
    mut commands: mpsc::Receiver<KeeperCommand>,
    events: Events,
) {
    let mut keeper: Option<Box<dyn Keeper>> = None;
    while let Some(command) = commands.recv().await {
        let failed = match &command {
            KeeperCommand::Keep { .. } => Event::KeepFailed,
            KeeperCommand::Release { .. } => Event::ReleaseFailed,
            KeeperCommand::Leave { .. } => Event::Left,
        };
        // A heartbeat that takes longer than half of the lease is no use.
        let done = within(ttl / 2, keep(&store, ttl, start, &mut keeper, command)).await;
        let event = done.unwrap_or_else(|error| {
            warn("keeping the lease", &error);
            keeper = None;
            failed
        });
        if events.send(event).await.is_err() {
            return;
        }
    }
}

async fn keep(
    store: &Arc<dyn Store>,
    ttl: Duration,
    start: Instant,
    keeper: &mut Option<Box<dyn Keeper>>,
    command: KeeperCommand,
) -> Result<Event<Position>, Error> {
    let keeper = match keeper {
        Some(keeper) => keeper,
        None => keeper.insert(store.keeper(ttl).await?),
    };
    Ok(match command {
        KeeperCommand::Keep { me, first } => {
            // Before it is sent: the lease begins later by the database's clock.
            let asked = start.elapsed();
            let holding = keeper.keep(&me, first).await?;
            Event::Kept { asked, holding }
        }
        KeeperCommand::Release { owner, slots } => {
            keeper.release(owner, &slots).await?;
            Event::Released
        }
        KeeperCommand::Leave { owner } => {
            keeper.leave(owner).await?;
            Event::Left
        }
    })
}

/// Gives up on a connection that says nothing: a host that vanished sends no error. The
/// connection is dropped then, which is safe since it is the relay's own.
async fn within<T>(
    limit: Duration,
    work: impl Future<Output = Result<T, Error>>,
) -> Result<T, Error> {
    match tokio::time::timeout(limit, work).await {
        Ok(done) => done,
        Err(_) => Err(Kind::Timeout("a statement").into()),
    }
}

fn warn(doing: &str, error: &Error) {
    let source = std::error::Error::source(error)
        .map(ToString::to_string)
        .unwrap_or_default();
    tracing::warn!(%error, source, "{doing} failed");
}
