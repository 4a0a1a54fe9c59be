use std::time::Duration;

use tower_layer::Layer;

use super::service::Timeout;

/// Gives up on an attempt that takes too long: [`TimedOut`](crate::TimedOut), its effect unknown.
///
/// It belongs inside the breaker. Outside, it would cancel the call, and a
/// cancelled call says nothing about the partner: the slowness would never
/// count.
#[derive(Clone, Copy, Debug)]
#[must_use = "a layer does nothing until it wraps a service"]
pub struct TimeoutLayer {
    limit: Duration,
}

impl TimeoutLayer {
    /// Gives each attempt this long, from the moment of the call.
    pub const fn new(limit: Duration) -> Self {
        Self { limit }
    }
}

impl<S> Layer<S> for TimeoutLayer {
    type Service = Timeout<S>;

    fn layer(&self, inner: S) -> Self::Service {
        Timeout::new(inner, self.limit)
    }
}
