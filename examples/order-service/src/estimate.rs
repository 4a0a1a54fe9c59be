//! When an order will be ready, worked out from how long its steps took lately.

use std::sync::Mutex;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

use crate::step::Step;

/// How much one observation moves the average: an exponentially weighted mean.
const WEIGHT: f64 = 0.1;

/// Mean durations of the three steps.
#[derive(Debug, Default)]
pub struct Estimate {
    // A std mutex, since nothing is awaited while it is held.
    seconds: Mutex<[Option<f64>; 3]>,
}

impl Estimate {
    /// A step took so long, from the moment it was allowed to start.
    pub fn observe(&self, step: Step, took: Duration) {
        let mut seconds = self.lock();
        let mean = &mut seconds[step.index()];
        let took = took.as_secs_f64();
        *mean = Some(mean.map_or(took, |mean| mean + WEIGHT * (took - mean)));
    }

    /// When these steps will be done if each first waits as `wait` says (for its circuit
    /// or its retry). None before every one of them was seen once.
    pub fn completion(
        &self,
        now: DateTime<Utc>,
        steps: &[Step],
        wait: impl Fn(Step) -> Duration,
    ) -> Option<DateTime<Utc>> {
        let seconds = *self.lock();
        let mut total = 0.0;
        for step in steps {
            total += seconds[step.index()]? + wait(*step).as_secs_f64();
        }
        let millis = (total * 1000.0).ceil().min(1e15);
        #[expect(clippy::cast_possible_truncation, reason = "bounded above")]
        let delta = TimeDelta::milliseconds(millis as i64);
        now.checked_add_signed(delta)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, [Option<f64>; 3]> {
        self.seconds
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_promised_before_every_step_was_seen() {
        let estimate = Estimate::default();
        estimate.observe(Step::Cms, Duration::from_secs(1));
        let now = Utc::now();
        assert_eq!(
            estimate.completion(now, &Step::ALL, |_| Duration::ZERO),
            None
        );
        let cms_alone = estimate.completion(now, &[Step::Cms], |_| Duration::from_secs(30));
        assert_eq!(cms_alone, Some(now + TimeDelta::seconds(31)));
    }
}
