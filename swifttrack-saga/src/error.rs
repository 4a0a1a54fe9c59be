//! What a step, an undo and a question may fail with.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::hook::Failure;

type Source = Box<dyn std::error::Error + Send + Sync>;

/// No message in the journal is longer.
pub(crate) const MESSAGE_BYTES_MAX: usize = 500;
/// No code in the journal is longer.
pub(crate) const CODE_BYTES_MAX: usize = 100;

/// What an attempt that gave no output says about its effect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Class {
    /// It did not happen and never will: the saga turns back.
    Rejected,
    /// It did not happen yet: try again, at the earliest after the pause.
    Retry {
        /// What the partner asked for, if it did.
        after: Option<Duration>,
    },
    /// It may have happened: ask, then repeat under the same key.
    Unknown {
        /// What the partner asked for, if it did.
        after: Option<Duration>,
    },
    /// Nothing was sent, since the way to the partner is closed. Uses up no attempt.
    Blocked {
        /// What has to open, as [`Engine::wake`](crate::Engine::wake) knows it.
        on: Arc<str>,
        /// When to look again if nobody wakes it.
        retry_after: Duration,
    },
}

/// Why an attempt gave no output. Its [class](Class) decides what happens next.
///
/// There is no blanket `From`: an error whose class nobody thought about must not slip
/// through `?`. Write `impl From<YourError> for StepError` once per partner.
pub struct StepError {
    pub(crate) class: Class,
    pub(crate) code: Cow<'static, str>,
    pub(crate) source: Option<Source>,
}

impl StepError {
    /// It did not happen and never will. The code is what the journal and the hook see.
    pub fn rejected(code: impl Into<Cow<'static, str>>, source: impl Into<Source>) -> Self {
        Self::new(Class::Rejected, code, source)
    }

    /// It did not happen yet.
    pub fn retry(code: impl Into<Cow<'static, str>>, source: impl Into<Source>) -> Self {
        Self::new(Class::Retry { after: None }, code, source)
    }

    /// It may have happened.
    pub fn unknown(code: impl Into<Cow<'static, str>>, source: impl Into<Source>) -> Self {
        Self::new(Class::Unknown { after: None }, code, source)
    }

    /// Nothing was sent. The step goes on when [`Engine::wake`](crate::Engine::wake) is
    /// called with `on`, or after `retry_after`, and this uses up no attempt.
    pub fn blocked(on: impl Into<Arc<str>>, retry_after: Duration) -> Self {
        let class = Class::Blocked {
            on: on.into(),
            retry_after,
        };
        Self {
            class,
            code: Cow::Borrowed("BLOCKED"),
            source: None,
        }
    }

    /// Not before this, as the partner asked. Means nothing for the other classes.
    #[must_use]
    pub fn after(mut self, pause: Duration) -> Self {
        if let Class::Retry { after } | Class::Unknown { after } = &mut self.class {
            *after = Some(pause);
        }
        self
    }

    /// What it says about the effect.
    #[must_use]
    pub fn class(&self) -> &Class {
        &self.class
    }

    /// The code to act on.
    #[must_use]
    pub fn code(&self) -> &str {
        &self.code
    }

    fn new(class: Class, code: impl Into<Cow<'static, str>>, source: impl Into<Source>) -> Self {
        Self {
            class,
            code: code.into(),
            source: Some(source.into()),
        }
    }

    pub(crate) fn failure(&self) -> Failure {
        failure(&self.code, self.source.as_deref())
    }
}

impl fmt::Display for StepError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.class {
            Class::Rejected => f.write_str("rejected"),
            Class::Retry { .. } => f.write_str("not applied"),
            Class::Unknown { .. } => f.write_str("outcome unknown"),
            Class::Blocked { on, .. } => write!(f, "blocked on {on}"),
        }
    }
}

impl fmt::Debug for StepError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StepError")
            .field("class", &self.class)
            .field("code", &self.code)
            .field("source", &self.source)
            .finish()
    }
}

impl std::error::Error for StepError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}

/// Why an attempt after the pivot gave no output. It cannot say "rejected".
#[derive(Debug)]
pub struct ForwardError(StepError);

impl ForwardError {
    /// It did not happen yet.
    pub fn retry(code: impl Into<Cow<'static, str>>, source: impl Into<Source>) -> Self {
        Self(StepError::retry(code, source))
    }

    /// It may have happened.
    pub fn unknown(code: impl Into<Cow<'static, str>>, source: impl Into<Source>) -> Self {
        Self(StepError::unknown(code, source))
    }

    /// Nothing was sent; see [`StepError::blocked`].
    pub fn blocked(on: impl Into<Arc<str>>, retry_after: Duration) -> Self {
        Self(StepError::blocked(on, retry_after))
    }

    /// Not before this, as the partner asked.
    #[must_use]
    pub fn after(self, pause: Duration) -> Self {
        Self(self.0.after(pause))
    }
}

impl From<ForwardError> for StepError {
    fn from(error: ForwardError) -> Self {
        error.0
    }
}

/// An undo or a question did not get through. It is always repeated, so there
/// is nothing to classify, and `?` takes any error.
#[derive(Debug)]
pub struct NotYet {
    pub(crate) blocked: Option<(Arc<str>, Duration)>,
    pub(crate) after: Option<Duration>,
    pub(crate) code: Cow<'static, str>,
    pub(crate) source: Option<Source>,
}

impl NotYet {
    /// It failed, with a code for the journal and the hook.
    pub fn new(code: impl Into<Cow<'static, str>>, source: impl Into<Source>) -> Self {
        Self {
            blocked: None,
            after: None,
            code: code.into(),
            source: Some(source.into()),
        }
    }

    /// Nothing was sent; see [`StepError::blocked`].
    pub fn blocked(on: impl Into<Arc<str>>, retry_after: Duration) -> Self {
        Self {
            blocked: Some((on.into(), retry_after)),
            after: None,
            code: Cow::Borrowed("BLOCKED"),
            source: None,
        }
    }

    /// Not before this, as the partner asked.
    #[must_use]
    pub fn after(mut self, pause: Duration) -> Self {
        self.after = Some(pause);
        self
    }

    /// What stood in the way.
    #[must_use]
    pub fn source(&self) -> Option<&(dyn std::error::Error + Send + Sync + 'static)> {
        self.source.as_deref()
    }

    pub(crate) fn failure(&self) -> Failure {
        failure(&self.code, self.source.as_deref())
    }
}

impl<E: std::error::Error + Send + Sync + 'static> From<E> for NotYet {
    fn from(source: E) -> Self {
        Self::new("", source)
    }
}

/// A code and one phrase out of an error and its sources.
pub(crate) fn failure(
    code: &str,
    source: Option<&(dyn std::error::Error + Send + Sync + 'static)>,
) -> Failure {
    let mut message = String::new();
    let mut next = source.map(|source| source as &(dyn std::error::Error + 'static));
    while let Some(error) = next {
        if message.len() >= MESSAGE_BYTES_MAX {
            break;
        }
        if !message.is_empty() {
            message.push_str(": ");
        }
        message.push_str(&error.to_string());
        next = error.source();
    }
    Failure {
        code: clip(code, CODE_BYTES_MAX).into(),
        message: clip(&message, MESSAGE_BYTES_MAX).into(),
    }
}

/// The longest start of `text` that fits and ends between characters.
pub(crate) fn clip(text: &str, bytes_max: usize) -> &str {
    let mut end = text.len().min(bytes_max);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}
