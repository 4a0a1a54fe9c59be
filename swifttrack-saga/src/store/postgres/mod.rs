//! Sagas in Postgres, 15 or newer.
//!
//! ```text
//!   commit ───────► two flusher connections: pinned plans, short timeouts, one transaction each
//!   everything else ► a small pool of the store's own, so that nobody starves the heartbeat
//! ```
//!
//! The tables are all named `saga_…` (`saga` itself is the running sagas) and are made by
//! [`PgStore::migrate`] in the first schema of the connection's `search_path`. Bytes are `bytea`;
//! `convert_from(payload, 'UTF8')` shows what the default codec wrote. Times are microseconds
//! since 1970 by the clock of the database.

mod error;
mod flush;
mod inbox;
mod lane;
mod lease;
mod load;
#[cfg(test)]
mod plan_test;
mod query;
mod retention;
mod rows;
mod schema;
mod sift;
mod start;
mod statements;

use std::collections::HashMap;
use std::fmt;
use std::str::FromStr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{ConnectOptions, Executor, PgConnection, PgPool, Postgres};
use uuid::Uuid;

use self::error::{Phase, store_error};
use self::lane::Lanes;
use self::rows::Item;
use super::batch::{self, SHARDS};
use super::{
    Change, Found, Listed, Loaded, Outcome, Page, Request, Row, Shape, ShardLease, Sighting,
    SignalOutcome, Store, StoreError, StoredSignal, Survey, Timestamp, WorkerId,
};
use crate::hook::OnTransition;

/// Connections beside the flusher's two.
const POOL_MAX: u32 = 4;
/// How long to wait for one of them.
const ACQUIRE_MAX: Duration = Duration::from_secs(5);
/// A request waits for a flush that has its saga, not for a frozen one.
const SESSION: &str = "SET lock_timeout = '2s'; SET statement_timeout = '10s'; \
    SET idle_in_transaction_session_timeout = '10s'; \
    SET enable_seqscan = off; SET enable_bitmapscan = off";

/// What is told as durable must be, even where a role or a database has chosen speed; what waits
/// for replicas too stays as it is.
const DURABLE: &str = "SELECT set_config('synchronous_commit', 'on', false) \
    WHERE current_setting('synchronous_commit') = 'off'";

/// Sagas in Postgres.
///
/// It opens connections of its own: two for the flusher, and up to four for the rest. They must
/// reach Postgres itself: the flusher refuses a pooler that does not keep a session's settings.
/// Their commits wait for the disk where `synchronous_commit` is off; that of a
/// [`start_in`](Self::start_in) is the caller's.
pub struct PgStore {
    pool: PgPool,
    lanes: Lanes,
    hook: Option<Arc<dyn OnTransition<Postgres>>>,
    // Std, since nothing is awaited while it is held. One entry a definition or group; the
    // flag says that it is a group and has its shards.
    names: Mutex<HashMap<String, (i32, bool)>>,
    // Where the next `prune` goes on.
    pruned: Mutex<Uuid>,
}

impl fmt::Debug for PgStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PgStore")
            .field("pool", &self.pool)
            .field("hook", &self.hook.is_some())
            .finish_non_exhaustive()
    }
}

impl PgStore {
    /// A store on the database of `url`, such as `postgres://user@host/database`.
    ///
    /// # Errors
    ///
    /// [`StoreError::is_invalid`] when `url` is none, [`StoreError::is_unavailable`] when the
    /// database does not answer.
    pub async fn connect(url: &str) -> Result<Self, StoreError> {
        let options = PgConnectOptions::from_str(url).map_err(StoreError::invalid)?;
        let store = Self::with_options(options);
        store.conn().await?;
        Ok(store)
    }

    /// A store on the database that `pool` connects to.
    ///
    /// Only its options are taken: the store's connections are its own, since a heartbeat that
    /// waits for a connection behind the application's queries costs the lease.
    #[must_use]
    pub fn new(pool: &PgPool) -> Self {
        Self::with_options((*pool.connect_options()).clone())
    }

    /// A store by connection options; it connects when it is first used.
    #[must_use]
    pub fn with_options(options: PgConnectOptions) -> Self {
        let options = options.disable_statement_logging();
        let pool = PgPoolOptions::new()
            .max_connections(POOL_MAX)
            .acquire_timeout(ACQUIRE_MAX)
            .after_connect(|conn, _| {
                Box::pin(async move {
                    conn.execute(SESSION).await?;
                    conn.execute(DURABLE).await.map(drop)
                })
            })
            .connect_lazy_with(options.clone());
        Self {
            pool,
            lanes: Lanes::new(options),
            hook: None,
            names: Mutex::default(),
            pruned: Mutex::new(Uuid::nil()),
        }
    }

    /// Has `hook` run in every commit, on its connection, with the transitions that it accepted.
    ///
    /// A flush then is a transaction of several statements instead of one.
    #[must_use]
    pub fn with_hook(mut self, hook: Arc<dyn OnTransition<Postgres>>) -> Self {
        self.hook = Some(hook);
        self
    }

    /// Creates the tables or brings them to this binary's version. Several starters may do it at
    /// once; one does the work.
    ///
    /// # Errors
    ///
    /// [`StoreError::is_schema`] when the tables are of a newer binary.
    pub async fn migrate(&self) -> Result<(), StoreError> {
        schema::migrate(&mut *self.conn().await?).await
    }

    /// Starts a saga in the transaction of `conn`: it happens exactly if that commits.
    ///
    /// The hook runs at once, on `conn`. The saga is due immediately, and is found by the owner
    /// of its shard after the commit; `change.lease` says the shard, and its epoch is not looked
    /// at. A refused start leaves the transaction as it was.
    ///
    /// # Errors
    ///
    /// [`StoreError::is_invalid`] when `conn` is in no transaction or the change is no start.
    /// After any error the transaction can only be rolled back.
    pub async fn start_in(
        &self,
        conn: &mut PgConnection,
        change: &Change,
    ) -> Result<Outcome, StoreError> {
        start::start_in(self, conn, change).await
    }

    async fn conn(&self) -> Result<sqlx::pool::PoolConnection<Postgres>, StoreError> {
        self.pool.acquire().await.map_err(failed)
    }

    /// The number of a definition or group, if it has one.
    async fn known(&self, name: &str) -> Result<Option<i32>, StoreError> {
        if let Some((number, _)) = self.names().get(name) {
            return Ok(Some(*number));
        }
        let number: Option<i32> = sqlx::query_scalar("SELECT n FROM saga_name WHERE name = $1")
            .bind(name)
            .fetch_optional(&self.pool)
            .await
            .map_err(failed)?;
        if let Some(number) = number {
            self.names().insert(name.to_owned(), (number, false));
        }
        Ok(number)
    }

    /// The number of a definition, which gets one if it is new.
    async fn definition(&self, name: &str) -> Result<i32, StoreError> {
        if let Some(number) = self.known(name).await? {
            return Ok(number);
        }
        sqlx::query("INSERT INTO saga_name (name) VALUES ($1) ON CONFLICT DO NOTHING")
            .bind(name)
            .execute(&self.pool)
            .await
            .map_err(failed)?;
        self.known(name)
            .await?
            .ok_or_else(|| StoreError::unavailable(format!("the name {name} vanished")))
    }

    /// The number of a group, which gets one and its shards if it is new.
    async fn group(&self, name: &str) -> Result<i32, StoreError> {
        if let Some((number, true)) = self.names().get(name) {
            return Ok(*number);
        }
        let number = self.definition(name).await?;
        sqlx::query(
            "INSERT INTO saga_shard (grp, shard)
             SELECT $1, s FROM generate_series(0, $2 - 1) s ON CONFLICT DO NOTHING",
        )
        .bind(number)
        .bind(i32::from(SHARDS))
        .execute(&self.pool)
        .await
        .map_err(failed)?;
        self.names().insert(name.to_owned(), (number, true));
        Ok(number)
    }

    /// Changes with the numbers of their names.
    async fn items<'a>(&self, changes: &'a [Change]) -> Result<Vec<Item<'a>>, StoreError> {
        batch::check(changes)?;
        let mut items = Vec::with_capacity(changes.len());
        let mut last: Option<(&str, i32)> = None;
        for change in changes {
            let name = &*change.lease.group;
            let group = match last {
                Some((known, number)) if known == name => number,
                _ => self.group(name).await?,
            };
            last = Some((name, group));
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

    fn names(&self) -> std::sync::MutexGuard<'_, HashMap<String, (i32, bool)>> {
        self.names.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An error outside of a flush: each statement stands alone, and doing it again is harmless.
fn failed(error: sqlx::Error) -> StoreError {
    store_error(error, Phase::Before)
}

fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX / 2)
}

#[async_trait]
impl Store for PgStore {
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
