//! What the author of a step writes.

use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::time::Instant;
use uuid::Uuid;

use crate::error::{NotYet, StepError};
use crate::policy::{Late, Policy};

/// What the journal can hold: the input of a saga and the outputs of its steps.
///
/// Implemented for every type that has `#[derive(Clone, Serialize, Deserialize)]`.
///
/// As JSON each is 1 MiB at most. A start with more is refused. A step that gives more may have
/// taken effect, so its attempt is one whose outcome is unknown, with the code
/// `PAYLOAD_TOO_LARGE`.
///
/// While a saga is in memory, its attempts and steps share one value of each output. What a step
/// changes inside of one, through a `Mutex` or the like, is lost at the next restart.
pub trait Payload: Clone + Serialize + DeserializeOwned + Send + Sync + 'static {}

impl<T: Clone + Serialize + DeserializeOwned + Send + Sync + 'static> Payload for T {}

/// One action of a saga at one partner.
///
/// # Laws
///
/// 1. `run` under a key that already took effect has no second effect.
/// 2. `Rejected`, `Retry` and `Blocked` are said only if nothing happened; when in doubt, `Unknown`.
/// 3. `resolve` changes nothing.
///
/// # Cancel safety
///
/// A future of a step is dropped at its deadline, and when its process loses the saga. The
/// engine then counts the attempt as one whose outcome is unknown.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a step",
    label = "this has no `run`",
    note = "implement `Step` for it: a name, an input, an output and `run`"
)]
pub trait Step: Send + Sync + 'static {
    /// The step's name in the journal and in its idempotency key. Never change it under one version.
    const NAME: &'static str;
    /// What it needs. Not stored: it is put together again from earlier outputs.
    type In: Send + Sync + 'static;
    /// What it gives. Stored in the journal.
    type Out: Payload;

    /// Does it.
    fn run(
        &self,
        attempt: &Attempt,
        input: &Self::In,
    ) -> impl Future<Output = Result<Self::Out, StepError>> + Send;

    /// Asks whether an earlier attempt under this key took effect.
    fn resolve(
        &self,
        _attempt: &Attempt,
        _input: &Self::In,
    ) -> impl Future<Output = Result<Resolution<Self::Out>, NotYet>> + Send {
        async { Ok(Resolution::CannotTell) }
    }

    /// How often it is repeated and how long one attempt may take.
    fn policy(&self) -> Policy {
        Policy::forward()
    }
}

/// A step that can be undone.
///
/// # Laws
///
/// 1. `undo` under a key that was already undone succeeds and changes nothing.
/// 2. With [`Evidence::Maybe`] it succeeds although nothing happened.
/// 3. [`late`](Self::late) says what the partner does with a forward key after its undo.
#[diagnostic::on_unimplemented(
    message = "`{Self}` has no undo",
    label = "a step before the pivot needs an undo",
    note = "implement `Compensate` for `{Self}`",
    note = "or say why it needs none: `.irrevocable(\"reason\")`, or `.read_only()` if it changes nothing"
)]
pub trait Compensate: Step {
    /// Makes it as if it had not happened.
    fn undo(
        &self,
        attempt: &Attempt,
        input: &Self::In,
        evidence: Evidence<&Self::Out>,
    ) -> impl Future<Output = Result<(), NotYet>> + Send;

    /// How often the undo is repeated: by default without end.
    fn undo_policy(&self) -> Policy {
        Policy::backward()
    }

    /// What becomes of a request that arrives after its own undo. By default nothing refuses
    /// it, so that an undo of what *may* have happened waits for 30 s after the last attempt.
    fn late(&self) -> Late {
        Late::DEFAULT
    }
}

/// A step for after the pivot: it cannot be rejected, by type, since there is no way back.
///
/// # Laws
///
/// Those of [`Step`]; and repeating it succeeds in the end.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not allowed after the pivot",
    label = "this may fail for good, and there is no way back any more",
    note = "add it before the pivot",
    note = "or, if repeating it always succeeds in the end, implement `ForwardStep` for it instead of `Step`"
)]
pub trait ForwardStep: Send + Sync + 'static {
    /// As [`Step::NAME`].
    const NAME: &'static str;
    /// As [`Step::In`].
    type In: Send + Sync + 'static;
    /// As [`Step::Out`].
    type Out: Payload;

    /// Does it.
    fn run(
        &self,
        attempt: &Attempt,
        input: &Self::In,
    ) -> impl Future<Output = Result<Self::Out, crate::error::ForwardError>> + Send;

    /// As [`Step::resolve`].
    fn resolve(
        &self,
        _attempt: &Attempt,
        _input: &Self::In,
    ) -> impl Future<Output = Result<Resolution<Self::Out>, NotYet>> + Send {
        async { Ok(Resolution::CannotTell) }
    }

    /// How often it is repeated: by default without end.
    fn policy(&self) -> Policy {
        Policy::backward()
    }
}

/// Which attempt this is, and the key that makes all of them one effect.
#[derive(Clone, Debug)]
pub struct Attempt {
    pub(crate) key: String,
    pub(crate) number: u32,
    pub(crate) deadline: Instant,
    pub(crate) saga: Uuid,
    pub(crate) id: std::sync::Arc<str>,
}

impl Attempt {
    /// `{saga's id}:{step}`, or `{saga's id}:{step}:undo`: the same for every attempt.
    #[must_use]
    pub fn key(&self) -> &str {
        &self.key
    }

    /// 1 for the first.
    #[must_use]
    pub fn number(&self) -> u32 {
        self.number
    }

    /// When the engine drops the attempt. Pass it on: a partner that knows it does not begin
    /// what nobody waits for.
    #[must_use]
    pub fn deadline(&self) -> Instant {
        self.deadline
    }

    /// The saga.
    #[must_use]
    pub fn saga(&self) -> Uuid {
        self.saga
    }

    /// The id under which the saga was started.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }
}

/// What is known about the step that is to be undone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Evidence<T> {
    /// It happened, with this output.
    Done(T),
    /// It may have happened.
    Maybe,
}

impl<T> Evidence<T> {
    /// The output, if it is known.
    pub fn output(self) -> Option<T> {
        match self {
            Self::Done(output) => Some(output),
            Self::Maybe => None,
        }
    }
}

/// The answer to "did my key take effect?".
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Resolution<T> {
    /// It did, with this output.
    Done(T),
    /// It did; the same key is sent again to fetch the answer.
    Happened,
    /// It did not, and the partner has fenced the key: a late request will not either. The
    /// step has failed, and there is nothing to undo.
    Never,
    /// Not yet. It proves nothing, since a request may still be on its way.
    NotYet,
    /// The partner has no such question.
    CannotTell,
}
