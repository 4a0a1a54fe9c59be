use tower_layer::Layer;

use super::service::Shed;

/// Refuses a call if the service inside is not ready for it, rather than making the caller wait.
///
/// tower's load shed, with the refusal told apart from the errors of the
/// service. It does not go around tower's concurrency limit, which hands its
/// places to instances that were polled and put aside: use a
/// [`BulkheadLayer`](crate::bulkhead::BulkheadLayer).
#[derive(Clone, Copy, Debug, Default)]
#[must_use = "a layer does nothing until it wraps a service"]
pub struct ShedLayer;

impl<S> Layer<S> for ShedLayer {
    type Service = Shed<S>;

    fn layer(&self, inner: S) -> Self::Service {
        Shed::new(inner)
    }
}
