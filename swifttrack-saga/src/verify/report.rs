//! What an exploration found.

use std::fmt;

use crate::hook::What;

/// What was explored, and what was found.
#[derive(Clone, Debug)]
pub struct Report {
    pub(crate) paths: u64,
    pub(crate) states: u64,
    pub(crate) faults_max: u32,
    pub(crate) exhausted: bool,
    pub(crate) counterexample: Option<Counterexample>,
}

/// A history that breaks a rule, with as few faults as any.
#[derive(Clone, Debug)]
pub struct Counterexample {
    pub(crate) rule: String,
    pub(crate) story: Vec<String>,
    pub(crate) choices: Vec<u8>,
    pub(crate) faults: u32,
}

impl Report {
    /// How many paths were run.
    #[must_use]
    pub fn paths(&self) -> u64 {
        self.paths
    }

    /// How many distinct states of saga, attempts, partners and network were seen.
    #[must_use]
    pub fn states(&self) -> u64 {
        self.states
    }

    /// Whether everything within the bound was seen, and broke no rule.
    #[must_use]
    pub fn holds(&self) -> bool {
        self.exhausted && self.counterexample.is_none()
    }

    /// Whether everything within the bound was seen.
    #[must_use]
    pub fn exhausted(&self) -> bool {
        self.exhausted
    }

    /// What broke a rule, if anything did.
    #[must_use]
    pub fn counterexample(&self) -> Option<&Counterexample> {
        self.counterexample.as_ref()
    }
}

impl Counterexample {
    /// The rule that was broken, and by what.
    #[must_use]
    pub fn rule(&self) -> &str {
        &self.rule
    }

    /// What happened, line by line.
    #[must_use]
    pub fn story(&self) -> &[String] {
        &self.story
    }

    /// The choices that lead there, for [`Explorer::replay`](super::Explorer::replay).
    #[must_use]
    pub fn choices(&self) -> &[u8] {
        &self.choices
    }

    /// How many faults it takes.
    #[must_use]
    pub fn faults(&self) -> u32 {
        self.faults
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seen = match self.exhausted {
            true => "everything was seen",
            false => "not everything was seen",
        };
        writeln!(
            f,
            "{} paths, {} states, up to {} faults: {seen}",
            self.paths, self.states, self.faults_max
        )?;
        match &self.counterexample {
            Some(found) => found.fmt(f),
            None => f.write_str("no rule was broken"),
        }
    }
}

impl fmt::Display for Counterexample {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.rule)?;
        for (line, what) in self.story.iter().enumerate() {
            writeln!(f, "{:>4}  {what}", line + 1)?;
        }
        write!(f, "replay with {:?}", self.choices)
    }
}

/// A transition in the words of a story.
pub(super) fn phrase(what: &What) -> String {
    let maybe = |unknown: bool| match unknown {
        true => "it may have happened",
        false => "it has not happened",
    };
    match what {
        What::Started { .. } => "the saga begins".to_owned(),
        What::StepDone { step, .. } => format!("{step} is done"),
        What::StepRetry {
            step,
            unknown,
            error,
            ..
        } => format!(
            "{step} failed, {} ({}), and is tried again",
            maybe(*unknown),
            error.code
        ),
        What::StepFailed {
            step,
            unknown,
            error,
            ..
        } => format!(
            "{step} failed for good, {} ({})",
            maybe(*unknown),
            error.code
        ),
        What::UndoDone { step, .. } => format!("{step} is undone"),
        What::UndoRetry { step, error, .. } => {
            format!(
                "the undo of {step} failed ({}), and is tried again",
                error.code
            )
        }
        What::CancelRequested { .. } => "the saga is cancelled".to_owned(),
        What::Parked { reason } => format!("the saga is parked: {reason}"),
        What::Other {
            kind,
            step: Some(step),
        } => format!("{step}: {kind}"),
        What::Other { kind, step: None } => (*kind).to_owned(),
        other => format!("{other:?}"),
    }
}
