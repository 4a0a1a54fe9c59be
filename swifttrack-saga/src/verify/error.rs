//! Why steps cannot be explored.

use std::fmt;

/// The steps cannot be explored; with what happened up to there.
#[derive(Debug, thiserror::Error)]
pub struct Stopped {
    kind: Kind,
    story: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Diverged,
    Hasty,
}

impl Stopped {
    pub(super) fn diverged(story: Vec<String>) -> Self {
        let kind = Kind::Diverged;
        Self { kind, story }
    }

    pub(super) fn hasty(story: Vec<String>) -> Self {
        let kind = Kind::Hasty;
        Self { kind, story }
    }

    /// A path that was run again went another way: a step depends on something besides its
    /// input and its partners' answers (a clock, a random number, the order of a hash map, what
    /// an earlier path left behind), or the choices are those of another saga.
    #[must_use]
    pub fn is_divergence(&self) -> bool {
        self.kind == Kind::Diverged
    }

    /// A step made a call while another one of it was open. What becomes of both is not
    /// explored: make them steps of a group.
    #[must_use]
    pub fn is_hasty(&self) -> bool {
        self.kind == Kind::Hasty
    }

    /// What happened up to there, line by line.
    #[must_use]
    pub fn story(&self) -> &[String] {
        &self.story
    }
}

impl fmt::Display for Stopped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.kind {
            Kind::Diverged => "a path did not go the same way twice",
            Kind::Hasty => "a step made two calls at a time",
        })?;
        for line in &self.story {
            write!(f, "\n    {line}")?;
        }
        Ok(())
    }
}
