//! What an application sees of every transition, in the transaction that commits it.

use std::any::Any;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use uuid::Uuid;

use crate::store::Timestamp;

/// One accepted transition of one saga.
#[derive(Clone)]
pub struct Transition {
    /// The saga.
    pub saga: Uuid,
    /// Its definition's name.
    pub definition: Arc<str>,
    /// Its version.
    pub version: u32,
    /// The caller's id of the saga.
    pub id: Arc<str>,
    /// The transition's number in its saga, from 1.
    pub seq: u32,
    /// When.
    pub at: Timestamp,
    /// What happened.
    pub what: What,
    /// The steps that this transition allows to start for the first time, in the order of
    /// their start. Later attempts of a step are not told again.
    pub starts: Vec<Arc<str>>,
    /// The steps whose undo this transition allows to start.
    pub undoes: Vec<Arc<str>>,
    /// How the saga ended, if it did with this.
    pub end: Option<End>,
    /// For a start, whatever the starter attached.
    pub attachment: Option<Arc<dyn Any + Send + Sync>>,
}

impl fmt::Debug for Transition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Transition")
            .field("id", &self.id)
            .field("seq", &self.seq)
            .field("what", &self.what)
            .field("starts", &self.starts)
            .field("undoes", &self.undoes)
            .field("end", &self.end)
            .finish_non_exhaustive()
    }
}

/// What a transition says.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum What {
    /// The saga began.
    Started {
        /// The encoded input.
        input: Arc<[u8]>,
    },
    /// A step took effect.
    StepDone {
        /// Which.
        step: Arc<str>,
        /// Which attempt gave the answer.
        attempt: u32,
        /// The encoded output.
        output: Arc<[u8]>,
    },
    /// An attempt of a step failed and another is planned.
    StepRetry {
        /// Which.
        step: Arc<str>,
        /// The attempt that failed, from 1.
        attempt: u32,
        /// Whether it may have happened all the same.
        unknown: bool,
        /// Why.
        error: Failure,
        /// When the next attempt is due, and how long that is from now.
        due: Timestamp,
        /// The pause before it.
        pause: Duration,
    },
    /// A step failed for good: the saga turns back (or, past its pivot, is parked).
    StepFailed {
        /// Which.
        step: Arc<str>,
        /// The attempt that failed.
        attempt: u32,
        /// Whether it may have happened all the same, so that it is undone too.
        unknown: bool,
        /// Why.
        error: Failure,
    },
    /// A step was undone.
    UndoDone {
        /// Which.
        step: Arc<str>,
        /// Which attempt.
        attempt: u32,
    },
    /// An attempt to undo a step failed and another is planned.
    UndoRetry {
        /// Which.
        step: Arc<str>,
        /// The attempt that failed.
        attempt: u32,
        /// Why.
        error: Failure,
        /// When the next attempt is due.
        due: Timestamp,
    },
    /// The saga's cancellation was taken up.
    CancelRequested {
        /// Who asked.
        who: Arc<str>,
        /// Why.
        reason: Arc<str>,
    },
    /// An operator did something else.
    Operator {
        /// `pause`, `resume`, `retry`, `skip`, `resolve`, or a `cancel` that came too late.
        verb: Arc<str>,
        /// Who.
        who: Arc<str>,
        /// Why.
        reason: Arc<str>,
        /// False if it changed nothing: the saga had moved on, or the verb does not fit.
        applied: bool,
    },
    /// A person should look: an undo keeps failing, or the saga is blocked.
    Attention {
        /// Why.
        reason: Arc<str>,
    },
    /// It works again without a person.
    AttentionCleared,
    /// It cannot go on without a person.
    Parked {
        /// Why.
        reason: Arc<str>,
    },
    /// A signal was taken, a pause is over, a deadline has passed.
    Other {
        /// In one word: `signal`, `slept`, `timed-out`, `deadline`.
        kind: &'static str,
        /// Which node.
        step: Option<Arc<str>>,
    },
}

/// Why a step or an undo failed, as it is journalled.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Failure {
    /// A code to act on, such as `CREDIT_LIMIT_EXCEEDED`; empty if there was none.
    pub code: Arc<str>,
    /// One phrase, at most 500 bytes.
    pub message: Arc<str>,
}

/// How a saga ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// Every step is done. The encoded result.
    Completed {
        /// The encoded result of the saga.
        result: Arc<[u8]>,
    },
    /// Every step that happened or may have happened is undone.
    Compensated {
        /// The steps that were undone, in the order of their undoing.
        undone: Vec<Arc<str>>,
        /// The steps whose effect stands, since they were declared irrevocable.
        irrevocable: Vec<Arc<str>>,
        /// Whether it was cancelled rather than failed.
        cancelled: bool,
        /// The step that failed, if one did.
        failed: Option<Arc<str>>,
        /// Why.
        error: Option<Failure>,
    },
}

/// Why a hook did not accept a batch.
pub enum HookError {
    /// These starts are refused; their starters get the reason. The rest is run again without them.
    Refuse(Vec<(Uuid, Arc<dyn Any + Send + Sync>)>),
    /// The batch failed.
    Failed(Box<dyn std::error::Error + Send + Sync>),
}

impl fmt::Debug for HookError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refuse(which) => write!(f, "Refuse({} starts)", which.len()),
            Self::Failed(source) => f.debug_tuple("Failed").field(source).finish(),
        }
    }
}

impl<E: std::error::Error + Send + Sync + 'static> From<E> for HookError {
    fn from(source: E) -> Self {
        Self::Failed(Box::new(source))
    }
}

/// Runs inside the transaction that commits transitions, on its connection.
///
/// The batch holds every transition of the commit that was accepted, starts
/// included, in order; if the hook fails, none of them happened. It is never
/// skipped, and it must not do anything that a rollback does not undo.
#[cfg(any(feature = "postgres", feature = "sqlite"))]
#[async_trait::async_trait]
pub trait OnTransition<DB: sqlx::Database>: Send + Sync + 'static {
    /// Writes the application's own rows.
    ///
    /// # Errors
    ///
    /// [`HookError::Refuse`] for starts that must not happen; anything else fails the
    /// batch, which is then run again in halves until the culprit is alone.
    async fn on_transitions(
        &self,
        conn: &mut DB::Connection,
        batch: &[&Transition],
    ) -> Result<(), HookError>;
}
