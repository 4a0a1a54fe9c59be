//! Steps that write down what they are asked, and fail as they are told.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use swifttrack_saga::{
    Attempt, Compensate, Evidence, ForwardError, ForwardStep, NotYet, Resolution, Retry, Saga,
    Step, StepError, Tune as _,
};

/// What a partner does with the next call.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Trouble {
    Reject,
    Retry,
    RetryAfter(Duration),
    Unknown,
    Blocked(&'static str),
    Panic,
    Hang,
    /// Fine, after so long.
    Slow(Duration),
    Fine,
}

/// A partner that writes down each call by its key.
#[derive(Clone, Default)]
pub(crate) struct Partner {
    inner: Arc<Mutex<Inner>>,
}

#[derive(Default)]
struct Inner {
    calls: Vec<String>,
    troubles: HashMap<String, VecDeque<Trouble>>,
    answers: HashMap<String, Resolution<u32>>,
}

impl Partner {
    /// The next calls of this key (without the saga's id) go like this, then fine.
    pub(crate) fn trouble(&self, key: &str, troubles: impl IntoIterator<Item = Trouble>) {
        let mut inner = self.inner.lock().unwrap();
        let queue = inner.troubles.entry(key.to_owned()).or_default();
        queue.extend(troubles);
    }

    /// What `resolve` answers for this step.
    pub(crate) fn answer(&self, key: &str, answer: Resolution<u32>) {
        let mut inner = self.inner.lock().unwrap();
        inner.answers.insert(key.to_owned(), answer);
    }

    pub(crate) fn calls(&self) -> Vec<String> {
        self.inner.lock().unwrap().calls.clone()
    }

    async fn call(&self, attempt: &Attempt, note: &str) -> Result<u32, StepError> {
        let key = attempt.key().split_once(':').unwrap().1;
        let trouble = {
            let mut inner = self.inner.lock().unwrap();
            inner.calls.push(format!("{key}{note}"));
            let queue = inner.troubles.get_mut(key);
            queue.and_then(VecDeque::pop_front).unwrap_or(Trouble::Fine)
        };
        match trouble {
            Trouble::Fine => Ok(attempt.number()),
            Trouble::Reject => Err(StepError::rejected("NO", "the partner says no")),
            Trouble::Retry => Err(StepError::retry("BUSY", "the partner is busy")),
            Trouble::RetryAfter(pause) => {
                Err(StepError::retry("BUSY", "the partner is busy").after(pause))
            }
            Trouble::Unknown => Err(StepError::unknown("RESET", "the connection was reset")),
            Trouble::Blocked(on) => Err(StepError::blocked(on, Duration::from_hours(1))),
            Trouble::Panic => panic!("a step panics"),
            Trouble::Hang => std::future::pending().await,
            Trouble::Slow(pause) => {
                tokio::time::sleep(pause).await;
                Ok(attempt.number())
            }
        }
    }
}

macro_rules! step {
    ($step:ident, $name:literal) => {
        #[derive(Clone)]
        pub(crate) struct $step(pub(crate) Partner);

        impl Step for $step {
            const NAME: &'static str = $name;
            type In = u32;
            type Out = u32;

            async fn run(&self, attempt: &Attempt, _: &u32) -> Result<u32, StepError> {
                self.0.call(attempt, "").await
            }

            async fn resolve(&self, attempt: &Attempt, _: &u32) -> Result<Resolution<u32>, NotYet> {
                let key = attempt.key().split_once(':').unwrap().1;
                let mut inner = self.0.inner.lock().unwrap();
                inner.calls.push(format!("{key}?"));
                let answer = inner.answers.get(key).cloned();
                Ok(answer.unwrap_or(Resolution::CannotTell))
            }
        }

        impl Compensate for $step {
            async fn undo(
                &self,
                attempt: &Attempt,
                _: &u32,
                evidence: Evidence<&u32>,
            ) -> Result<(), NotYet> {
                let note = match evidence {
                    Evidence::Done(_) => "",
                    Evidence::Maybe => " maybe",
                };
                match self.0.call(attempt, note).await {
                    Ok(_) => Ok(()),
                    Err(error) => match error.class() {
                        swifttrack_saga::Class::Blocked { on, retry_after } => {
                            Err(NotYet::blocked(on.clone(), *retry_after))
                        }
                        swifttrack_saga::Class::Retry { after: Some(pause) } => {
                            let pause = *pause;
                            Err(NotYet::new("BUSY", error).after(pause))
                        }
                        _ => Err(error.into()),
                    },
                }
            }
        }
    };
}

step!(A, "a");
step!(B, "b");
step!(C, "c");

/// A step for after the pivot.
pub(crate) struct Onward(pub(crate) Partner);

impl ForwardStep for Onward {
    const NAME: &'static str = "onward";
    type In = u32;
    type Out = u32;

    async fn run(&self, attempt: &Attempt, _: &u32) -> Result<u32, ForwardError> {
        let outcome = self.0.call(attempt, "").await;
        outcome.map_err(|error| ForwardError::unknown("ONWARD", error))
    }
}

/// Two retries, one second apart.
pub(crate) const QUICK: Retry = Retry::exponential(Duration::from_secs(1))
    .factor(1)
    .times(2);

/// a, b, c, one after another, at a partner that keeps tombstones.
pub(crate) fn abc(partner: &Partner) -> Saga<u32, u32> {
    let partner = partner.clone();
    Saga::<u32>::define("abc", 1, |s, input| {
        let a = s.step(A(partner.clone()).retry(QUICK).tombstone().on("p"), input);
        let b = s.step(B(partner.clone()).retry(QUICK).tombstone().on("p"), a);
        let c = s.step(C(partner).retry(QUICK).tombstone().on("p"), b);
        s.finish(c)
    })
    .unwrap()
}
