//! Waking a relay.

use std::sync::Arc;

use tokio::sync::Notify;

/// Tells the relay of this process that something was committed.
///
/// A wake is a hint: it spares the relay's poll (2 to 250 ms), nothing depends on it. Call it
/// after the commit; it costs a few nanoseconds and never blocks. It is made before the relay,
/// or taken from it, and cloned to all writers.
#[derive(Clone, Debug, Default)]
pub struct Waker {
    notify: Arc<Notify>,
}

impl Waker {
    /// A waker that no relay listens to yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Says that there may be something to publish.
    pub fn wake(&self) {
        self.notify.notify_one();
    }

    pub(crate) async fn woken(&self) {
        self.notify.notified().await;
    }
}
