//! Starts that join a transaction of the caller's.

use std::any::Any;
use std::sync::Arc;

use futures_util::future::{self, BoxFuture, FutureExt as _};
use rand::Rng as _;

use crate::core::Input;
use crate::engine::Engine;
use crate::engine::error::{Error, StartError};
use crate::engine::keeper::SHARDS;
use crate::engine::live::Live;
use crate::engine::start::Started;
use crate::saga::Saga;
use crate::step::Payload;
use crate::store::{Change, Outcome, ShardLease, Store, StoreError};

impl Engine {
    /// Starts a saga in the transaction of `conn`: it happens exactly if that commits.
    ///
    /// The hook runs at once, on `conn`. After the commit the saga is found by whichever process
    /// owns its shard, within 2 s; [`hint`](Self::hint) makes that at once if it is this one. As
    /// with [`start`](Self::start), the same id with the same input twice is one saga; another
    /// transaction that has begun one of this id and has not ended is waited for.
    ///
    /// It costs three statements where `start` shares one with many others: where nothing else
    /// is in the transaction, `start` is the better way, with a hook that writes what belongs to
    /// it.
    ///
    /// # Cancel safety
    ///
    /// Dropped before it returns, or after an error other than a
    /// [refusal](StartError::refusal) or a [conflict](StartError::is_conflict), the transaction
    /// can only be rolled back.
    ///
    /// # Errors
    ///
    /// See [`StartError`]. [`StartError::is_invalid`] also when `conn` is in no transaction, or
    /// is of another kind of database than the engine's store.
    ///
    /// # Examples
    ///
    /// ```
    /// # #[cfg(not(feature = "sqlite"))] fn main() {}
    /// # #[cfg(feature = "sqlite")]
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # use swifttrack_saga::{Engine, Saga};
    /// use sqlx::Acquire as _;
    /// use swifttrack_saga::store::sqlite::{self, SqliteStore};
    ///
    /// # let folder = tempfile::tempdir()?;
    /// # let path = folder.path().join("orders.db");
    /// # let saga = Saga::<u32>::define("ship", 1, |s, order| s.finish(order))?;
    /// let (write, read) = sqlite::open(&path).await?;
    /// let store = SqliteStore::new(write.clone(), read);
    /// store.migrate().await?;
    /// let engine = Engine::builder(store).register(&saga).spawn().await?;
    ///
    /// let mut conn = write.acquire().await?;
    /// let mut tx = conn.begin().await?;
    /// sqlx::query("CREATE TABLE orders (id TEXT)").execute(&mut *tx).await?;
    /// sqlx::query("INSERT INTO orders VALUES ('A-1')").execute(&mut *tx).await?;
    /// engine.start_in(&mut *tx, &saga, "A-1", &7).await?;
    /// tx.commit().await?;
    /// drop(conn);
    /// engine.hint();
    ///
    /// assert!(engine.ended("ship", "A-1").await?.is_some());
    /// # Ok(())
    /// # }
    /// ```
    pub async fn start_in<I: Payload, O>(
        &self,
        conn: &mut impl Joined,
        saga: &Saga<I, O>,
        id: &str,
        input: &I,
    ) -> Result<Started, StartError> {
        let change = self.start_change(saga, id, input, None)?;
        self.join(conn, change).await
    }

    /// The same, with something for the hook to see, as in [`start_with`](Self::start_with).
    ///
    /// # Errors
    ///
    /// As [`start_in`](Self::start_in).
    pub async fn start_in_with<I: Payload, O>(
        &self,
        conn: &mut impl Joined,
        saga: &Saga<I, O>,
        id: &str,
        input: &I,
        attachment: Arc<dyn Any + Send + Sync>,
    ) -> Result<Started, StartError> {
        let change = self.start_change(saga, id, input, Some(attachment))?;
        self.join(conn, change).await
    }

    async fn join(&self, conn: &mut impl Joined, change: Change) -> Result<Started, StartError> {
        let existing = match conn.start(&*self.shared.store, &change).await? {
            Outcome::Committed => false,
            Outcome::Exists {
                saga,
                same_input: true,
            } => {
                return Ok(Started {
                    saga,
                    existing: true,
                });
            }
            Outcome::Exists { saga, .. } => return Err(StartError::conflict(saga)),
            Outcome::Refused(reason) => return Err(StartError::refused(reason)),
            Outcome::Conflict | Outcome::Fenced => {
                let error = "the id is taken by a transaction that this one cannot see";
                return Err(StoreError::retriable(error).into());
            }
        };
        Ok(Started {
            saga: change.saga,
            existing,
        })
    }

    /// A start in any shard: whose it is will be seen when it is found.
    fn start_change<I: Payload, O>(
        &self,
        saga: &Saga<I, O>,
        id: &str,
        input: &I,
        attachment: Option<Arc<dyn Any + Send + Sync>>,
    ) -> Result<Change, StartError> {
        let (request, _answer) = self.request(saga, id, input, attachment)?;
        let mut rng = rand::rng();
        let shard = u16::try_from(rng.random_range(0..SHARDS)).unwrap_or_default();
        let lease = ShardLease {
            group: request.registered.group.clone(),
            shard,
            epoch: 0,
            unclean: false,
        };
        let bytes = request.bytes.clone();
        let at = self.shared.clock.now();
        let mut live = Live::started(self.shared.new_saga(&mut rng), shard, request);
        // Nothing starts before its owner has it.
        let given = crate::core::Given {
            at,
            noise: rng.random(),
            hold: true,
        };
        let limits = self.shared.settings.limits();
        live.feed(Input::Start { input: bytes }, None, given, limits)
            .map_err(|illegal| Error::invalid(illegal.to_string()))?;
        live.change(lease)
            .ok_or_else(|| Error::invalid("a start writes something").into())
    }
}

/// A connection whose transaction a start can join: of Postgres or of SQLite.
pub trait Joined: sealed::Sealed + Send {
    #[doc(hidden)]
    fn start<'a>(
        &'a mut self,
        store: &'a dyn Store,
        change: &'a Change,
    ) -> BoxFuture<'a, Result<Outcome, StoreError>>;
}

mod sealed {
    #[expect(unnameable_types, reason = "a sealed trait has no public path")]
    pub trait Sealed {}
}

macro_rules! joined {
    ($connection:ty, $store:ty) => {
        impl sealed::Sealed for $connection {}

        impl Joined for $connection {
            fn start<'a>(
                &'a mut self,
                store: &'a dyn Store,
                change: &'a Change,
            ) -> BoxFuture<'a, Result<Outcome, StoreError>> {
                match (store as &dyn Any).downcast_ref::<$store>() {
                    Some(store) => store.start_in(self, change).boxed(),
                    None => future::err(StoreError::invalid(concat!(
                        "the engine's store is no `",
                        stringify!($store),
                        "`, so it cannot join this connection"
                    )))
                    .boxed(),
                }
            }
        }
    };
}

#[cfg(feature = "postgres")]
joined!(sqlx::PgConnection, crate::store::postgres::PgStore);
#[cfg(feature = "sqlite")]
joined!(sqlx::SqliteConnection, crate::store::sqlite::SqliteStore);
