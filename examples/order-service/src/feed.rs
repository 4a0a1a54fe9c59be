//! Tells the streams of this process that events were committed, here or by another replica.
//!
//! One reader asks the tables, and only while somebody listens; the streams then
//! read their own rows, so that a slow client holds up nobody and misses nothing.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::broadcast;
use tokio_util::sync::CancellationToken;

use crate::db::{Cursor, Db, FeedEvent};

/// How often the tables are asked while somebody listens.
const POLL: Duration = Duration::from_millis(100);
/// How many events one question brings.
pub const PAGE: i64 = 500;
/// How many pages a listener may fall behind before it is told to read the tables itself.
const BEHIND_MAX: usize = 64;

/// The end of the feed, as it moves.
#[derive(Clone, Debug)]
pub struct Feed {
    pages: broadcast::Sender<Arc<Vec<FeedEvent>>>,
}

impl Feed {
    /// Starts the reader; it stops with the token.
    #[must_use]
    pub fn spawn(db: Db, stop: CancellationToken) -> Self {
        let (pages, _) = broadcast::channel(BEHIND_MAX);
        let feed = Self { pages };
        tokio::spawn(feed.clone().run(db, stop));
        feed
    }

    /// Pages of events committed from now on.
    ///
    /// An empty page says that something may have been missed: who reads the tables after this
    /// call and again at every page sees every event.
    #[must_use]
    pub fn listen(&self) -> broadcast::Receiver<Arc<Vec<FeedEvent>>> {
        self.pages.subscribe()
    }

    async fn run(self, db: Db, stop: CancellationToken) {
        let mut cursor: Option<Cursor> = None;
        let mut tick = tokio::time::interval(POLL);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                _ = tick.tick() => {}
            }
            if self.pages.receiver_count() == 0 {
                cursor = None;
                continue;
            }
            match self.advance(&db, cursor).await {
                Ok(next) => cursor = Some(next),
                Err(error) => tracing::warn!(%error, "the feed could not be read"),
            }
        }
    }

    async fn advance(&self, db: &Db, cursor: Option<Cursor>) -> Result<Cursor, sqlx::Error> {
        let Some(mut cursor) = cursor else {
            let end = db.feed_end().await?;
            // What was committed since the listeners read the tables lies before this end.
            let _ = self.pages.send(Arc::default());
            return Ok(end);
        };
        loop {
            let page = db.feed(cursor, PAGE).await?;
            let Some(last) = page.last() else {
                return Ok(cursor);
            };
            cursor = last.cursor;
            // Nobody may be listening any more, which is fine.
            let _ = self.pages.send(Arc::new(page));
        }
    }
}
