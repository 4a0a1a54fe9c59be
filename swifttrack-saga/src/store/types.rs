//! What passes between the engine and a store.

use std::any::Any;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use uuid::Uuid;

use crate::hook::Transition;

/// A moment by the database's clock, in microseconds since 1970.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(pub i64);

impl Timestamp {
    /// Later by `by`; stays at the last moment there is instead of wrapping.
    #[must_use]
    pub fn saturating_add(self, by: Duration) -> Self {
        Self(
            self.0
                .saturating_add(i64::try_from(by.as_micros()).unwrap_or(i64::MAX)),
        )
    }

    /// How long until `self`, seen from `now`; zero if it has passed.
    #[must_use]
    pub fn since(self, now: Self) -> Duration {
        Duration::from_micros(u64::try_from(self.0.saturating_sub(now.0)).unwrap_or(0))
    }
}

impl From<Timestamp> for SystemTime {
    fn from(at: Timestamp) -> Self {
        UNIX_EPOCH + Duration::from_micros(u64::try_from(at.0).unwrap_or(0))
    }
}

/// One process start. Never used twice, so that an owner from before a restart is a stranger.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct WorkerId(pub Uuid);

/// A shard of a group (of a definition, by default) at the epoch at which this worker took it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ShardLease {
    /// The group: `{definition}@{version}`, so that a worker only takes what it can run.
    pub group: Arc<str>,
    /// 0 to 63.
    pub shard: u16,
    /// Raised by every takeover.
    pub epoch: i64,
    /// The owner before ended without giving it back.
    pub unclean: bool,
}

/// What a definition looks like, so that a change under the same version is seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shape {
    /// The definition's name.
    pub definition: String,
    /// Its version.
    pub version: u32,
    /// See [`Definition::shape`](crate::definition::Definition::shape).
    pub text: String,
}

/// A worker whose lease has not run out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Alive {
    /// Which.
    pub worker: WorkerId,
    /// When its lease runs out, unless it is renewed.
    pub lease_until: Timestamp,
    /// The definitions and versions that it knows.
    pub definitions: Vec<(String, u32)>,
}

/// Who lives and who holds what.
#[derive(Clone, Debug, Default)]
pub struct Survey {
    /// The database's time.
    pub now: Timestamp,
    /// Live workers.
    pub workers: Vec<Alive>,
    /// Per group and live owner, how many shards.
    pub held: Vec<(String, WorkerId, u32)>,
    /// Per group, how many shards nobody live holds.
    pub free: Vec<(String, u32)>,
}

/// One journal row: a transition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// Counts from 1 in each saga without gaps.
    pub seq: u32,
    /// What happened, as the core numbers it.
    pub kind: i16,
    /// The node it concerns, or -1.
    pub node: i16,
    /// When, by the engine's reading of the database's clock.
    pub at: Timestamp,
    /// The user's bytes: the input, an output, a signal's words.
    pub payload: Option<Arc<[u8]>>,
    /// The facts beside them, as JSON: attempt, error, due time, who, why.
    pub facts: Option<Arc<str>>,
}

/// The head row after a change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Head {
    /// It runs on.
    Live {
        /// When somebody must look at it at the latest; none while a step runs.
        /// [`i64::MAX`] for one that only a request or a signal can wake.
        wake_at: Option<Timestamp>,
        /// Whether it can no longer be cancelled.
        past_pivot: bool,
        /// Coarse state for lists, as the core numbers it. Changes rarely.
        state: i16,
        /// Whether it needs a person's eyes.
        attention: bool,
        /// Crashes counted against it so far.
        crashes: i16,
    },
    /// It has ended: the head row goes, the journal keeps the terminal state.
    Ended {
        /// The terminal state, as the core numbers it.
        state: i16,
    },
}

/// What a start brings.
#[derive(Clone)]
pub struct NewSaga {
    /// The definition's name.
    pub definition: Arc<str>,
    /// Its version.
    pub version: u32,
    /// The caller's id of the saga.
    pub id: Arc<str>,
    /// SHA-256 of the encoded input.
    pub input_hash: [u8; 32],
    /// Whatever the starter wants its hook to see; not stored.
    pub attachment: Option<Arc<dyn Any + Send + Sync>>,
}

impl fmt::Debug for NewSaga {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NewSaga")
            .field("definition", &self.definition)
            .field("version", &self.version)
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

/// What one flush does to one saga.
#[derive(Clone, Debug)]
pub struct Change {
    /// The saga.
    pub saga: Uuid,
    /// The shard and epoch under which the owner acts.
    pub lease: ShardLease,
    /// The `seq` on which the change builds; 0 for a start.
    pub expect_seq: u32,
    /// The `ctl` on which the change builds; 0 for a start.
    pub expect_ctl: i64,
    /// Present if this is the start.
    pub start: Option<NewSaga>,
    /// New journal rows, `expect_seq + 1` onwards.
    pub rows: Vec<Row>,
    /// The head row afterwards.
    pub head: Head,
    /// Signals (`saga_signal.n`) that these rows consumed.
    pub signals: Vec<i64>,
    /// Requests up to this number are applied; they can be forgotten.
    pub requests_until: i64,
    /// The same rows as the hook sees them, in order.
    pub transitions: Vec<Transition>,
}

/// What became of a change.
#[derive(Clone)]
pub enum Outcome {
    /// Durable, together with what the hook wrote.
    Committed,
    /// `seq` or `ctl` moved: reload the saga, apply what came in, decide again.
    Conflict,
    /// The shard is no longer ours at that epoch.
    Fenced,
    /// A start under an id that is taken.
    Exists {
        /// The saga that has it.
        saga: Uuid,
        /// Whether its input was the same.
        same_input: bool,
    },
    /// The hook refused this start, and said why.
    Refused(Arc<dyn Any + Send + Sync>),
}

impl fmt::Debug for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Committed => f.write_str("Committed"),
            Self::Conflict => f.write_str("Conflict"),
            Self::Fenced => f.write_str("Fenced"),
            Self::Exists { saga, same_input } => {
                write!(f, "Exists({saga}, same input: {same_input})")
            }
            Self::Refused(_) => f.write_str("Refused"),
        }
    }
}

/// A running saga as it stands in the store.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The saga.
    pub saga: Uuid,
    /// Its definition's name.
    pub definition: String,
    /// The caller's id.
    pub id: String,
    /// The version it was started under.
    pub version: u32,
    /// Its shard.
    pub shard: u16,
    /// The last transition.
    pub seq: u32,
    /// Raised by every request.
    pub ctl: i64,
    /// Crashes counted against it.
    pub crashes: i16,
    /// Whether it can no longer be cancelled.
    pub past_pivot: bool,
    /// When it is due.
    pub wake_at: Option<Timestamp>,
    /// All of its journal, in order.
    pub journal: Journal,
    /// Requests that are not applied yet, in order.
    pub commands: Vec<Command>,
    /// Signals that are not consumed yet, in order.
    pub signals: Vec<StoredSignal>,
}

/// A saga's rows in order.
pub type Journal = Vec<Row>;

/// A request that waits to be applied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Command {
    /// Its number: the `ctl` it made.
    pub n: i64,
    /// `cancel`, `pause`, `resume`, `retry`, `skip`, `resolve`.
    pub verb: String,
    /// Who asked.
    pub who: String,
    /// Why.
    pub reason: String,
    /// What belongs to the verb, as JSON.
    pub body: Option<String>,
}

/// What [`Store::request`](super::Store::request) is asked.
#[derive(Clone, Debug)]
pub struct Request {
    /// The definition's name.
    pub definition: String,
    /// The caller's id of the saga.
    pub id: String,
    /// Refuse unless the saga stands at this `seq`.
    pub if_seq: Option<u32>,
    /// Refuse once the saga has passed its pivot (a cancel).
    pub before_pivot: bool,
    /// Verb, who, why; `n` is given by the store.
    pub command: Command,
}

/// What a request met.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sighting {
    /// Accepted under this number: a promise.
    Accepted {
        /// The saga.
        saga: Uuid,
        /// The command's number.
        n: i64,
    },
    /// There is no such saga.
    NotFound,
    /// It has ended.
    Ended,
    /// It is past the point of no return.
    PastPivot,
    /// It stands at another `seq`.
    Moved {
        /// Where it stands.
        seq: u32,
    },
}

/// A signal in a saga's inbox.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredSignal {
    /// Its number, given by the store.
    pub n: i64,
    /// The definition's name.
    pub definition: String,
    /// The caller's id of the saga.
    pub id: String,
    /// The signal's name.
    pub name: String,
    /// The same key twice is one signal.
    pub dedupe: String,
    /// The encoded words.
    pub payload: Arc<[u8]>,
}

/// What became of a signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SignalOutcome {
    /// In the inbox.
    Accepted {
        /// The saga.
        saga: Uuid,
    },
    /// It was there before.
    Duplicate,
    /// There is no such saga.
    NotFound,
    /// It has ended.
    Ended,
}

/// What is known of a saga, running or ended.
#[derive(Clone, Debug)]
pub struct Found {
    /// The saga.
    pub saga: Uuid,
    /// SHA-256 of its input.
    pub input_hash: [u8; 32],
    /// The head row, while it runs.
    pub running: Option<Listed>,
}

/// A running saga in a list.
#[derive(Clone, Debug)]
pub struct Listed {
    /// The saga.
    pub saga: Uuid,
    /// Its definition's name.
    pub definition: String,
    /// Its version.
    pub version: u32,
    /// The caller's id.
    pub id: String,
    /// The last transition.
    pub seq: u32,
    /// Coarse state, as the core numbers it.
    pub state: i16,
    /// Whether it needs a person's eyes.
    pub attention: bool,
    /// When it is due.
    pub wake_at: Option<Timestamp>,
}

/// Where a running saga stands, in one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Standing {
    /// It goes forward.
    Running,
    /// It has turned back.
    TurningBack,
    /// It waits for a person.
    Parked,
    /// A person lets nothing start in it.
    Paused,
}

impl Standing {
    /// As heads carry it.
    #[must_use]
    pub const fn number(self) -> i16 {
        match self {
            Self::Running => 0,
            Self::TurningBack => 1,
            Self::Parked => 2,
            Self::Paused => 3,
        }
    }

    const ALL: [Self; 4] = [Self::Running, Self::TurningBack, Self::Parked, Self::Paused];
}

impl Listed {
    /// Where it stands; none if a newer binary wrote a word that this one does not know.
    #[must_use]
    pub fn standing(&self) -> Option<Standing> {
        let mut all = Standing::ALL.into_iter();
        all.find(|standing| standing.number() == self.state)
    }
}

/// Which running sagas to list.
///
/// # Examples
///
/// ```
/// # use swifttrack_saga::{Engine, Error};
/// use swifttrack_saga::store::{Page, Standing};
///
/// # async fn look(engine: Engine) -> Result<(), Error> {
/// let mut page = Page::of(50).standing(Standing::Parked);
/// loop {
///     let parked = engine.list(page.clone()).await?;
///     let Some(last) = parked.last() else { break };
///     page = page.after(last.saga);
///     // ... show them to somebody
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, Default)]
pub struct Page {
    /// Only of this definition.
    pub definition: Option<String>,
    /// Only in this coarse state.
    pub state: Option<i16>,
    /// After this saga (its uuid is in time order).
    pub after: Option<Uuid>,
    /// At most so many.
    pub limit: u32,
}

impl Page {
    /// The first so many, of all.
    #[must_use]
    pub fn of(limit: u32) -> Self {
        Self {
            limit,
            ..Self::default()
        }
    }

    /// Only of this definition.
    #[must_use]
    pub fn definition(mut self, name: impl Into<String>) -> Self {
        self.definition = Some(name.into());
        self
    }

    /// Only those that stand so.
    #[must_use]
    pub fn standing(mut self, standing: Standing) -> Self {
        self.state = Some(standing.number());
        self
    }

    /// Those that come after this one.
    #[must_use]
    pub fn after(mut self, saga: Uuid) -> Self {
        self.after = Some(saga);
        self
    }
}

/// Why a store did not do what it was asked.
pub struct StoreError {
    kind: StoreErrorKind,
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum StoreErrorKind {
    Unavailable,
    Retriable,
    Ambiguous,
    Fenced,
    Hook,
    Schema,
    Invalid,
}

macro_rules! kinds {
    ($($(#[$doc:meta])* $make:ident $is:ident $kind:ident;)*) => {
        impl StoreError {
            $(
                $(#[$doc])*
                pub fn $make(source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
                    Self { kind: StoreErrorKind::$kind, source: Some(source.into()) }
                }

                $(#[$doc])*
                #[must_use]
                pub fn $is(&self) -> bool {
                    self.kind == StoreErrorKind::$kind
                }
            )*
        }
    };
}

kinds! {
    /// The database cannot be reached, or answered nonsense; nothing happened.
    unavailable is_unavailable Unavailable;
    /// A deadlock, a lock or statement timeout, a serialization failure; nothing happened.
    retriable is_retriable Retriable;
    /// The connection was lost during COMMIT: it happened or it did not.
    ambiguous is_ambiguous Ambiguous;
    /// This worker's lease is gone.
    fenced is_fenced Fenced;
    /// The hook failed; nothing happened.
    hook is_hook Hook;
    /// The schema is newer than this binary, or not there.
    schema is_schema Schema;
    /// What was asked cannot be stored (too large, bad characters).
    invalid is_invalid Invalid;
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.kind {
            StoreErrorKind::Unavailable => "the store is unavailable",
            StoreErrorKind::Retriable => "the store asks to try again",
            StoreErrorKind::Ambiguous => "the connection was lost during commit",
            StoreErrorKind::Fenced => "the lease of this worker is gone",
            StoreErrorKind::Hook => "the hook failed",
            StoreErrorKind::Schema => "the schema does not fit this binary",
            StoreErrorKind::Invalid => "the value cannot be stored",
        })
    }
}

impl fmt::Debug for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StoreError")
            .field("kind", &self.kind)
            .field("source", &self.source)
            .finish()
    }
}

impl std::error::Error for StoreError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}
