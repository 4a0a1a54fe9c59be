//! Sagas in a SQLite file, for one process.
//!
//! ```text
//!   every write of the process ──► one connection ──► file ──► readers, beside it
//! ```
//!
//! The application makes the two pools, by [`open`] or by itself, and hands the one that writes
//! to everything that writes. The tables are all named `saga_…` (`saga` itself is the running
//! sagas); times are microseconds since 1970.
//!
//! One engine runs on a file, held by a lock of the operating system on `FILE-engine`. Whoever
//! gets it takes over at once what the process before had, so that a restart waits for nothing.

mod error;
mod flush;
mod inbox;
mod lease;
mod load;
mod open;
mod query;
mod retention;
mod rows;
mod schema;
mod start;
mod write;

use std::collections::HashMap;
use std::fmt;
use std::fs::File;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use sqlx::pool::PoolConnection;
use sqlx::{Connection, Sqlite, SqliteConnection, SqlitePool};
use uuid::Uuid;

use self::error::{Phase, store_error};
pub use self::open::open;
use self::rows::Item;
use super::batch::{self, SHARDS};
use super::{
    Change, Found, Listed, Loaded, Outcome, Page, Request, Row, Shape, ShardLease, Sighting,
    SignalOutcome, Store, StoreError, StoredSignal, Survey, Timestamp, WorkerId,
};
use crate::hook::OnTransition;

/// Sagas in a SQLite file.
///
/// # Examples
///
/// ```
/// use swifttrack_saga::store::sqlite::{self, SqliteStore};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let folder = tempfile::tempdir()?;
/// let (write, read) = sqlite::open(folder.path().join("orders.db")).await?;
/// let store = SqliteStore::new(write.clone(), read);
/// store.migrate().await?;
/// // `write` also goes to whatever else writes to the file.
/// # Ok(())
/// # }
/// ```
pub struct SqliteStore {
    write: SqlitePool,
    read: SqlitePool,
    hook: Option<Arc<dyn OnTransition<Sqlite>>>,
    // Std, since nothing is awaited while one of them is held.
    names: Mutex<HashMap<String, (i64, bool)>>,
    lock: Mutex<Option<Option<File>>>,
    // Where the next `prune` goes on.
    pruned: Mutex<Uuid>,
}

impl fmt::Debug for SqliteStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SqliteStore")
            .field("file", &self.write.connect_options().get_filename())
            .field("hook", &self.hook.is_some())
            .finish_non_exhaustive()
    }
}

impl SqliteStore {
    /// A store on the file of these pools: `write` has one connection, as [`open`] makes it.
    #[must_use]
    pub fn new(write: SqlitePool, read: SqlitePool) -> Self {
        Self {
            write,
            read,
            hook: None,
            names: Mutex::default(),
            lock: Mutex::default(),
            pruned: Mutex::new(Uuid::nil()),
        }
    }

    /// Has `hook` run in every commit, on its connection, with the transitions that it accepted.
    #[must_use]
    pub fn with_hook(mut self, hook: Arc<dyn OnTransition<Sqlite>>) -> Self {
        self.hook = Some(hook);
        self
    }

    /// Creates the tables or brings them to this binary's version.
    ///
    /// # Errors
    ///
    /// [`StoreError::is_schema`] when the tables are of a newer binary.
    pub async fn migrate(&self) -> Result<(), StoreError> {
        let mut writer = Writer::acquire(self).await?;
        let mut tx = writer
            .conn()
            .begin_with(flush::BEGIN)
            .await
            .map_err(failed)?;
        schema::migrate(&mut tx).await?;
        tx.commit().await.map_err(failed)?;
        writer.keep().await;
        Ok(())
    }

    /// Starts a saga in the transaction of `conn`: it happens exactly if that commits.
    ///
    /// The hook runs at once, on `conn`. The saga is due immediately, and is found by the owner
    /// of its shard after the commit; `change.lease` says the shard, and its epoch is not looked
    /// at. A refused start leaves the transaction as it was.
    ///
    /// # Errors
    ///
    /// [`StoreError::is_invalid`] when `conn` is in no transaction of sqlx or the change is no
    /// start. After any error the transaction can only be rolled back.
    pub async fn start_in(
        &self,
        conn: &mut SqliteConnection,
        change: &Change,
    ) -> Result<Outcome, StoreError> {
        start::start_in(self, conn, change).await
    }

    /// Runs `work` in a transaction, which commits if it returns `Ok`.
    async fn transact<T>(
        &self,
        work: impl AsyncFnOnce(&mut SqliteConnection) -> Result<T, sqlx::Error>,
    ) -> Result<T, StoreError> {
        let mut writer = Writer::acquire(self).await?;
        let mut tx = writer
            .conn()
            .begin_with(flush::BEGIN)
            .await
            .map_err(failed)?;
        let value = work(&mut tx).await.map_err(failed)?;
        tx.commit().await.map_err(failed)?;
        writer.keep().await;
        Ok(value)
    }

    /// The number of a definition or group, if it has one.
    async fn known(&self, name: &str) -> Result<Option<i64>, StoreError> {
        if let Some((number, _)) = self.names().get(name) {
            return Ok(Some(*number));
        }
        let number = sqlx::query_scalar("SELECT n FROM saga_name WHERE name = ?")
            .bind(name)
            .fetch_optional(&self.read)
            .await
            .map_err(failed)?;
        if let Some(number) = number {
            self.names().insert(name.to_owned(), (number, false));
        }
        Ok(number)
    }

    /// The number of a group, which gets one and its shards if it is new.
    async fn group(&self, name: &str) -> Result<i64, StoreError> {
        if let Some((number, true)) = self.names().get(name) {
            return Ok(*number);
        }
        let number = self
            .transact(async |conn| number(conn, name, true).await)
            .await?;
        self.names().insert(name.to_owned(), (number, true));
        Ok(number)
    }

    async fn groups(&self, leases: &[ShardLease]) -> Result<Vec<i64>, StoreError> {
        let mut groups = Vec::with_capacity(leases.len());
        for lease in leases {
            groups.push(self.group(&lease.group).await?);
        }
        Ok(groups)
    }

    /// Changes with the numbers of their names.
    async fn items<'a>(&self, changes: &'a [Change]) -> Result<Vec<Item<'a>>, StoreError> {
        batch::check(changes)?;
        let mut items = Vec::with_capacity(changes.len());
        for change in changes {
            let group = self.group(&change.lease.group).await?;
            let definition = match &change.start {
                Some(start) => self.definition(&start.definition).await?,
                None => 0,
            };
            items.push(Item {
                change,
                group,
                definition,
            });
        }
        Ok(items)
    }

    async fn definition(&self, name: &str) -> Result<i64, StoreError> {
        if let Some(number) = self.known(name).await? {
            return Ok(number);
        }
        let number = self
            .transact(async |conn| number(conn, name, false).await)
            .await?;
        self.names().insert(name.to_owned(), (number, false));
        Ok(number)
    }

    /// As `items`, on a connection that is in a transaction of the caller's: the one connection
    /// that writes is then not to be had. What it may roll back is not remembered.
    async fn items_in<'a>(
        &self,
        conn: &mut SqliteConnection,
        changes: &'a [Change],
    ) -> Result<Vec<Item<'a>>, StoreError> {
        batch::check(changes)?;
        let mut items = Vec::with_capacity(changes.len());
        for change in changes {
            let group = number(conn, &change.lease.group, true)
                .await
                .map_err(failed)?;
            let definition = match &change.start {
                Some(start) => number(conn, &start.definition, false)
                    .await
                    .map_err(failed)?,
                None => 0,
            };
            items.push(Item {
                change,
                group,
                definition,
            });
        }
        Ok(items)
    }

    fn names(&self) -> std::sync::MutexGuard<'_, HashMap<String, (i64, bool)>> {
        self.names.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The number of a name, which gets one if it is new, and its shards if it is a group.
async fn number(conn: &mut SqliteConnection, name: &str, group: bool) -> Result<i64, sqlx::Error> {
    sqlx::query("INSERT INTO saga_name (name) VALUES (?) ON CONFLICT DO NOTHING")
        .bind(name)
        .execute(&mut *conn)
        .await?;
    let number: i64 = sqlx::query_scalar("SELECT n FROM saga_name WHERE name = ?")
        .bind(name)
        .fetch_one(&mut *conn)
        .await?;
    if group {
        sqlx::query(
            "WITH RECURSIVE s (n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM s WHERE n + 1 < ?2)
             INSERT INTO saga_shard (grp, shard) SELECT ?1, n FROM s WHERE true
             ON CONFLICT DO NOTHING",
        )
        .bind(number)
        .bind(SHARDS)
        .execute(conn)
        .await?;
    }
    Ok(number)
}

/// The connection that writes. Unless it is given back sound, it is closed: whatever its
/// transaction was is rolled back with it.
struct Writer {
    conn: PoolConnection<Sqlite>,
    sound: bool,
}

impl Writer {
    async fn acquire(store: &SqliteStore) -> Result<Self, StoreError> {
        Ok(Self {
            conn: store.write.acquire().await.map_err(failed)?,
            sound: false,
        })
    }

    fn conn(&mut self) -> &mut SqliteConnection {
        &mut self.conn
    }

    /// The pool gets it back in a task of its own, which has its turn here: whoever waits for
    /// the connection need not wait for what we do next.
    async fn keep(mut self) {
        self.sound = true;
        drop(self);
        tokio::task::yield_now().await;
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        if !self.sound {
            self.conn.close_on_drop();
        }
    }
}

/// An error outside of a flush: doing it again is harmless.
fn failed(error: sqlx::Error) -> StoreError {
    store_error(error, Phase::Before)
}

/// The database's clock is this machine's, which is the only one.
fn now() -> i64 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
}
#[async_trait]
impl Store for SqliteStore {
    async fn describe(&self, shapes: &[Shape], keep: bool) -> Result<Vec<String>, StoreError> {
        schema::describe(self, shapes, keep).await
    }

    fn has_hook(&self) -> bool {
        self.hook.is_some()
    }

    async fn register(
        &self,
        worker: WorkerId,
        definitions: &[(String, u32)],
        lease: Duration,
    ) -> Result<Timestamp, StoreError> {
        lease::register(self, worker, definitions, lease).await
    }

    async fn heartbeat(&self, worker: WorkerId, lease: Duration) -> Result<Timestamp, StoreError> {
        lease::heartbeat(self, worker, lease).await
    }

    async fn survey(&self, groups: &[String]) -> Result<Survey, StoreError> {
        lease::survey(self, groups).await
    }

    async fn claim(
        &self,
        worker: WorkerId,
        group: &str,
        max: u32,
    ) -> Result<Vec<ShardLease>, StoreError> {
        lease::claim(self, worker, group, max).await
    }

    async fn reclaim(
        &self,
        worker: WorkerId,
        shards: &[ShardLease],
    ) -> Result<Vec<ShardLease>, StoreError> {
        lease::reclaim(self, worker, shards).await
    }

    async fn release(&self, worker: WorkerId, shards: &[ShardLease]) -> Result<(), StoreError> {
        lease::release(self, worker, shards).await
    }

    async fn deregister(&self, worker: WorkerId) -> Result<(), StoreError> {
        lease::deregister(self, worker).await
    }

    async fn load_active(
        &self,
        group: &str,
        shard: u16,
        after: Option<Uuid>,
        limit: u32,
    ) -> Result<Vec<Loaded>, StoreError> {
        load::active(self, group, shard, after, limit).await
    }

    async fn load_due(&self, shards: &[ShardLease], limit: u32) -> Result<Vec<Loaded>, StoreError> {
        load::due(self, shards, limit).await
    }

    async fn load(&self, sagas: &[Uuid]) -> Result<Vec<Loaded>, StoreError> {
        load::by_id(self, sagas).await
    }

    async fn commit(
        &self,
        worker: WorkerId,
        changes: &[Change],
    ) -> Result<Vec<Outcome>, StoreError> {
        flush::commit(self, worker, changes).await
    }

    async fn request(&self, request: Request) -> Result<Sighting, StoreError> {
        inbox::request(self, request).await
    }

    async fn signal(&self, signal: StoredSignal) -> Result<SignalOutcome, StoreError> {
        inbox::signal(self, signal).await
    }

    async fn find(&self, definition: &str, id: &str) -> Result<Option<Found>, StoreError> {
        query::find(self, definition, id).await
    }

    async fn list(&self, page: Page) -> Result<Vec<Listed>, StoreError> {
        query::list(self, page).await
    }

    async fn history(&self, saga: Uuid, after: u32, limit: u32) -> Result<Vec<Row>, StoreError> {
        query::history(self, saga, after, limit).await
    }

    async fn erase(&self, saga: Uuid) -> Result<bool, StoreError> {
        retention::erase(self, saga).await
    }

    async fn prune(&self, age: Duration, limit: u32) -> Result<u64, StoreError> {
        retention::prune(self, age, limit).await
    }
}
