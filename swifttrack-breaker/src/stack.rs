//! The layers in the order in which they make sense, and in no other.
//!
//! ```text
//!  deadline          all tries together end here
//!   └ retry          every try passes the circuit; the budget bounds them all
//!      └ breaker     sees each try's own result, and slowness as a failure
//!         └ bulkhead what it refuses counts neither for nor against the partner
//!            └ attempt timeout    inside, or the slowness would never count
//!               └ the service
//! ```
//! Each may be left out. The errors are one [`Error`](crate::Error) over the
//! service's own, however many layers there are.
//!
//! # What does not compile
//!
//! A breaker around the retries would see one failure where there were six:
//!
//! ```compile_fail,E0277
//! use swifttrack_breaker::{Backoff, BreakerConfig, BreakerLayer, RetryLayer, stack::Stack};
//! let wrong = Stack::new()
//!     .breaker(BreakerLayer::new("cms", BreakerConfig::new()))
//!     .retry(RetryLayer::new(Backoff::new()));
//! ```
//! A timeout around the breaker would cancel the call, which says nothing about the partner:
//!
//! ```compile_fail,E0277
//! use std::time::Duration;
//! use swifttrack_breaker::{BreakerConfig, BreakerLayer, stack::Stack};
//! let wrong = Stack::new()
//!     .attempt_timeout(Duration::from_secs(5))
//!     .breaker(BreakerLayer::new("cms", BreakerConfig::new()));
//! ```
//! A bulkhead around the retries would keep its place while they wait:
//!
//! ```compile_fail,E0277
//! use swifttrack_breaker::{Backoff, RetryLayer, stack::Stack};
//! let wrong = Stack::new().bulkhead(8).retry(RetryLayer::new(Backoff::new()));
//! ```
//! A deadline inside is not one for all tries:
//!
//! ```compile_fail,E0277
//! use std::time::Duration;
//! use swifttrack_breaker::{Backoff, RetryLayer, stack::Stack};
//! let wrong = Stack::new()
//!     .retry(RetryLayer::new(Backoff::new()))
//!     .deadline(Duration::from_secs(60));
//! ```
//! And one circuit is enough:
//!
//! ```compile_fail,E0277
//! use swifttrack_breaker::{BreakerConfig, BreakerLayer, stack::Stack};
//! let layer = BreakerLayer::new("cms", BreakerConfig::new());
//! let wrong = Stack::new().breaker(layer.clone()).breaker(layer);
//! ```

use std::marker::PhantomData;
use std::time::Duration;

use tower_layer::{Identity, Layer, Stack as Around};

use crate::breaker::BreakerLayer;
use crate::bulkhead::BulkheadLayer;
use crate::classify::Outside;
use crate::deadline::DeadlineLayer;
use crate::flatten::{FlattenLayer, Lift};
use crate::retry::RetryLayer;
use crate::timeout::TimeoutLayer;

/// Builds a stack from the outside to the inside.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use swifttrack_breaker::deadline::Call;
/// use swifttrack_breaker::stack::Stack;
/// use swifttrack_breaker::{Backoff, BreakerConfig, BreakerLayer, Budget, RetryLayer};
/// use tower::ServiceExt;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let wms = tower::service_fn(|order: Call<u32>| async move { Ok::<_, std::io::Error>(order.request + 1) });
///
/// let service = Stack::new()
///     .deadline(Duration::from_secs(60))
///     .retry(RetryLayer::new(Backoff::new()).budget(Budget::new()).heed_deadline())
///     .breaker(BreakerLayer::new("wms", BreakerConfig::new()))
///     .bulkhead(64)
///     .attempt_timeout(Duration::from_secs(5))
///     .service(wms);
///
/// assert_eq!(service.oneshot(Call::new(41)).await?, 42);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug)]
#[must_use = "a stack does nothing until it wraps a service"]
pub struct Stack<At, L> {
    layers: L,
    at: PhantomData<fn() -> At>,
}

/// The places of a stack, from the outside to the inside.
pub mod place {
    /// Nothing yet.
    #[derive(Debug)]
    pub enum Outermost {}
    /// The deadline of all tries.
    #[derive(Debug)]
    pub enum Deadline {}
    /// The retries.
    #[derive(Debug)]
    pub enum Retry {}
    /// The circuit.
    #[derive(Debug)]
    pub enum Breaker {}
    /// The limit of calls at once.
    #[derive(Debug)]
    pub enum Bulkhead {}
    /// The timeout of one attempt.
    #[derive(Debug)]
    pub enum AttemptTimeout {}

    /// That a layer at `Inner` may be put inside one at this place.
    #[diagnostic::on_unimplemented(
        message = "the {Inner} layer does not belong inside the {Self} layer",
        label = "this stack already has its {Self} layer",
        note = "from the outside: deadline, retry, breaker, bulkhead, attempt timeout; each at most once"
    )]
    pub trait OutsideOf<Inner>: sealed::Sealed {}

    mod sealed {
        #[expect(unnameable_types, reason = "so that nobody else invents an order")]
        pub trait Sealed {}
    }

    macro_rules! order {
        ($outer:ident $(, $inner:ident)*) => {
            impl sealed::Sealed for $outer {}
            $(impl OutsideOf<$inner> for $outer {})*
            order!($($inner),*);
        };
        () => {};
    }

    order!(
        Outermost,
        Deadline,
        Retry,
        Breaker,
        Bulkhead,
        AttemptTimeout
    );
}

use self::place::OutsideOf;

/// A layer of this crate whose error is made one with that of the layers inside.
type Flat<L> = Around<L, FlattenLayer>;

type FlatBreaker<C> = Flat<BreakerLayer<Outside<C>>>;

impl Stack<place::Outermost, Identity> {
    /// A stack without layers.
    pub const fn new() -> Self {
        Self {
            layers: Identity::new(),
            at: PhantomData,
        }
    }
}

impl Default for Stack<place::Outermost, Identity> {
    fn default() -> Self {
        Self::new()
    }
}

impl<At, L> Stack<At, L> {
    /// All tries together end after this time, or at the deadline that the request brings if that is earlier.
    pub fn deadline(self, total: Duration) -> Stack<place::Deadline, Around<Flat<DeadlineLayer>, L>>
    where
        At: OutsideOf<place::Deadline>,
    {
        self.inside(flat(DeadlineLayer::new(total)))
    }

    /// What fails is tried again. The classifier sees the service's own results; what a layer inside refused is not tried again.
    pub fn retry<C, D>(
        self,
        retry: RetryLayer<C, D>,
    ) -> Stack<place::Retry, Around<RetryLayer<Outside<C>, D>, L>>
    where
        At: OutsideOf<place::Retry>,
    {
        self.inside(retry.outside())
    }

    /// The circuit. The classifier sees the service's own results; what a layer inside refused is ignored, what timed out is a failure.
    pub fn breaker<C>(
        self,
        breaker: BreakerLayer<C>,
    ) -> Stack<place::Breaker, Around<FlatBreaker<C>, L>>
    where
        At: OutsideOf<place::Breaker>,
    {
        self.inside(flat(breaker.outside()))
    }

    /// So many calls at once; the rest is refused.
    ///
    /// # Panics
    ///
    /// As [`BulkheadLayer::new`].
    #[track_caller]
    pub fn bulkhead(
        self,
        calls_max: usize,
    ) -> Stack<place::Bulkhead, Around<Flat<BulkheadLayer>, L>>
    where
        At: OutsideOf<place::Bulkhead>,
    {
        self.inside(flat(BulkheadLayer::new(calls_max)))
    }

    /// Each attempt ends after this time.
    pub fn attempt_timeout(
        self,
        limit: Duration,
    ) -> Stack<place::AttemptTimeout, Around<Flat<TimeoutLayer>, L>>
    where
        At: OutsideOf<place::AttemptTimeout>,
    {
        self.inside(flat(TimeoutLayer::new(limit)))
    }

    /// Puts it all around a service.
    pub fn service<S>(&self, service: S) -> L::Service
    where
        L: Layer<Lift<S>>,
    {
        self.layers.layer(Lift::new(service))
    }

    fn inside<To, New>(self, layer: New) -> Stack<To, Around<New, L>> {
        Stack {
            layers: Around::new(layer, self.layers),
            at: PhantomData,
        }
    }
}

fn flat<L>(layer: L) -> Flat<L> {
    Around::new(layer, FlattenLayer)
}

impl<S, At, L> Layer<S> for Stack<At, L>
where
    L: Layer<Lift<S>>,
{
    type Service = L::Service;

    fn layer(&self, inner: S) -> Self::Service {
        self.service(inner)
    }
}
