use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use tower_layer::Layer;

use super::service::Chaos;
use crate::circuit::machine::mix;

/// Makes some calls fail, some slow, and loses the answers of some.
///
/// It belongs innermost, where the partner's own trouble would be. Which call
/// meets what follows from the seed and the number of the call, so a test that
/// failed fails again. It can be switched off and on while it runs; all its
/// services share the switch.
///
/// # Examples
///
/// ```
/// use swifttrack_breaker::chaos::ChaosLayer;
/// use tower::{ServiceBuilder, ServiceExt};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// let chaos = ChaosLayer::new(42, || "connection reset").fail(0.5);
/// let partner = ServiceBuilder::new()
///     .layer(chaos.clone())
///     .service_fn(|order: u32| async move { Ok(order) });
///
/// let mut failed = 0;
/// for order in 0..100 {
///     failed += u32::from(partner.clone().oneshot(order).await.is_err());
/// }
/// assert!((30..70).contains(&failed));
///
/// chaos.switch(false);
/// assert_eq!(partner.oneshot(7).await, Ok(7));
/// # }
/// ```
#[must_use = "a layer does nothing until it wraps a service"]
pub struct ChaosLayer<F> {
    plan: Arc<Plan>,
    error: F,
}

#[derive(Debug)]
pub(super) struct Plan {
    on: AtomicBool,
    calls: AtomicU64,
    seed: u64,
    rates: Rates,
}

/// In ten-thousandths.
#[derive(Clone, Copy, Debug, Default)]
struct Rates {
    fail: u64,
    lose: u64,
    slow: u64,
    slow_by: Duration,
}

/// What one call meets.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Fate {
    pub(super) fails: bool,
    pub(super) loses: bool,
    pub(super) slow_by: Option<Duration>,
}

impl<F> ChaosLayer<F> {
    /// No trouble yet; where there is, it is the error that `error` makes.
    pub fn new(seed: u64, error: F) -> Self {
        Self {
            plan: Arc::new(Plan {
                on: AtomicBool::new(true),
                calls: AtomicU64::new(0),
                seed,
                rates: Rates::default(),
            }),
            error,
        }
    }

    /// This part of the calls fails before it reaches the service.
    ///
    /// # Panics
    ///
    /// Panics unless `rate` is between 0 and 1.
    #[track_caller]
    pub fn fail(self, rate: f64) -> Self {
        let fail = ten_thousandths(rate);
        self.with(|rates| Rates { fail, ..rates })
    }

    /// This part of the calls takes effect, and its answer is lost.
    ///
    /// # Panics
    ///
    /// Panics unless `rate` is between 0 and 1.
    #[track_caller]
    pub fn lose(self, rate: f64) -> Self {
        let lose = ten_thousandths(rate);
        self.with(|rates| Rates { lose, ..rates })
    }

    /// This part of the calls is answered so much later.
    ///
    /// # Panics
    ///
    /// Panics unless `rate` is between 0 and 1.
    #[track_caller]
    pub fn slow(self, rate: f64, by: Duration) -> Self {
        let slow = ten_thousandths(rate);
        self.with(|rates| Rates {
            slow,
            slow_by: by,
            ..rates
        })
    }

    /// Switches the trouble on or off.
    pub fn switch(&self, on: bool) {
        self.plan.on.store(on, Ordering::Relaxed);
    }

    fn with(self, change: impl FnOnce(Rates) -> Rates) -> Self {
        Self {
            plan: Arc::new(Plan {
                on: AtomicBool::new(self.plan.on.load(Ordering::Relaxed)),
                calls: AtomicU64::new(0),
                seed: self.plan.seed,
                rates: change(self.plan.rates),
            }),
            error: self.error,
        }
    }
}

impl Plan {
    pub(super) fn next(&self) -> Fate {
        if !self.on.load(Ordering::Relaxed) {
            return Fate::default();
        }
        let luck = mix(self.seed ^ self.calls.fetch_add(1, Ordering::Relaxed));
        // Three dice from one throw.
        let die = |which: u32| (((luck >> (which * 20)) & 0xF_FFFF) * 10_000) >> 20;
        Fate {
            fails: die(0) < self.rates.fail,
            loses: die(1) < self.rates.lose,
            slow_by: (die(2) < self.rates.slow).then_some(self.rates.slow_by),
        }
    }
}

#[track_caller]
fn ten_thousandths(rate: f64) -> u64 {
    assert!((0.0..=1.0).contains(&rate), "a rate is between 0 and 1");
    (rate * 10_000.0) as u64
}

impl<F: Clone> Clone for ChaosLayer<F> {
    fn clone(&self) -> Self {
        Self {
            plan: Arc::clone(&self.plan),
            error: self.error.clone(),
        }
    }
}

impl<F> fmt::Debug for ChaosLayer<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ChaosLayer")
            .field("plan", &self.plan)
            .finish_non_exhaustive()
    }
}

impl<S, F: Clone> Layer<S> for ChaosLayer<F> {
    type Service = Chaos<S, F>;

    fn layer(&self, inner: S) -> Self::Service {
        Chaos::new(inner, Arc::clone(&self.plan), self.error.clone())
    }
}
