//! What the journal says, and how it is written.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::definition::Definition;
use crate::hook::Failure;
use crate::store::{Row, Timestamp};

/// One journal row, read.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Entry {
    pub(crate) kind: EntryKind,
    pub(crate) node: Option<u16>,
    pub(crate) payload: Option<Arc<[u8]>>,
    pub(crate) facts: Facts,
}

macro_rules! entry_kinds {
    ($($name:ident = $number:literal, $doc:literal;)*) => {
        /// What a row says. The numbers are in databases: none is ever used for something else.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub(crate) enum EntryKind {
            $(#[doc = $doc] $name = $number,)*
        }

        impl EntryKind {
            fn of(number: i16) -> Option<Self> {
                match number {
                    $($number => Some(Self::$name),)*
                    _ => None,
                }
            }
        }
    };
}

entry_kinds! {
    Started = 1, "It began; the payload is its input.";
    StepDone = 2, "The payload is the output.";
    StepRetry = 3, "Another attempt is planned.";
    StepFailed = 4, "No other attempt is planned.";
    UndoDone = 5, "A step was undone.";
    UndoRetry = 6, "Another attempt to undo it is planned.";
    Parked = 7, "It waits for a person.";
    Cancel = 8, "It was asked to turn back.";
    Operator = 9, "A person did something else.";
    Attention = 10, "A person should look.";
    AttentionCleared = 11, "It works again.";
    Attempt = 12, "A pause between attempts is over.";
    Slept = 13, "A sleep is over.";
    TimedOut = 14, "A signal has stayed away for too long.";
    Signal = 15, "A signal came; the payload is its words.";
    Interrupted = 16, "Its process ended while attempts ran.";
    Released = 17, "What was held may start.";
    Withdrawn = 18, "An attempt was taken back before anything was sent.";
    Deadline = 19, "The saga's time is over.";
    Deferred = 20, "A refused attempt goes on later, out of memory.";
}

/// The facts of a row beside its payload. Absent ones cost nothing.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Facts {
    /// The version of the definition; on the first row.
    #[serde(rename = "v", default, skip_serializing_if = "Option::is_none")]
    pub(crate) version: Option<u32>,
    /// Its fingerprint; on the first row.
    #[serde(rename = "f", default, skip_serializing_if = "Option::is_none")]
    pub(crate) fingerprint: Option<u64>,
    /// The attempt, if it was not the first.
    #[serde(rename = "a", default, skip_serializing_if = "Option::is_none")]
    pub(crate) attempt: Option<u32>,
    #[serde(rename = "u", default, skip_serializing_if = "is_false")]
    pub(crate) unknown: bool,
    #[serde(rename = "c", default, skip_serializing_if = "Option::is_none")]
    pub(crate) code: Option<Arc<str>>,
    #[serde(rename = "m", default, skip_serializing_if = "Option::is_none")]
    pub(crate) message: Option<Arc<str>>,
    #[serde(rename = "d", default, skip_serializing_if = "Option::is_none")]
    pub(crate) due: Option<i64>,
    /// Microseconds.
    #[serde(rename = "p", default, skip_serializing_if = "Option::is_none")]
    pub(crate) pause: Option<u64>,
    /// Until when the attempt could still send something.
    #[serde(rename = "t", default, skip_serializing_if = "Option::is_none")]
    pub(crate) until: Option<i64>,
    /// Nothing may start with this row.
    #[serde(rename = "h", default, skip_serializing_if = "is_false")]
    pub(crate) hold: bool,
    /// The number of the request or signal.
    #[serde(rename = "n", default, skip_serializing_if = "Option::is_none")]
    pub(crate) number: Option<i64>,
    #[serde(rename = "w", default, skip_serializing_if = "Option::is_none")]
    pub(crate) who: Option<Arc<str>>,
    #[serde(rename = "y", default, skip_serializing_if = "Option::is_none")]
    pub(crate) why: Option<Arc<str>>,
    /// An operator found that it took effect.
    #[serde(rename = "o", default, skip_serializing_if = "is_false")]
    pub(crate) done: bool,
    /// The trace that its starter was in; on the first row.
    #[serde(rename = "l", default, skip_serializing_if = "Option::is_none")]
    pub(crate) trace: Option<Arc<str>>,
    /// The verb of an operator, or the name of a signal.
    #[serde(rename = "k", default, skip_serializing_if = "Option::is_none")]
    pub(crate) word: Option<Arc<str>>,
    /// It changed nothing, since the saga had moved on.
    #[serde(rename = "i", default, skip_serializing_if = "is_false")]
    pub(crate) ignored: bool,
}

#[allow(clippy::trivially_copy_pass_by_ref)] // serde's shape
fn is_false(flag: &bool) -> bool {
    !*flag
}

impl Facts {
    pub(crate) fn failure(&self) -> Failure {
        let text = |text: &Option<Arc<str>>| text.clone().unwrap_or_else(|| Arc::from(""));
        Failure {
            code: text(&self.code),
            message: text(&self.message),
        }
    }

    pub(crate) fn of(failure: Failure) -> Self {
        Self {
            code: Some(failure.code).filter(|code| !code.is_empty()),
            message: Some(failure.message).filter(|message| !message.is_empty()),
            ..Self::default()
        }
    }

    fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

impl Entry {
    pub(crate) fn new(kind: EntryKind) -> Self {
        Self {
            kind,
            node: None,
            payload: None,
            facts: Facts::default(),
        }
    }

    pub(crate) fn at(kind: EntryKind, node: u16) -> Self {
        Self {
            node: Some(node),
            ..Self::new(kind)
        }
    }

    /// The attempt that it is about.
    pub(crate) fn attempt(&self) -> u32 {
        self.facts.attempt.unwrap_or(1)
    }

    /// As a row of the journal.
    pub(crate) fn row(&self, seq: u32, at: Timestamp) -> Row {
        let facts = (!self.facts.is_empty()).then(|| {
            serde_json::to_string(&self.facts)
                .expect("facts are strings and numbers")
                .into()
        });
        Row {
            seq,
            kind: self.kind as i16,
            node: self
                .node
                .map_or(-1, |node| i16::try_from(node).expect("at most 256 nodes")),
            at,
            payload: self.payload.clone(),
            facts,
        }
    }

    /// Out of a row of the journal.
    pub(crate) fn read(definition: &Definition, row: &Row) -> Result<Self, Unreadable> {
        let kind = EntryKind::of(row.kind)
            .ok_or_else(|| Unreadable(format!("row {} has kind {}", row.seq, row.kind)))?;
        let node = match u16::try_from(row.node) {
            Err(_) => None,
            Ok(node) if usize::from(node) < definition.nodes.len() => Some(node),
            Ok(node) => {
                let reason = format!("row {} is about node {node}, which is not there", row.seq);
                return Err(Unreadable(reason));
            }
        };
        let facts = match &row.facts {
            None => Facts::default(),
            Some(facts) => serde_json::from_str(facts)
                .map_err(|error| Unreadable(format!("facts of row {}: {error}", row.seq)))?,
        };
        let about_node = matches!(
            kind,
            EntryKind::StepDone
                | EntryKind::StepRetry
                | EntryKind::StepFailed
                | EntryKind::UndoDone
                | EntryKind::UndoRetry
                | EntryKind::Attempt
                | EntryKind::Slept
                | EntryKind::TimedOut
                | EntryKind::Withdrawn
                | EntryKind::Deferred
        );
        if about_node && node.is_none() {
            return Err(Unreadable(format!("row {} names no node", row.seq)));
        }
        if kind == EntryKind::Started && facts.version == Some(definition.version) {
            let fingerprint = facts.fingerprint.unwrap_or(definition.fingerprint);
            if fingerprint != definition.fingerprint {
                return Err(Unreadable(format!(
                    "it was started under another definition of {:?} version {}: fingerprint {:016x}, not {:016x}",
                    definition.name, definition.version, fingerprint, definition.fingerprint
                )));
            }
        }
        Ok(Self {
            kind,
            node,
            payload: row.payload.clone(),
            facts,
        })
    }
}

/// Why a journal cannot be folded by this binary.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Unreadable(String);

impl Unreadable {
    pub(crate) fn gap(seq: u32, next: u32) -> Self {
        Self(format!("row {next} follows row {seq}"))
    }

    pub(crate) fn new(reason: impl Into<String>) -> Self {
        Self(reason.into())
    }
}

/// The version of the definition, out of the first row of a journal.
pub(crate) fn version_in(row: &Row) -> Option<u32> {
    let facts: Facts = serde_json::from_str(row.facts.as_deref()?).ok()?;
    facts.version
}
