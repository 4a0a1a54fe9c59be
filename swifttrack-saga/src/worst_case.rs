//! How long a saga can take, from its policies alone.

use std::time::Duration;

use crate::definition::{Definition, Kind, Node, Undo};
use crate::policy::Late;

/// The longest a saga can take; `None` where there is no end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WorstCase {
    /// All stages, one after another, each as long as its slowest member. A
    /// [deadline](crate::Saga::deadline) ends what comes before the pivot.
    pub forward: Option<Duration>,
    /// All undos, one after another, with the quiet period before each.
    pub backward: Option<Duration>,
}

impl Definition {
    /// Works out the longest way forward and the longest way back. Refusals that are waited
    /// out, crashes and takeovers come on top.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// # use swifttrack_saga::{Saga, Signal};
    /// # fn main() -> Result<(), swifttrack_saga::DefineError> {
    /// let saga = Saga::<u32>::define("door", 1, |s, input| {
    ///     s.await_signal(Signal::<bool>::new("open").within(Duration::from_secs(60)));
    ///     s.finish(input)
    /// })?;
    /// // What was promised to a customer is checked where it is defined.
    /// let worst = saga.definition().worst_case();
    /// assert!(worst.forward <= Some(Duration::from_secs(90)) && worst.forward.is_some());
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn worst_case(&self) -> WorstCase {
        let ends = self.stages.iter().map(|stage| {
            let members = &self.nodes[usize::from(stage.start)..usize::from(stage.end)];
            let last = members.iter().any(|node| node.kind == Kind::Pivot);
            let slowest = members.iter().try_fold(Duration::ZERO, |slowest, node| {
                Some(slowest.max(takes(node)?))
            });
            (last, slowest)
        });
        let mut before = Some(Duration::ZERO);
        let mut after = Some(Duration::ZERO);
        let mut past = false;
        for (pivot, takes) in ends {
            past |= pivot;
            let sum = if past { &mut after } else { &mut before };
            *sum = sum
                .zip(takes)
                .and_then(|(sum, stage)| sum.checked_add(stage));
        }
        if let Some(deadline) = self.deadline {
            // What runs when it passes is still awaited.
            let bound = deadline.checked_add(self.longest_attempt());
            before = match (before, bound) {
                (Some(before), Some(bound)) => Some(before.min(bound)),
                (before, bound) => before.or(bound),
            };
        }
        let forward = before.zip(after).and_then(|(a, b)| a.checked_add(b));
        let backward = self.nodes.iter().try_fold(Duration::ZERO, |sum, node| {
            let undo = match node.undo {
                Undo::By { policy, late } => {
                    let quiet = match late {
                        Late::Quiet(quiet) => quiet,
                        Late::Refused => Duration::ZERO,
                    };
                    policy.worst_case()?.checked_add(quiet)?
                }
                Undo::Nothing | Undo::Irrevocable(_) | Undo::Never => Duration::ZERO,
            };
            sum.checked_add(undo)
        });
        WorstCase { forward, backward }
    }

    /// Of one attempt, with the question before it.
    fn longest_attempt(&self) -> Duration {
        let policies = self.nodes.iter().filter_map(|node| node.policy);
        let longest = policies.map(|policy| policy.attempt_timeout * 2).max();
        longest.unwrap_or_default()
    }
}

fn takes(node: &Node) -> Option<Duration> {
    match node.kind {
        Kind::Sleep(pause) => Some(pause),
        Kind::Signal { limit, .. } => limit,
        Kind::Step | Kind::Pivot | Kind::Forward => node.policy?.worst_case(),
    }
}
