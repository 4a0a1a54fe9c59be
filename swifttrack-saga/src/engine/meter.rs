//! What is counted, by the `metrics` facade.

use std::fmt;
use std::sync::Arc;

use metrics::{Counter, Histogram, Unit};
use tokio::time::Instant;

use crate::core::{ENDED_COMPLETED, EntryKind, Refusal};
use crate::definition::Definition;
use crate::engine::attempt::Verdict;
use crate::store::{Change, Head};

/// The handles of one definition, made once, so that an attempt costs no lookup.
#[derive(Clone)]
pub(crate) struct Meter {
    started: Counter,
    completed: Counter,
    compensated: Counter,
    parked: Counter,
    attention: Counter,
    steps: Vec<StepMeter>,
}

/// Those of one node.
#[derive(Clone)]
struct StepMeter {
    seconds: Histogram,
    /// By [`Ended`].
    attempts: [Counter; OUTCOMES.len()],
}

/// How an attempt ended, as the labels say it.
const OUTCOMES: [&str; 7] = [
    "done",
    "rejected",
    "retry",
    "unknown",
    "blocked",
    "undone",
    "not_undone",
];

impl Meter {
    pub(crate) fn new(definition: &Definition) -> Self {
        let name = &definition.name;
        let counter = |key: &'static str| metrics::counter!(key, "definition" => name.clone());
        let ended = |outcome: &'static str| metrics::counter!("saga_ended_total", "definition" => name.clone(), "outcome" => outcome);
        let nodes = definition.nodes.iter();
        Self {
            started: counter("saga_started_total"),
            completed: ended("completed"),
            compensated: ended("compensated"),
            parked: counter("saga_parked_total"),
            attention: counter("saga_attention_total"),
            steps: nodes.map(|node| StepMeter::new(name, &node.name)).collect(),
        }
    }

    /// Counts what is durable, by its rows: without a hook nobody makes transitions of them.
    pub(crate) fn committed(&self, change: &Change) {
        if change.start.is_some() {
            self.started.increment(1);
        }
        for row in &change.rows {
            if row.kind == EntryKind::Parked as i16 {
                self.parked.increment(1);
            } else if row.kind == EntryKind::Attention as i16 {
                self.attention.increment(1);
            }
        }
        match change.head {
            Head::Ended {
                state: ENDED_COMPLETED,
            } => self.completed.increment(1),
            Head::Ended { .. } => self.compensated.increment(1),
            Head::Live { .. } => (),
        }
    }

    /// Counts an attempt that has ended.
    pub(crate) fn attempted(&self, node: u16, began: Instant, verdict: &Verdict) {
        let step = &self.steps[usize::from(node)];
        step.seconds.record(began.elapsed().as_secs_f64());
        let outcome = match verdict {
            Verdict::Done { .. } => 0,
            Verdict::Failed { refusal, .. } => match refusal {
                Refusal::Rejected | Refusal::Never => 1,
                Refusal::Retry => 2,
                Refusal::Unknown => 3,
            },
            Verdict::Blocked { .. } => 4,
            Verdict::UndoDone => 5,
            Verdict::UndoFailed { .. } => 6,
        };
        step.attempts[outcome].increment(1);
    }
}

impl StepMeter {
    fn new(definition: &Arc<str>, step: &Arc<str>) -> Self {
        Self {
            seconds: metrics::histogram!(
                "saga_attempt_seconds",
                "definition" => definition.clone(),
                "step" => step.clone()
            ),
            attempts: OUTCOMES.map(|outcome| {
                metrics::counter!(
                    "saga_attempts_total",
                    "definition" => definition.clone(),
                    "step" => step.clone(),
                    "outcome" => outcome
                )
            }),
        }
    }
}

impl fmt::Debug for Meter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Meter").finish_non_exhaustive()
    }
}

/// Tells the recorder what the names mean.
pub(crate) fn describe() {
    use metrics::{describe_counter as counter, describe_gauge as gauge, describe_histogram};
    counter!("saga_started_total", "Sagas started");
    counter!("saga_ended_total", "Sagas ended, by outcome");
    counter!(
        "saga_parked_total",
        "Times that a saga was parked for a person"
    );
    counter!(
        "saga_attention_total",
        "Times that a saga asked for a person's eyes"
    );
    counter!("saga_attempts_total", "Attempts ended, by step and outcome");
    counter!(
        "saga_transitions_total",
        "Journal rows on their way into a commit"
    );
    counter!(
        "saga_commits_stuck_total",
        "Commits that failed alone and are tried again"
    );
    counter!(
        "saga_fenced_total",
        "Changes refused since the shard is another's"
    );
    counter!(
        "saga_takeovers_total",
        "Shards taken from a worker that ended without giving them back"
    );
    gauge!("saga_active", "Sagas in memory");
    gauge!("saga_shards", "Shards held");
    describe_histogram!(
        "saga_attempt_seconds",
        Unit::Seconds,
        "How long attempts take, by step"
    );
    describe_histogram!(
        "saga_commit_seconds",
        Unit::Seconds,
        "How long commits take"
    );
    describe_histogram!(
        "saga_batch_changes",
        Unit::Count,
        "Sagas changed in one commit"
    );
}
