//! How CMS says no.

use swifttrack_adapters::soap::{Decode, Element, Encode, Fault, FaultCode, Invalid, Writer};

use super::{NAMESPACE, words};

/// Why a request was not done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Code {
    /// No such client.
    InvalidClientId,
    /// The client may not order for now.
    ClientSuspended,
    /// The client's contract has ended.
    ContractExpired,
    /// The order costs more than the client may still spend.
    CreditLimitExceeded,
    /// The order was cancelled, so it can have no contract.
    Cancelled,
    /// The key belongs to another body.
    KeyReused,
    /// The message breaks the schema.
    Malformed,
    /// The caller is not who it says.
    AuthFailed,
    /// Not now.
    Busy,
    /// Something broke half-way.
    Internal,
}

words!(Code {
    InvalidClientId = "INVALID_CLIENT_ID",
    ClientSuspended = "CLIENT_SUSPENDED",
    ContractExpired = "CONTRACT_EXPIRED",
    CreditLimitExceeded = "CREDIT_LIMIT_EXCEEDED",
    Cancelled = "CANCELLED",
    KeyReused = "KEY_REUSED",
    Malformed = "MALFORMED",
    AuthFailed = "AUTH_FAILED",
    Busy = "BUSY",
    Internal = "INTERNAL",
});

impl Code {
    /// What it says about the effect.
    #[must_use]
    pub const fn class(self) -> FaultClass {
        match self {
            Self::AuthFailed | Self::Busy => FaultClass::NotApplied,
            Self::Internal => FaultClass::Unknown,
            _ => FaultClass::Rejected,
        }
    }
}

/// What a fault says about the effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FaultClass {
    /// It did not happen and will not.
    Rejected,
    /// It did not happen yet.
    NotApplied,
    /// It may have happened.
    Unknown,
}

words!(FaultClass {
    Rejected = "REJECTED",
    NotApplied = "NOT_APPLIED",
    Unknown = "UNKNOWN",
});

/// The detail of a fault.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct CmsFault {
    /// Why, as a word; a reader takes also words that [`Code`] does not have.
    pub code: String,
    /// What that says about the effect.
    pub class: FaultClass,
    /// When to ask again.
    pub retry_after_seconds: Option<u32>,
    /// Why, for a person.
    pub message: String,
}

impl CmsFault {
    /// A fault with this code, and the class that belongs to it.
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self {
            code: code.as_str().to_owned(),
            class: code.class(),
            retry_after_seconds: None,
            message: message.into(),
        }
    }

    /// Asks the caller to wait so long.
    #[must_use]
    pub const fn retry_after_seconds(mut self, seconds: u32) -> Self {
        self.retry_after_seconds = Some(seconds);
        self
    }

    /// The whole fault: the caller's own if it was rejected or not let in, CMS's if not.
    #[must_use]
    pub fn to_soap(&self) -> Fault<&Self> {
        let caller = self.class == FaultClass::Rejected || self.code == Code::AuthFailed.as_str();
        Fault {
            code: match caller {
                true => FaultCode::Client,
                false => FaultCode::Server,
            },
            reason: self.message.clone(),
            detail: Some(self),
        }
    }
}

impl Encode for CmsFault {
    fn encode(&self, out: &mut Writer) {
        out.element("c:CmsFault", |out| {
            out.text("c:Code", &self.code);
            out.text("c:Class", self.class.as_str());
            if let Some(seconds) = self.retry_after_seconds {
                out.value("c:RetryAfterSeconds", seconds);
            }
            out.text("c:Message", &self.message);
        });
    }
}

impl Decode for CmsFault {
    fn decode(e: &mut Element<'_, '_>) -> Result<Option<Self>, Invalid> {
        if !e.named(NAMESPACE, "CmsFault") {
            return Ok(None);
        }
        Ok(Some(Self {
            code: e.string("Code")?,
            class: e.value("Class")?,
            retry_after_seconds: e.value_opt("RetryAfterSeconds")?,
            message: e.string("Message")?,
        }))
    }
}
