//! The flusher's own connections.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use sqlx::postgres::PgConnectOptions;
use sqlx::{Connection, PgConnection, Row};
use tokio::sync::{Semaphore, SemaphorePermit};

use super::DURABLE;
use super::error::{Phase, store_error};
use crate::store::StoreError;

/// Two flushes at a time: one prepares while the other waits for the disk. A third is slower.
const LANES: usize = 2;
/// How long a connection may take to come up.
const CONNECT_MAX: Duration = Duration::from_secs(5);
/// How long a flush waits for a lock, at most.
const LOCK_TIMEOUT: Duration = Duration::from_millis(200);
/// Until a worker has said what its lease is.
const LEASE_DEFAULT: Duration = Duration::from_secs(10);

/// Plans that were made on empty tables are kept by prepared statements, and halve the rate
/// once the tables are full; with these there is only the plan by the index.
const SETTINGS: [(&str, &str); 6] = [
    ("plan_cache_mode", "force_generic_plan"),
    ("enable_seqscan", "off"),
    ("enable_bitmapscan", "off"),
    ("enable_hashjoin", "off"),
    ("enable_mergejoin", "off"),
    ("default_transaction_isolation", "read committed"),
];

/// Up to two idle connections; a flush takes one and gives it back if it is sound.
pub(super) struct Lanes {
    options: PgConnectOptions,
    // Std, since nothing is awaited while it is held.
    idle: Mutex<Vec<Lane>>,
    permits: Semaphore,
    lease_ms: AtomicU64,
}

struct Lane {
    conn: PgConnection,
    lease_ms: u64,
}

/// A connection for one flush. Dropping it closes the connection; [`Checkout::keep`] gives it back.
pub(super) struct Checkout<'a> {
    lanes: &'a Lanes,
    lane: Lane,
    _permit: SemaphorePermit<'a>,
}

impl fmt::Debug for Lanes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lanes").finish_non_exhaustive()
    }
}

impl Lanes {
    pub(super) fn new(options: PgConnectOptions) -> Self {
        Self {
            options,
            idle: Mutex::new(Vec::with_capacity(LANES)),
            permits: Semaphore::new(LANES),
            lease_ms: AtomicU64::new(millis(LEASE_DEFAULT)),
        }
    }

    /// Session timeouts follow the lease from the next flush on.
    pub(super) fn set_lease(&self, lease: Duration) {
        self.lease_ms.store(millis(lease), Ordering::Relaxed);
    }

    /// How long a whole flush may take before its connection is given up.
    pub(super) fn flush_max(&self) -> Duration {
        Duration::from_millis(self.lease_ms.load(Ordering::Relaxed))
    }

    pub(super) async fn checkout(&self) -> Result<Checkout<'_>, StoreError> {
        let permit = self
            .permits
            .acquire()
            .await
            .map_err(StoreError::unavailable)?;
        let lease_ms = self.lease_ms.load(Ordering::Relaxed);
        let idle = self.idle().pop();
        let lane = match idle {
            Some(lane) if lane.lease_ms == lease_ms => lane,
            _ => self.connect(lease_ms).await?,
        };
        Ok(Checkout {
            lanes: self,
            lane,
            _permit: permit,
        })
    }

    async fn connect(&self, lease_ms: u64) -> Result<Lane, StoreError> {
        let connecting = async {
            let mut conn = PgConnection::connect_with(&self.options).await?;
            pin_settings(&mut conn, lease_ms).await?;
            Ok::<_, sqlx::Error>(conn)
        };
        let mut conn = tokio::time::timeout(CONNECT_MAX, connecting)
            .await
            .map_err(StoreError::unavailable)?
            .map_err(|error| store_error(error, Phase::Before))?;
        read_back(&mut conn, lease_ms).await?;
        Ok(Lane { conn, lease_ms })
    }

    fn idle(&self) -> std::sync::MutexGuard<'_, Vec<Lane>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Checkout<'_> {
    pub(super) fn conn(&mut self) -> &mut PgConnection {
        &mut self.lane.conn
    }

    /// Gives the connection back: it stands between two transactions.
    pub(super) fn keep(self) {
        self.lanes.idle().push(self.lane);
    }
}

/// The settings and what bounds a frozen process: its successor waits no longer than these.
fn settings(lease_ms: u64) -> Vec<(&'static str, String)> {
    let quarter = (lease_ms / 4).max(1);
    let lock = millis(LOCK_TIMEOUT).min(quarter);
    let mut all: Vec<_> = SETTINGS
        .iter()
        .map(|(name, value)| (*name, (*value).to_owned()))
        .collect();
    all.push(("idle_in_transaction_session_timeout", quarter.to_string()));
    all.push(("statement_timeout", quarter.to_string()));
    all.push(("lock_timeout", lock.to_string()));
    all
}

async fn pin_settings(conn: &mut PgConnection, lease_ms: u64) -> Result<(), sqlx::Error> {
    for (name, value) in settings(lease_ms) {
        sqlx::query("SELECT set_config($1, $2, false)")
            .bind(name)
            .bind(value)
            .execute(&mut *conn)
            .await?;
    }
    sqlx::query(DURABLE).execute(conn).await.map(drop)
}

/// Refuses a connection whose settings did not stay, such as one through a pooler that gives
/// each transaction another session.
async fn read_back(conn: &mut PgConnection, lease_ms: u64) -> Result<(), StoreError> {
    let wanted = settings(lease_ms);
    let names: Vec<&str> = wanted.iter().map(|(name, _)| *name).collect();
    let rows = sqlx::query("SELECT name, setting FROM pg_settings WHERE name = ANY($1)")
        .bind(&names)
        .fetch_all(conn)
        .await
        .map_err(|error| store_error(error, Phase::Before))?;
    for (name, value) in &wanted {
        let found = rows
            .iter()
            .find(|row| row.get::<&str, _>(0) == *name)
            .map(|row| row.get::<&str, _>(1));
        if found != Some(value.as_str()) {
            return Err(StoreError::unavailable(format!(
                "the session does not keep its settings ({name} is {found:?}, not {value}): \
                 connect to Postgres directly, not through a pooler"
            )));
        }
    }
    Ok(())
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX / 8)
}
