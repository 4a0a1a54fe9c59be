//! What went wrong with a call, in the words a saga can act on.

use std::fmt;
use std::time::Duration;

type Source = Box<dyn std::error::Error + Send + Sync>;

/// What is known about the effect of a call that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Class {
    /// It did not happen and will not: the partner said so for a reason that a repetition does not change.
    Rejected,
    /// It did not happen yet: nothing was sent, or the partner said so and may be asked again.
    NotApplied,
    /// It may have happened.
    Unknown,
    /// The answer broke the protocol, so nothing it says counts: treated as [`Unknown`](Self::Unknown).
    Protocol,
}

impl Class {
    /// Whether the effect may have happened: [`Unknown`](Self::Unknown) and [`Protocol`](Self::Protocol).
    #[must_use]
    pub const fn is_unknown(self) -> bool {
        matches!(self, Self::Unknown | Self::Protocol)
    }
}

/// Why a call gave no answer, and what that says about its effect.
///
/// # The first-byte rule
///
/// Until the first byte of a request is handed to the socket, an error is
/// [`Class::NotApplied`]. After it, only the partner's own well-formed word can
/// say [`Class::Rejected`] or `NotApplied`; all else is [`Class::Unknown`],
/// a bare 503 of a box in the middle included. A frame with a checksum cannot
/// be applied in part, so for framed protocols the line is the last byte.
///
/// # Local refusals
///
/// What was refused on our own side (a full window, a spent deadline) is marked
/// [`is_local`](Self::is_local) and says nothing about the partner's health:
/// a circuit must not count it.
///
/// # In the words of a saga and of a circuit
///
/// Neither crate knows the other, so the two mappings stand in the application.
/// There is nothing to decide in them:
///
/// ```
/// use swifttrack_adapters::{Class, Error};
/// # struct StepError;
/// # impl StepError {
/// #     fn rejected(_: String, _: String) -> Self { Self }
/// #     fn retry(_: String, _: String) -> Self { Self }
/// #     fn unknown(_: String, _: String) -> Self { Self }
/// #     fn after(self, _: std::time::Duration) -> Self { self }
/// # }
/// # enum Outcome { Success, Ignore, Failure }
///
/// /// For the `run` of a `swifttrack_saga::Step`.
/// fn step_error(error: &Error) -> StepError {
///     let code = error.code().unwrap_or("ADAPTER").to_owned();
///     let said = error.to_string();
///     let step = match error.class() {
///         Class::Rejected => StepError::rejected(code, said),
///         Class::NotApplied => StepError::retry(code, said),
///         Class::Unknown | Class::Protocol => StepError::unknown(code, said),
///     };
///     match error.retry_after() {
///         Some(pause) => step.after(pause),
///         None => step,
///     }
/// }
///
/// /// As the classifier of a `swifttrack_breaker::BreakerLayer`.
/// fn outcome<T>(result: Result<&T, &Error>) -> Outcome {
///     match result {
///         Err(error) if error.counts_against_partner() => Outcome::Failure,
///         Err(error) if error.is_local() => Outcome::Ignore,
///         // A refusal for a reason of business comes from a partner in good health.
///         Ok(_) | Err(_) => Outcome::Success,
///     }
/// }
/// # let _ = (step_error(&Error::local("")), outcome(Ok(&())));
/// ```
pub struct Error {
    class: Class,
    local: bool,
    code: Option<Box<str>>,
    message: Box<str>,
    retry_after: Option<Duration>,
    source: Option<Source>,
}

impl Error {
    /// An error of this class; the message is one lower-case phrase without a full stop.
    pub fn new(class: Class, message: impl Into<Box<str>>) -> Self {
        Self {
            class,
            local: false,
            code: None,
            message: message.into(),
            retry_after: None,
            source: None,
        }
    }

    /// It did not happen and will not.
    pub fn rejected(message: impl Into<Box<str>>) -> Self {
        Self::new(Class::Rejected, message)
    }

    /// It did not happen yet.
    pub fn not_applied(message: impl Into<Box<str>>) -> Self {
        Self::new(Class::NotApplied, message)
    }

    /// It may have happened.
    pub fn unknown(message: impl Into<Box<str>>) -> Self {
        Self::new(Class::Unknown, message)
    }

    /// The answer broke the protocol.
    pub fn protocol(message: impl Into<Box<str>>) -> Self {
        Self::new(Class::Protocol, message)
    }

    /// Refused on our own side before anything was sent: not applied, and no fault of the partner.
    pub fn local(message: impl Into<Box<str>>) -> Self {
        Self {
            local: true,
            ..Self::new(Class::NotApplied, message)
        }
    }

    /// Adds the partner's own code, such as `CREDIT_LIMIT_EXCEEDED`.
    #[must_use]
    pub fn with_code(mut self, code: impl Into<Box<str>>) -> Self {
        self.code = Some(code.into());
        self
    }

    /// Adds how long the partner asked to be left alone.
    #[must_use]
    pub fn with_retry_after(mut self, retry_after: Option<Duration>) -> Self {
        self.retry_after = retry_after;
        self
    }

    /// Adds the cause.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<Source>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// What is known about the effect.
    #[must_use]
    pub const fn class(&self) -> Class {
        self.class
    }

    /// It did not happen and will not.
    #[must_use]
    pub const fn is_rejected(&self) -> bool {
        matches!(self.class, Class::Rejected)
    }

    /// It did not happen yet.
    #[must_use]
    pub const fn is_not_applied(&self) -> bool {
        matches!(self.class, Class::NotApplied)
    }

    /// It may have happened.
    #[must_use]
    pub const fn is_unknown(&self) -> bool {
        self.class.is_unknown()
    }

    /// Whether it was refused on our own side.
    #[must_use]
    pub const fn is_local(&self) -> bool {
        self.local
    }

    /// Whether a circuit should count it against the partner: an unknown
    /// outcome, or a call that was not applied for a reason that is not ours.
    #[must_use]
    pub const fn counts_against_partner(&self) -> bool {
        match self.class {
            Class::Rejected => false,
            Class::NotApplied => !self.local,
            Class::Unknown | Class::Protocol => true,
        }
    }

    /// The partner's own code, if it gave one.
    #[must_use]
    pub fn code(&self) -> Option<&str> {
        self.code.as_deref()
    }

    /// What happened, in one phrase.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.message
    }

    /// How long the partner asked to be left alone.
    #[must_use]
    pub const fn retry_after(&self) -> Option<Duration> {
        self.retry_after
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.code {
            Some(code) => write!(f, "{} ({code})", self.message),
            None => f.write_str(&self.message),
        }
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Error")
            .field("class", &self.class)
            .field("local", &self.local)
            .field("code", &self.code)
            .field("message", &self.message)
            .field("retry_after", &self.retry_after)
            .field("source", &self.source)
            .finish()
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}
