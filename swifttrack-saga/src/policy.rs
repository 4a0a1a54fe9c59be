//! How often, how long: the numbers that bound a step.

use std::time::Duration;

/// Pauses between attempts: exponential, capped, counted.
///
/// # Defaults
///
/// - `factor`: 2
/// - `cap`: 5 minutes
/// - `times`: 5 retries
/// - `jitter`: none
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "a policy does nothing until a step has it"]
pub struct Retry {
    first: Duration,
    factor: u32,
    cap: Duration,
    /// `None` is without end.
    times: Option<u16>,
    jitter: Jitter,
}

/// How a pause is spread, so that those who failed together do not come back together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Jitter {
    /// Not at all.
    None,
    /// Anywhere between nothing and the pause.
    Full,
    /// Half of the pause, and anywhere up to the other half.
    Equal,
}

impl Retry {
    /// Waits `first` after the first failure, then longer each time.
    pub const fn exponential(first: Duration) -> Self {
        Self {
            first,
            factor: 2,
            cap: Duration::from_mins(5),
            times: Some(5),
            jitter: Jitter::None,
        }
    }

    /// One attempt only.
    pub const fn never() -> Self {
        Self::exponential(Duration::ZERO).times(0)
    }

    /// Gives up after this many retries.
    pub const fn times(mut self, retries: u16) -> Self {
        self.times = Some(retries);
        self
    }

    /// Never gives up.
    pub const fn without_end(mut self) -> Self {
        self.times = None;
        self
    }

    /// Multiplies the pause by this after each failure.
    pub const fn factor(mut self, factor: u32) -> Self {
        self.factor = factor;
        self
    }

    /// No pause is longer than this.
    pub const fn cap(mut self, cap: Duration) -> Self {
        self.cap = cap;
        self
    }

    /// Spreads the pauses.
    pub const fn jitter(mut self, jitter: Jitter) -> Self {
        self.jitter = jitter;
        self
    }

    /// The pause before retry `n`, counted from 1, before jitter; `None` when retries have
    /// run out.
    #[must_use]
    pub fn pause(&self, n: u32) -> Option<Duration> {
        if self.times.is_some_and(|times| u32::from(times) < n) {
            return None;
        }
        let factor = self.factor.saturating_pow(n.saturating_sub(1));
        Some(self.first.saturating_mul(factor).min(self.cap))
    }

    /// The same, spread by `noise` (any number, all equally likely).
    pub(crate) fn spread(&self, n: u32, noise: u32) -> Option<Duration> {
        let pause = self.pause(n)?;
        // In whole numbers, since the longest pause there is does not fit into a float.
        let part = |of: Duration| {
            let micros = of.as_micros() * u128::from(noise) / u128::from(u32::MAX);
            Duration::from_micros(u64::try_from(micros).unwrap_or(u64::MAX))
        };
        Some(match self.jitter {
            Jitter::None => pause,
            Jitter::Full => part(pause),
            Jitter::Equal => pause / 2 + part(pause / 2),
        })
    }
}

/// [`Retry`] and the time one attempt may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "a policy does nothing until a step has it"]
pub struct Policy {
    pub(crate) retry: Retry,
    pub(crate) attempt_timeout: Duration,
}

impl Policy {
    /// For `run`: 2, 4, 8, 16, 32 s between six attempts of 10 s.
    pub const fn forward() -> Self {
        Self {
            retry: Retry::exponential(Duration::from_secs(2)),
            attempt_timeout: Duration::from_secs(10),
        }
    }

    /// For `undo`, and for steps after the pivot: the same pauses, capped at 5 minutes,
    /// without end.
    pub const fn backward() -> Self {
        let forward = Self::forward();
        forward.retry(forward.retry.without_end())
    }

    /// Sets the pauses.
    pub const fn retry(mut self, retry: Retry) -> Self {
        self.retry = retry;
        self
    }

    /// Sets the time one attempt may take.
    pub const fn attempt_timeout(mut self, timeout: Duration) -> Self {
        self.attempt_timeout = timeout;
        self
    }

    /// The longest this can take; `None` if it has no end. A refusal that is waited out
    /// ([`StepError::blocked`](crate::StepError::blocked)) uses up no attempt and is not in it.
    #[must_use]
    pub fn worst_case(&self) -> Option<Duration> {
        let retries = u32::from(self.retry.times?);
        let pauses = (1..=retries).try_fold(Duration::ZERO, |sum, n| {
            sum.checked_add(self.retry.pause(n)?)
        })?;
        // An attempt after one of unknown outcome asks first, and asking may take as long.
        let first = self.attempt_timeout;
        let repeated = self.attempt_timeout.checked_mul(2)?.checked_mul(retries)?;
        first.checked_add(repeated)?.checked_add(pauses)
    }
}

/// What becomes of a forward request that arrives after its own undo.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Late {
    /// The partner refuses it: an undo leaves a tombstone, also for what never happened.
    Refused,
    /// It may take effect. After an attempt of unknown outcome the undo therefore waits until that
    /// attempt's deadline and this long, also if a later attempt succeeded; what arrives after
    /// that still leaks.
    Quiet(Duration),
}

impl Late {
    pub(crate) const DEFAULT: Self = Self::Quiet(Duration::from_secs(30));
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn pauses_grow_up_to_their_cap_and_run_out() {
        let retry = Retry::exponential(SECOND)
            .factor(3)
            .cap(SECOND * 20)
            .times(5);
        let pauses: Vec<_> = (1..=6).map(|n| retry.pause(n)).collect();
        let seconds = [1, 3, 9, 20, 20].map(|n| Some(SECOND * n));
        assert_eq!(pauses, [&seconds[..], &[None]].concat());
        assert_eq!(Retry::never().pause(1), None);
        let without_end = retry.without_end();
        assert_eq!(without_end.pause(u32::MAX), Some(SECOND * 20));
    }

    #[test]
    fn a_spread_pause_is_never_longer() {
        for first in [Duration::ZERO, SECOND, Duration::MAX] {
            let retry = Retry::exponential(first).cap(Duration::MAX);
            for noise in [0, 1, u32::MAX / 2, u32::MAX] {
                let full = retry.jitter(Jitter::Full).spread(3, noise).unwrap();
                let equal = retry.jitter(Jitter::Equal).spread(3, noise).unwrap();
                let pause = retry.pause(3).unwrap();
                assert!(full <= pause && equal <= pause && equal >= pause / 2);
            }
        }
        let retry = Retry::exponential(SECOND).jitter(Jitter::Full);
        assert_eq!(retry.spread(1, 0), Some(Duration::ZERO));
        assert_eq!(retry.spread(1, u32::MAX), Some(SECOND));
    }

    #[test]
    fn the_worst_case_has_each_attempt_each_question_and_each_pause() {
        let policy = Policy::forward();
        // Six attempts and five questions of 10 s; pauses of 2, 4, 8, 16, 32 s.
        assert_eq!(policy.worst_case(), Some(SECOND * (110 + 62)));
        assert_eq!(Policy::backward().worst_case(), None);
        let longest = Retry::exponential(Duration::MAX).cap(Duration::MAX);
        assert_eq!(
            policy.retry(longest).worst_case(),
            None,
            "longer than there is time"
        );
    }
}
