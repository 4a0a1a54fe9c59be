use std::sync::Arc;

use tokio::sync::Semaphore;
use tower_layer::Layer;

use super::service::Bulkhead;

/// Lets so many calls run at once, and refuses the rest at once.
///
/// So one slow partner cannot take all the tasks and memory of the process.
/// All services of one layer share its places. It belongs inside the breaker,
/// where a refusal is seen and counts neither for nor against the partner.
#[derive(Clone, Debug)]
#[must_use = "a layer does nothing until it wraps a service"]
pub struct BulkheadLayer {
    places: Arc<Semaphore>,
}

impl BulkheadLayer {
    /// A layer with this many places.
    ///
    /// # Panics
    ///
    /// Panics if there are none, or more than `Semaphore::MAX_PERMITS`.
    #[track_caller]
    pub fn new(calls_max: usize) -> Self {
        assert!(0 < calls_max, "a bulkhead with no place");
        Self {
            places: Arc::new(Semaphore::new(calls_max)),
        }
    }

    /// How many places are free.
    #[must_use]
    pub fn free(&self) -> usize {
        self.places.available_permits()
    }
}

impl<S> Layer<S> for BulkheadLayer {
    type Service = Bulkhead<S>;

    fn layer(&self, inner: S) -> Self::Service {
        Bulkhead::new(inner, Arc::clone(&self.places))
    }
}
