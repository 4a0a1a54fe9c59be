//! One file, one writer, one engine.

use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};
use std::time::Duration;

use sqlx::ConnectOptions;
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous,
};

use crate::store::StoreError;

/// Readers beside the writer.
const READERS_MAX: u32 = 4;
/// How long the writer waits for another process's transaction.
const BUSY_MAX: Duration = Duration::from_secs(5);
/// How long to wait for the writer: flushes of a few milliseconds queue for it.
const ACQUIRE_MAX: Duration = Duration::from_secs(30);
/// Pages of 4 KiB in the write-ahead log from which a commit moves them into the file, which is
/// synced then; four times SQLite's default, since a flush has hundreds.
const CHECKPOINT_PAGES: &str = "4000";
/// Prepared statements that are kept: those of a flush have one form for each power of two.
const STATEMENTS_MAX: usize = 256;

/// Opens the file at `path`, or creates it: a pool of one connection that writes, and one of
/// readers.
///
/// Every write of the process goes through the first, whoever makes it (sagas, outbox, the
/// application's own tables): several writers wait for each other by polling, which costs a
/// hundred times what waiting for the connection costs. The journal is a write-ahead log and
/// each commit is synced, so that a commit survives a loss of power.
///
/// # Errors
///
/// [`StoreError::is_unavailable`] when the file cannot be opened.
pub async fn open(path: impl AsRef<Path>) -> Result<(SqlitePool, SqlitePool), StoreError> {
    let options = SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .busy_timeout(BUSY_MAX)
        .foreign_keys(true)
        .pragma("temp_store", "MEMORY")
        .pragma("cache_size", "-65536")
        .pragma("wal_autocheckpoint", CHECKPOINT_PAGES)
        .statement_cache_capacity(STATEMENTS_MAX)
        .disable_statement_logging();
    let write = SqlitePoolOptions::new()
        .max_connections(1)
        .idle_timeout(None)
        .max_lifetime(None)
        .acquire_timeout(ACQUIRE_MAX)
        // A file does not go away as a server does.
        .test_before_acquire(false)
        .connect_with(options.clone())
        .await
        .map_err(StoreError::unavailable)?;
    let read = SqlitePoolOptions::new()
        .max_connections(READERS_MAX)
        .acquire_timeout(ACQUIRE_MAX)
        .connect_with(options.read_only(true).create_if_missing(false))
        .await
        .map_err(StoreError::unavailable)?;
    Ok((write, read))
}

/// Takes the lock that one engine holds on the file, for as long as the value lives. The
/// operating system gives it back when the process ends, however that happens. A database that
/// is no file has no second process to lock out.
pub(super) fn lock(write: &SqlitePool) -> Result<Option<File>, StoreError> {
    let options = write.connect_options();
    let path = options.get_filename();
    if !path.is_file() {
        return Ok(None);
    }
    let mut name = path.as_os_str().to_owned();
    name.push("-engine");
    let name = PathBuf::from(name);
    let file = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&name)
        .map_err(StoreError::unavailable)?;
    match file.try_lock() {
        Ok(()) => Ok(Some(file)),
        Err(TryLockError::WouldBlock) => Err(StoreError::unavailable(format!(
            "another engine already runs on {}: one process a file",
            path.display()
        ))),
        Err(TryLockError::Error(error)) => Err(StoreError::unavailable(error)),
    }
}
