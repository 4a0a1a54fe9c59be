//! What to do with an event that the broker refuses for itself.

/// The policy for one topic.
///
/// The event is too large, or the broker calls it invalid: it will be refused for ever. In
/// each case the row is kept, with the broker's reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Poison {
    /// Move it to the dead events and hold its key's later events back until it is replayed or
    /// dropped: order matters more than going on. The default.
    #[default]
    BlockKey,
    /// Move it to the dead events and go on with its key: for topics whose events stand alone.
    DeadLetter,
    /// Publish nothing more to its topic; try again every half minute.
    Halt,
}

/// Policies by topic.
#[derive(Clone, Debug, Default)]
pub(crate) struct PoisonRules {
    /// (prefix, whether the topic may go on after it, policy); the last that matches counts.
    rules: Vec<(String, bool, Poison)>,
}

impl PoisonRules {
    /// `topic` may end in `*`.
    pub(crate) fn set(&mut self, topic: &str, poison: Poison) {
        let rule = match topic.strip_suffix('*') {
            Some(prefix) => (prefix.to_owned(), true, poison),
            None => (topic.to_owned(), false, poison),
        };
        self.rules.push(rule);
    }

    pub(crate) fn of(&self, topic: &str) -> Poison {
        let matches = |(prefix, open, _): &&(String, bool, Poison)| {
            if *open {
                topic.starts_with(prefix.as_str())
            } else {
                topic == prefix
            }
        };
        self.rules
            .iter()
            .rev()
            .find(matches)
            .map_or_else(Poison::default, |rule| rule.2)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_rule_that_matches_counts() {
        let mut rules = PoisonRules::default();
        assert_eq!(rules.of("orders"), Poison::BlockKey);
        rules.set("*", Poison::DeadLetter);
        rules.set("orders.*", Poison::Halt);
        rules.set("orders.lk", Poison::BlockKey);
        assert_eq!(rules.of("health"), Poison::DeadLetter);
        assert_eq!(rules.of("orders.us"), Poison::Halt);
        assert_eq!(rules.of("orders.lk"), Poison::BlockKey);
    }
}
