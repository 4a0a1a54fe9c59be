//! What travels with every call.

use std::time::Duration;

use tokio::time::Instant;
use uuid::Uuid;

/// When a call must have ended, under which key it is made, and for whom.
///
/// # Defaults
///
/// [`CallContext::new`]: attempt 1, no trace, a fresh request id.
#[derive(Clone, Debug)]
pub struct CallContext {
    /// When the adapter gives the call up by itself. On tokio's clock, so that a test can pause it.
    pub deadline: Instant,
    /// Every attempt of one effect carries the same key, so that the partner applies it once.
    pub idempotency_key: String,
    /// Counts from 1. For logs and for the partner's statistics; it decides nothing.
    pub attempt: u32,
    /// A W3C `traceparent`, handed on as it is.
    pub trace_parent: Option<String>,
    /// Names this one exchange; the partner echoes it, so that an answer cannot be taken for another's.
    pub request_id: Uuid,
}

impl CallContext {
    /// A first attempt that may take `limit` from now.
    #[must_use]
    pub fn new(idempotency_key: impl Into<String>, limit: Duration) -> Self {
        Self {
            deadline: Instant::now() + limit,
            idempotency_key: idempotency_key.into(),
            attempt: 1,
            trace_parent: None,
            request_id: Uuid::now_v7(),
        }
    }

    /// The time left, `None` once it is spent.
    #[must_use]
    pub fn remaining(&self) -> Option<Duration> {
        self.deadline
            .checked_duration_since(Instant::now())
            .filter(|left| !left.is_zero())
    }
}
