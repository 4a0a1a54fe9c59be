use tokio::time::Instant;

/// A request that can carry the time by which it must be answered.
///
/// # Laws
///
/// 1. What was set is what is got, and a clone carries it too.
pub trait HasDeadline {
    /// The deadline, if it carries one.
    fn deadline(&self) -> Option<Instant>;

    /// Carries this one from now on.
    fn set_deadline(&mut self, deadline: Instant);
}

/// A deadline among the extensions of an HTTP request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deadline(pub Instant);

#[cfg(feature = "http")]
impl<B> HasDeadline for http::Request<B> {
    fn deadline(&self) -> Option<Instant> {
        self.extensions()
            .get::<Deadline>()
            .map(|deadline| deadline.0)
    }

    fn set_deadline(&mut self, deadline: Instant) {
        self.extensions_mut().insert(Deadline(deadline));
    }
}

/// Any request, with a place for a deadline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Call<R> {
    /// The request.
    pub request: R,
    deadline: Option<Instant>,
}

impl<R> Call<R> {
    /// Without a deadline yet.
    pub const fn new(request: R) -> Self {
        Self {
            request,
            deadline: None,
        }
    }
}

impl<R> HasDeadline for Call<R> {
    fn deadline(&self) -> Option<Instant> {
        self.deadline
    }

    fn set_deadline(&mut self, deadline: Instant) {
        self.deadline = Some(deadline);
    }
}
