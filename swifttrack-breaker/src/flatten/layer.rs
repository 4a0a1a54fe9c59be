use tower_layer::Layer;

use super::service::Flatten;

/// Makes `Error<E>` of `Error<Error<E>>`.
///
/// The [`Stack`](crate::stack::Stack) puts it where it belongs; it is here for
/// those who stack by hand.
#[derive(Clone, Copy, Debug, Default)]
#[must_use = "a layer does nothing until it wraps a service"]
pub struct FlattenLayer;

impl<S> Layer<S> for FlattenLayer {
    type Service = Flatten<S>;

    fn layer(&self, inner: S) -> Self::Service {
        Flatten::new(inner)
    }
}
