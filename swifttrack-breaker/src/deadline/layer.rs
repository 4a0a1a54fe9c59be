use std::time::Duration;

use tower_layer::Layer;

use super::service::DeadlineService;

/// Ends a request at its deadline, and gives it one if it has none.
///
/// A request that comes with an earlier deadline keeps it. One whose deadline
/// has passed is refused before anything is sent; one whose deadline passes
/// during the call ends as [`TimedOut`](crate::TimedOut), its effect unknown.
///
/// It belongs outermost: around the retries, so that they all fit in.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use swifttrack_breaker::deadline::{Call, DeadlineLayer, HasDeadline};
/// use tower::{ServiceBuilder, ServiceExt};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let service = ServiceBuilder::new()
///     .layer(DeadlineLayer::new(Duration::from_secs(10)))
///     .service_fn(|order: Call<u32>| async move { Ok::<_, std::io::Error>(order.deadline().is_some()) });
/// assert!(service.oneshot(Call::new(1)).await?);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug)]
#[must_use = "a layer does nothing until it wraps a service"]
pub struct DeadlineLayer {
    total: Duration,
}

impl DeadlineLayer {
    /// Gives each request this long.
    pub const fn new(total: Duration) -> Self {
        Self { total }
    }
}

impl<S> Layer<S> for DeadlineLayer {
    type Service = DeadlineService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        DeadlineService::new(inner, self.total)
    }
}
