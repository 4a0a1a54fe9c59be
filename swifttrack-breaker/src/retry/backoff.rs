use std::time::Duration;

use crate::circuit::machine::mix;

/// How long to wait before each further try: longer each time, up to a cap.
///
/// It is arithmetic and nothing else. The seed decides the jitter, so that a
/// wait that was written down can be worked out again.
///
/// # Defaults
///
/// - 2 seconds, times 2 each time, capped at 60 seconds
/// - 5 retries (6 tries in all)
/// - no jitter
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use swifttrack_breaker::Backoff;
///
/// const PARTNER: Backoff = Backoff::new();
/// let waits: Vec<u64> = PARTNER.delays(0).map(|wait| wait.as_secs()).collect();
/// assert_eq!(waits, [2, 4, 8, 16, 32]);
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
#[must_use = "a backoff does nothing by itself"]
pub struct Backoff {
    first: Duration,
    factor: f64,
    cap: Duration,
    retries: u32,
    jitter: Jitter,
}

/// How much of a wait is left to chance, so that those who failed together do not come back together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Jitter {
    /// None: the wait is what the formula says.
    #[default]
    None,
    /// Anything from nothing to the whole wait. Spreads best.
    Full,
    /// Half of the wait, and anything up to the other half.
    Equal,
}

impl Backoff {
    /// The [defaults](Self#defaults).
    pub const fn new() -> Self {
        Self {
            first: Duration::from_secs(2),
            factor: 2.0,
            cap: Duration::from_secs(60),
            retries: 5,
            jitter: Jitter::None,
        }
    }

    /// The wait before the first retry.
    pub const fn first(mut self, wait: Duration) -> Self {
        self.first = wait;
        self
    }

    /// How much longer each wait is than the one before.
    ///
    /// # Panics
    ///
    /// Panics unless it is a number from 1 to 1000.
    #[track_caller]
    pub const fn factor(mut self, factor: f64) -> Self {
        assert!(
            factor >= 1.0 && factor <= 1000.0,
            "a backoff grows by a factor of 1 to 1000"
        );
        self.factor = factor;
        self
    }

    /// The longest wait.
    pub const fn cap(mut self, cap: Duration) -> Self {
        self.cap = cap;
        self
    }

    /// How many retries follow the first try; zero is none.
    pub const fn retries(mut self, retries: u32) -> Self {
        self.retries = retries;
        self
    }

    /// What is left to chance.
    pub const fn jitter(mut self, jitter: Jitter) -> Self {
        self.jitter = jitter;
        self
    }

    /// The wait before this retry, counted from 1; nothing if there are no more.
    ///
    /// The same seed gives the same wait. Overflow ends at the cap.
    #[must_use]
    pub fn delay(&self, retry: u32, seed: u64) -> Option<Duration> {
        if retry == 0 || self.retries < retry {
            return None;
        }
        let exponent = i32::try_from(retry - 1).unwrap_or(i32::MAX);
        let whole = self.first.as_secs_f64() * self.factor.powi(exponent);
        let whole = Duration::try_from_secs_f64(whole).map_or(self.cap, |wait| wait.min(self.cap));
        let luck = mix(seed ^ u64::from(retry) << 32);
        Some(match self.jitter {
            Jitter::None => whole,
            Jitter::Full => part(whole, luck),
            Jitter::Equal => whole / 2 + part(whole / 2, luck),
        })
    }

    /// All the waits in turn.
    pub fn delays(&self, seed: u64) -> impl Iterator<Item = Duration> + use<> {
        let backoff = *self;
        (1..=self.retries).map_while(move |retry| backoff.delay(retry, seed))
    }

    /// How many retries follow the first try.
    #[must_use]
    pub const fn retries_max(&self) -> u32 {
        self.retries
    }
}

impl Default for Backoff {
    fn default() -> Self {
        Self::new()
    }
}

/// `luck / 2^64` of the time, in whole nanoseconds.
fn part(time: Duration, luck: u64) -> Duration {
    let nanos = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
    Duration::from_nanos(((u128::from(nanos) * u128::from(luck)) >> 64) as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends_at_the_cap_however_large_the_numbers() {
        let backoff = Backoff::new()
            .factor(1000.0)
            .retries(u32::MAX)
            .cap(Duration::from_secs(90));
        assert_eq!(backoff.delay(u32::MAX, 1), Some(Duration::from_secs(90)));
        assert_eq!(backoff.delay(3, 1), Some(Duration::from_secs(90)));
        let endless = backoff.cap(Duration::MAX).first(Duration::MAX);
        assert_eq!(endless.delay(7, 1), Some(Duration::MAX));
        assert_eq!(
            endless
                .jitter(Jitter::Full)
                .delay(7, 1)
                .map(|wait| wait < Duration::MAX),
            Some(true)
        );
    }

    #[test]
    fn no_retries_are_no_waits() {
        assert_eq!(Backoff::new().retries(0).delays(1).count(), 0);
        assert_eq!(Backoff::new().delay(0, 1), None);
        assert_eq!(Backoff::new().delay(6, 1), None);
    }

    #[test]
    fn jitter_stays_in_its_bounds_fills_them_and_repeats() {
        for (jitter, low, high) in [(Jitter::Full, 0, 2000), (Jitter::Equal, 1000, 2000)] {
            let backoff = Backoff::new().jitter(jitter);
            let waits: Vec<u128> = (0..1000)
                .map(|seed| backoff.delay(1, seed).unwrap().as_millis())
                .collect();
            assert!(waits.iter().all(|wait| (low..=high).contains(wait)));
            assert!(
                waits.iter().any(|wait| *wait < low + 100)
                    && waits.iter().any(|wait| high - 100 < *wait)
            );
            assert_eq!(backoff.delay(3, 42), backoff.delay(3, 42));
        }
    }
}
