//! One attempt of a step or an undo: outside of any transaction, in a task of its own.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::Either;
use tokio::time::{Instant, timeout_at};

use crate::core::{self, Refusal};
use crate::definition::Undo;
use crate::engine::live::Live;
use crate::engine::start::check_length;
use crate::erased::{Codec, ErasedStep, ErasedUndo, Value};
use crate::error::{Class, NotYet, StepError};
use crate::graph::Action;
use crate::guard::Guard;
use crate::hook::Failure;
use crate::step::{Attempt, Evidence, Resolution};
use crate::store::Timestamp;

/// What became of an attempt.
#[derive(Debug)]
pub(crate) enum Verdict {
    Done {
        value: Value,
        bytes: Arc<[u8]>,
    },
    Failed {
        refusal: Refusal,
        failure: Failure,
        after: Option<Duration>,
    },
    Blocked {
        on: Arc<str>,
        retry_after: Duration,
    },
    UndoDone,
    UndoFailed {
        failure: Failure,
        after: Option<Duration>,
    },
}

/// An input of the core, and the value that comes with it.
pub(crate) type Told = (core::Input, Option<Value>);

impl Verdict {
    /// As the core hears of it; or what it is blocked on, of which the core does not hear.
    pub(crate) fn into_input(
        self,
        node: u16,
        attempt: u32,
        until: Timestamp,
    ) -> Result<Told, (Arc<str>, Duration)> {
        Ok(match self {
            Self::Done { value, bytes } => {
                let input = core::Input::Done {
                    node,
                    attempt,
                    output: bytes,
                };
                (input, Some(value))
            }
            Self::Failed {
                refusal,
                failure,
                after,
            } => {
                let refusal = match refusal {
                    Refusal::Unknown if !Guard::Maybe.stands() => Refusal::Retry,
                    refusal => refusal,
                };
                let input = core::Input::Failed {
                    node,
                    attempt,
                    refusal,
                    failure,
                    after,
                    until,
                };
                (input, None)
            }
            Self::UndoDone => (core::Input::UndoDone { node, attempt }, None),
            Self::UndoFailed { failure, after } => {
                let input = core::Input::UndoFailed {
                    node,
                    attempt,
                    failure,
                    after,
                };
                (input, None)
            }
            Self::Blocked { on, retry_after } => return Err((on, retry_after)),
        })
    }
}

/// One attempt, ready to run. Boxed, since a future holds what it is given twice.
pub(crate) enum Work {
    Forward(Box<Forward>),
    Backward(Box<Backward>),
}

impl Work {
    /// What one attempt of a node is.
    pub(crate) fn of(live: &Live, place: u16, undo: bool) -> Self {
        let plan = &live.definition().nodes[usize::from(place)];
        let node = live.node(place);
        let name = &plan.name;
        let policy = match (undo, plan.undo) {
            (true, Undo::By { policy, .. }) => policy,
            _ => plan.policy.expect("what runs is a step"),
        };
        let attempt = Attempt {
            // At its size, where `format!` would find that out as it goes.
            key: match undo {
                true => [&live.id, ":", name, ":undo"].concat(),
                false => [&live.id, ":", name].concat(),
            },
            number: node.attempt,
            deadline: Instant::now() + policy.attempt_timeout,
            saga: live.saga,
            id: live.id.clone(),
        };
        let work = &live.registered.code.work[usize::from(place)];
        let Action::Step(step, compensate) = &work.action else {
            unreachable!("what runs is a step")
        };
        let input = step.input(&live.registered.scope(&live.input, &live.values));
        if undo {
            let known = live.values[usize::from(place)].clone();
            return Self::Backward(Box::new(Backward {
                undo: compensate.clone().expect("what is undone has an undo"),
                attempt,
                input,
                evidence: match known.filter(|_| !node.maybe) {
                    Some(output) => Evidence::Done(output),
                    None => Evidence::Maybe,
                },
            }));
        }
        Self::Forward(Box::new(Forward {
            step: step.clone(),
            codec: work.codec,
            attempt,
            input,
            ask: node.maybe,
            timeout: policy.attempt_timeout,
        }))
    }

    /// Runs it once. Returns also until when it could still send something.
    pub(crate) fn run(self) -> impl Future<Output = (Verdict, Instant)> + Send + 'static {
        match self {
            Self::Forward(work) => Either::Left(forward(work)),
            Self::Backward(work) => Either::Right(backward(work)),
        }
    }
}

/// What an attempt of a step needs.
pub(crate) struct Forward {
    step: Arc<dyn ErasedStep>,
    codec: Codec,
    attempt: Attempt,
    input: Value,
    /// An earlier attempt may have had an effect: ask first.
    ask: bool,
    timeout: Duration,
}

/// What an attempt to undo needs.
pub(crate) struct Backward {
    undo: Arc<dyn ErasedUndo>,
    attempt: Attempt,
    input: Value,
    evidence: Evidence<Value>,
}

/// Runs a step once. Returns also until when it could still send something.
async fn forward(mut work: Box<Forward>) -> (Verdict, Instant) {
    let codec = work.codec;
    if work.ask {
        let question = work
            .step
            .clone()
            .resolve(work.attempt.clone(), work.input.clone());
        let answer = caught(timeout_at(work.attempt.deadline, question)).await;
        match answer {
            Ok(Ok(Ok(Resolution::Done(value)))) => {
                return (done(codec, value), work.attempt.deadline);
            }
            Ok(Ok(Ok(Resolution::Never))) => {
                let why = failure("FENCED", "the partner has fenced the key");
                return (failed(Refusal::Never, why), work.attempt.deadline);
            }
            Ok(Ok(Ok(Resolution::Happened | Resolution::NotYet | Resolution::CannotTell))) => (),
            Ok(Ok(Err(error))) => return (not_answered(error), work.attempt.deadline),
            Ok(Err(_)) => {
                let why = failure("TIMED_OUT", "the question was not answered in time");
                return (failed(Refusal::Retry, why), work.attempt.deadline);
            }
            Err(why) => return (failed(Refusal::Retry, why), work.attempt.deadline),
        }
        work.attempt.deadline = Instant::now() + work.timeout;
    }
    let deadline = work.attempt.deadline;
    let run = {
        let Forward {
            step,
            attempt,
            input,
            ..
        } = *work;
        step.run(attempt, input)
    };
    let verdict = match caught(timeout_at(deadline, run)).await {
        Ok(Ok(Ok(value))) => done(codec, value),
        Ok(Ok(Err(error))) => not_done(error),
        Ok(Err(_)) => {
            let why = failure("TIMED_OUT", "the attempt was not answered in time");
            failed(Refusal::Unknown, why)
        }
        Err(why) => failed(Refusal::Unknown, why),
    };
    (verdict, deadline)
}

/// Runs an undo once.
async fn backward(work: Box<Backward>) -> (Verdict, Instant) {
    let deadline = work.attempt.deadline;
    let undo = {
        let Backward {
            undo,
            attempt,
            input,
            evidence,
        } = *work;
        undo.undo(attempt, input, evidence)
    };
    let again = |failure| Verdict::UndoFailed {
        failure,
        after: None,
    };
    let verdict = match caught(timeout_at(deadline, undo)).await {
        Ok(Ok(Ok(()))) => Verdict::UndoDone,
        Ok(Ok(Err(error))) => match error.blocked {
            Some((on, retry_after)) => Verdict::Blocked { on, retry_after },
            None => Verdict::UndoFailed {
                after: error.after,
                failure: error.failure(),
            },
        },
        Ok(Err(_)) => again(failure("TIMED_OUT", "the undo was not answered in time")),
        Err(why) => again(why),
    };
    (verdict, deadline)
}

/// A panic in a user's step is an outcome, not the end of a worker.
async fn caught<T>(work: impl Future<Output = T>) -> Result<T, Failure> {
    AssertUnwindSafe(work)
        .catch_unwind()
        .await
        .map_err(|panic| {
            let message = panic
                .downcast_ref::<&str>()
                .map(|text| (*text).to_owned())
                .or_else(|| panic.downcast_ref::<String>().cloned())
                .unwrap_or_default();
            failure("PANICKED", &message)
        })
}

fn done(codec: Codec, value: Value) -> Verdict {
    let bytes = match (codec.encode)(&value) {
        Ok(bytes) => bytes,
        Err(error) => {
            let why = failure("PAYLOAD_NOT_ENCODED", &error.to_string());
            return failed(Refusal::Unknown, why);
        }
    };
    match check_length("the output", bytes.len()) {
        Ok(()) => Verdict::Done {
            value,
            bytes: bytes.into(),
        },
        Err(error) => {
            let why = failure("PAYLOAD_TOO_LARGE", &error.to_string());
            failed(Refusal::Unknown, why)
        }
    }
}

fn not_done(error: StepError) -> Verdict {
    let (refusal, after) = match &error.class {
        Class::Rejected => (Refusal::Rejected, None),
        Class::Retry { after } => (Refusal::Retry, *after),
        Class::Unknown { after } => (Refusal::Unknown, *after),
        Class::Blocked { on, retry_after } => {
            return Verdict::Blocked {
                on: on.clone(),
                retry_after: *retry_after,
            };
        }
    };
    Verdict::Failed {
        refusal,
        failure: error.failure(),
        after,
    }
}

fn not_answered(error: NotYet) -> Verdict {
    match error.blocked {
        Some((on, retry_after)) => Verdict::Blocked { on, retry_after },
        // Nothing new is known: what may have happened still may.
        None => Verdict::Failed {
            refusal: Refusal::Retry,
            after: error.after,
            failure: error.failure(),
        },
    }
}

fn failed(refusal: Refusal, failure: Failure) -> Verdict {
    Verdict::Failed {
        refusal,
        failure,
        after: None,
    }
}

fn failure(code: &str, message: &str) -> Failure {
    Failure {
        code: code.into(),
        message: crate::error::clip(message, crate::error::MESSAGE_BYTES_MAX).into(),
    }
}
