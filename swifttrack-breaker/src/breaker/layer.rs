use std::sync::Arc;

use tower_layer::Layer;

use super::service::Breaker;
use crate::classify::{AnyError, Outcome, Outside};
use crate::config::BreakerConfig;
use crate::handle::BreakerHandle;

/// Puts a circuit before a service.
///
/// The layer owns its circuit: all services that it makes share it, also where
/// a framework applies the layer anew for each request. One partner, one layer
/// (or one [`BreakerHandle`]).
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use swifttrack_breaker::{BreakerConfig, BreakerLayer};
/// use tower::{ServiceBuilder, ServiceExt};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let layer = BreakerLayer::new("wms", BreakerConfig::new().open_for(Duration::from_secs(10)));
/// let wms = layer.handle().clone();
/// let service = ServiceBuilder::new()
///     .layer(layer)
///     .service_fn(|sku: &'static str| async move { Ok::<_, std::io::Error>(sku.len()) });
///
/// assert_eq!(service.oneshot("SKU-42").await?, 6);
/// assert!(wms.snapshot().is_available());
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
#[must_use = "a layer does nothing until it wraps a service"]
pub struct BreakerLayer<C = AnyError> {
    handle: BreakerHandle,
    classifier: C,
}

impl BreakerLayer {
    /// A layer with a circuit of its own.
    pub fn new(name: impl Into<Arc<str>>, config: BreakerConfig) -> Self {
        Self::of(BreakerHandle::new(name, config))
    }

    /// A layer over a circuit that exists.
    pub const fn of(handle: BreakerHandle) -> Self {
        Self {
            handle,
            classifier: AnyError,
        }
    }
}

impl<C> BreakerLayer<C> {
    /// What the results of the service mean, instead of [`AnyError`].
    pub fn classify<D>(self, classifier: D) -> BreakerLayer<D> {
        BreakerLayer {
            handle: self.handle,
            classifier,
        }
    }

    /// The same by a function of the result.
    pub fn classify_with<Res, Err, F>(self, classifier: F) -> BreakerLayer<F>
    where
        F: Fn(Result<&Res, &Err>) -> Outcome + Clone,
    {
        self.classify(classifier)
    }

    /// For a service that has layers of this crate around it: see [`Outside`].
    pub fn outside(self) -> BreakerLayer<Outside<C>> {
        BreakerLayer {
            handle: self.handle,
            classifier: Outside(self.classifier),
        }
    }

    /// The circuit, to look at and to operate.
    pub const fn handle(&self) -> &BreakerHandle {
        &self.handle
    }
}

impl<S, C: Clone> Layer<S> for BreakerLayer<C> {
    type Service = Breaker<S, C>;

    fn layer(&self, inner: S) -> Self::Service {
        Breaker::new(inner, self.handle.clone(), self.classifier.clone())
    }
}
