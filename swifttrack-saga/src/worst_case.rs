//! How long a saga can take, from its policies alone.

use std::time::Duration;

use crate::definition::{Definition, Kind, Node, Undo};
use crate::policy::Late;

/// The longest a saga can take; `None` where there is no end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WorstCase {
    /// All stages, one after another, each as long as its slowest member.
    pub forward: Option<Duration>,
    /// All undos, one after another, with the quiet period before each.
    pub backward: Option<Duration>,
}

impl Definition {
    /// Works out the longest way forward and the longest way back. Refusals that are waited
    /// out, crashes and takeovers come on top.
    #[must_use]
    pub fn worst_case(&self) -> WorstCase {
        let mut forward = Some(Duration::ZERO);
        for stage in &self.stages {
            let members = &self.nodes[usize::from(stage.start)..usize::from(stage.end)];
            let slowest = members.iter().try_fold(Duration::ZERO, |slowest, node| {
                Some(slowest.max(takes(node)?))
            });
            forward = forward.zip(slowest).map(|(sum, stage)| sum + stage);
        }
        let backward = self.nodes.iter().try_fold(Duration::ZERO, |sum, node| {
            let undo = match node.undo {
                Undo::By { policy, late } => {
                    let quiet = match late {
                        Late::Quiet(quiet) => quiet,
                        Late::Refused => Duration::ZERO,
                    };
                    policy.worst_case()? + quiet
                }
                Undo::Nothing | Undo::Irrevocable(_) | Undo::Never => Duration::ZERO,
            };
            Some(sum + undo)
        });
        WorstCase { forward, backward }
    }
}

fn takes(node: &Node) -> Option<Duration> {
    match node.kind {
        Kind::Sleep(pause) => Some(pause),
        Kind::Signal { limit, .. } => limit,
        Kind::Step | Kind::Pivot | Kind::Forward => node.policy?.worst_case(),
    }
}
