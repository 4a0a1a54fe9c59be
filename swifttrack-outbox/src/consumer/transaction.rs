//! One batch, one transaction, on either database.

use std::future::Future;

use super::{Handler, Received};
use crate::error::{Doing, Error, Kind};
use crate::inbox::{Inbox, InboxConnection, Progress};

/// A pool whose database holds the inbox: sqlx's `PgPool` and `SqlitePool` (the application's
/// pool of one).
pub trait Store: Clone + Send + Sync + Sized + 'static {
    /// What a handler gets.
    type Connection: InboxConnection;

    #[doc(hidden)]
    fn transact<H: Handler<Self>>(
        &self,
        inbox: &Inbox,
        events: &[Received],
        after: &[Progress],
        handler: &H,
    ) -> impl Future<Output = Result<usize, Error>> + Send;

    #[doc(hidden)]
    fn progress(
        &self,
        inbox: &Inbox,
        topic: &str,
    ) -> impl Future<Output = Result<Vec<Progress>, Error>> + Send;

    #[doc(hidden)]
    fn put_aside(
        &self,
        inbox: &Inbox,
        event: &Received,
        reason: &str,
        after: &[Progress],
    ) -> impl Future<Output = Result<(), Error>> + Send;
}

macro_rules! store {
    ($feature:literal, $pool:ty, $connection:ty, $put_aside:literal) => {
        #[cfg(feature = $feature)]
        impl Store for $pool {
            type Connection = $connection;

            async fn transact<H: Handler<Self>>(
                &self,
                inbox: &Inbox,
                events: &[Received],
                after: &[Progress],
                handler: &H,
            ) -> Result<usize, Error> {
                let mut tx = self.begin().await.doing("beginning to handle events")?;
                let ids: Vec<_> = events.iter().map(|event| event.id).collect();
                let fresh = inbox.new_ones(&mut *tx, &ids).await?;
                let mut left: std::collections::HashSet<_> = fresh.into_iter().collect();
                let mut handled = 0;
                for event in events {
                    if left.remove(&event.id) {
                        handler
                            .handle(&mut *tx, event)
                            .await
                            .map_err(Kind::Handler)?;
                        handled += 1;
                    }
                }
                inbox.store(&mut *tx, after).await?;
                tx.commit().await.doing("committing handled events")?;
                Ok(handled)
            }

            async fn progress(&self, inbox: &Inbox, topic: &str) -> Result<Vec<Progress>, Error> {
                let mut conn = self.acquire().await.doing("reading offsets")?;
                inbox.progress(&mut *conn, topic).await
            }

            async fn put_aside(
                &self,
                inbox: &Inbox,
                event: &Received,
                reason: &str,
                after: &[Progress],
            ) -> Result<(), Error> {
                let mut tx = self
                    .begin()
                    .await
                    .doing("beginning to put an event aside")?;
                sqlx::query($put_aside)
                    .bind(inbox.consumer())
                    .bind(&event.topic)
                    .bind(event.partition)
                    .bind(event.offset)
                    .bind(event.id)
                    .bind(&event.key)
                    .bind(&event.payload)
                    .bind(serde_json::json!(event.headers).to_string())
                    .bind(reason)
                    .execute(&mut *tx)
                    .await
                    .doing("putting an event aside")?;
                inbox.store(&mut *tx, after).await?;
                tx.commit().await.doing("putting an event aside")
            }
        }
    };
}

store!(
    "postgres",
    sqlx::PgPool,
    sqlx::PgConnection,
    "INSERT INTO inbox_dead (consumer, topic, partition, position, id, key, payload, headers, reason) \
     VALUES ($1, $2, $3, $4, $5, $6, $7, $8::jsonb, $9) ON CONFLICT DO NOTHING"
);

store!(
    "sqlite",
    sqlx::SqlitePool,
    sqlx::SqliteConnection,
    "INSERT INTO inbox_dead (consumer, topic, partition, position, id, key, payload, headers, reason) \
     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9) ON CONFLICT DO NOTHING"
);
