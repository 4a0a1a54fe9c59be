//! A circuit, held by its name.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use crate::circuit::machine::Order;
use crate::classify::{AnyError, Classifier};
use crate::config::BreakerConfig;
use crate::error::{Error, Refused};
use crate::events::{Hub, Transitions};
use crate::shadow::LiveShadow;
use crate::slot::Slot;
use crate::state::{Snapshot, State};
use crate::tenant::Tenant;
use crate::ticket::Ticket;
use crate::wait;

/// One circuit: to call through, to look at, and to operate.
///
/// Clones are the same circuit. Give one to a [`BreakerLayer`](crate::BreakerLayer)
/// for a tower stack, or use it as it is, from sync and async code.
///
/// # Examples
///
/// ```
/// use swifttrack_breaker::{BreakerConfig, BreakerHandle, Error};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// let cms = BreakerHandle::new("cms", BreakerConfig::new());
///
/// match cms.call(async { Err::<(), _>("connection refused") }).await {
///     Ok(contract) => println!("{contract:?}"),
///     Err(Error::Refused(refused)) => println!("come back in {:?}", refused.retry_after()),
///     Err(error) => println!("{error:?}"),
/// }
/// assert_eq!(cms.snapshot().consecutive_failures, 1);
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct BreakerHandle {
    slot: &'static Slot,
    tenant: Arc<Tenant>,
}

impl BreakerHandle {
    /// A circuit of its own, closed. The name is what events, metrics and logs call it.
    #[must_use]
    pub fn new(name: impl Into<Arc<str>>, config: BreakerConfig) -> Self {
        Self::listed(name.into(), config, None)
    }

    pub(crate) fn listed(name: Arc<str>, config: BreakerConfig, above: Option<Arc<Hub>>) -> Self {
        let tenant = Tenant::new(name, config, above);
        Self {
            slot: tenant.slot(),
            tenant,
        }
    }

    /// Makes the jitter of the open times repeatable.
    #[must_use]
    pub fn seeded(self, seed: u64) -> Self {
        self.slot.seed(seed);
        self
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        self.tenant.name()
    }

    /// Leave to make one call, now.
    ///
    /// # Errors
    ///
    /// A [`Refused`] if the circuit does not let it through. That costs a load, a look at the clock, and no allocation.
    #[inline]
    pub fn try_acquire(&self) -> Result<Ticket, Refused> {
        self.slot.admit().inspect_err(|_| self.refused())
    }

    /// Leave to make one call, as soon as it is this caller's turn.
    ///
    /// Waiters are served oldest first: the probes when the open time is over,
    /// and after closing the rest along the [`ramp`](BreakerConfig::ramp).
    /// Callers that do not wait are not held up by those who do.
    ///
    /// # Errors
    ///
    /// A [`Refused`] if [`waiters_max`](BreakerConfig::waiters_max) are waiting already.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future gives up the place in the queue, and a ticket that was on its way goes to the next.
    ///
    /// # Panics
    ///
    /// Panics outside a tokio runtime, if it has to wait.
    pub async fn acquire(&self) -> Result<Ticket, Refused> {
        wait::acquire(&self.tenant)
            .await
            .inspect_err(|_| self.refused())
    }

    /// Waits in the same queue, for one who then calls through a service of this circuit and takes the ticket there.
    ///
    /// # Errors
    ///
    /// As [`acquire`](Self::acquire).
    ///
    /// # Cancel safety
    ///
    /// As [`acquire`](Self::acquire).
    pub async fn wait(&self) -> Result<(), Refused> {
        self.acquire().await.map(Ticket::unused)
    }

    /// Makes one call; any error of it counts as a failure.
    ///
    /// # Errors
    ///
    /// [`Error::Refused`] if the circuit does not let it through, in which case the future is not polled, or the call's own.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future drops the call, and counts as [`Outcome::Ignore`](crate::Outcome::Ignore).
    pub async fn call<T, E>(
        &self,
        call: impl Future<Output = Result<T, E>>,
    ) -> Result<T, Error<E>> {
        self.call_with(&AnyError, call).await
    }

    /// Makes one call, and has its result judged.
    ///
    /// # Errors
    ///
    /// As [`call`](Self::call).
    ///
    /// # Cancel safety
    ///
    /// As [`call`](Self::call).
    pub async fn call_with<T, E>(
        &self,
        classifier: &impl Classifier<T, E>,
        call: impl Future<Output = Result<T, E>>,
    ) -> Result<T, Error<E>> {
        let ticket = self.try_acquire().map_err(Error::Refused)?;
        let result = call.await;
        ticket.finish(classifier.classify(result.as_ref()));
        result.map_err(Error::Inner)
    }

    /// Makes one blocking call; any error of it counts as a failure.
    ///
    /// # Errors
    ///
    /// As [`call`](Self::call).
    #[inline]
    pub fn run<T, E>(&self, call: impl FnOnce() -> Result<T, E>) -> Result<T, Error<E>> {
        self.run_with(&AnyError, call)
    }

    /// Makes one blocking call, and has its result judged.
    ///
    /// # Errors
    ///
    /// As [`call`](Self::call).
    #[inline]
    pub fn run_with<T, E>(
        &self,
        classifier: &impl Classifier<T, E>,
        call: impl FnOnce() -> Result<T, E>,
    ) -> Result<T, Error<E>> {
        let ticket = self.try_acquire().map_err(Error::Refused)?;
        let result = call();
        ticket.finish(classifier.classify(result.as_ref()));
        result.map_err(Error::Inner)
    }

    /// The state that it is in. An open circuit whose time is over stays open until a call comes.
    #[must_use]
    pub fn state(&self) -> State {
        self.slot.core.word().state()
    }

    /// How long until a call has a chance; nothing if it has one now, or if only an operator can help.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        self.refusal().and_then(|refused| refused.retry_after())
    }

    /// All that it shows of itself. Also hands what was counted to the metrics recorder.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        self.tenant.snapshot()
    }

    /// Listens to its transitions, from now on.
    #[must_use]
    pub fn subscribe(&self) -> Transitions {
        self.tenant.hub().subscribe()
    }

    /// Closes it, from whatever state: the partner is back, and somebody knows it.
    pub fn reset(&self) {
        self.obey(Order::Reset);
    }

    /// Refuses every call until [`reset`](Self::reset).
    pub fn force_open(&self) {
        self.obey(Order::ForceOpen);
    }

    /// Lets every call through and counts nothing, until [`reset`](Self::reset).
    pub fn disable(&self) {
        self.obey(Order::Disable);
    }

    /// Lets every call through, counts, and tells when it would have opened, until [`reset`](Self::reset).
    pub fn observe(&self) {
        self.obey(Order::Observe);
    }

    /// Watches the outcomes of live calls with another policy, until what it returns is dropped.
    ///
    /// It sees only the calls that this circuit lets through. A rule for slow
    /// calls sees their time only if this circuit's policy has one too.
    ///
    /// Gives nothing if [`SHADOWS_MAX`](crate::SHADOWS_MAX) are watching already.
    #[must_use]
    pub fn shadow(&self, name: impl Into<Arc<str>>, config: BreakerConfig) -> Option<LiveShadow> {
        self.tenant.watch_with(name.into(), config)
    }

    /// Whether there is no other handle of it.
    pub(crate) fn is_only(&self) -> bool {
        Arc::strong_count(&self.tenant) == 1
    }

    pub(crate) fn is_healthy(&self) -> bool {
        self.slot.core.is_healthy()
    }

    fn obey(&self, order: Order) {
        self.tenant.publish(self.slot.core.obey(order));
    }

    /// Whether a call would be refused now; counts nothing.
    #[inline]
    pub(crate) fn refusal(&self) -> Option<Refused> {
        self.slot.refusal()
    }

    /// Counts a refusal.
    #[inline]
    pub(crate) fn refused(&self) {
        if self.slot.refused() {
            self.tenant.flush();
        }
    }
}
