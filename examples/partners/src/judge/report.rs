//! What was found, for a person.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use super::{End, Finding};

/// The most findings of one kind that are printed one by one, so that none hides another.
const LINES_MAX: usize = 20;

/// What came of it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Report {
    /// The seed, to have the same plan again.
    pub seed: u64,
    /// How each order ended.
    pub ends: BTreeMap<String, End>,
    /// What is wrong.
    pub findings: Vec<Finding>,
    /// How often the service was killed.
    pub kills: u32,
    /// How often it ended by itself.
    pub crashes: u32,
    /// How many requests of it went wrong, by partner.
    pub faults: BTreeMap<&'static str, u64>,
    /// How many effects each partner has in its ledger.
    pub effects: BTreeMap<&'static str, usize>,
    /// Ledgers and the service's own output, kept if something was found.
    pub data: PathBuf,
}

impl Report {
    /// Whether nothing is wrong.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.findings.is_empty() && self.crashes == 0
    }

    fn count(&self, fits: impl Fn(&End) -> bool) -> usize {
        self.ends.values().filter(|end| fits(end)).count()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let numbers = |counts: &mut dyn Iterator<Item = (&'static str, u64)>| {
            let parts: Vec<_> = counts.map(|(name, n)| format!("{n} {name}")).collect();
            parts.join(", ")
        };
        writeln!(
            f,
            "seed {}: {} orders: {} ready, {} undone, {} refused, {} forgotten, {} unended",
            self.seed,
            self.ends.len(),
            self.count(|end| *end == End::Ready),
            self.count(|end| *end == End::Undone),
            self.count(|end| *end == End::Refused),
            self.count(|end| *end == End::Forgotten),
            self.count(|end| matches!(end, End::Unfinished(_))),
        )?;
        writeln!(
            f,
            "{} kills, {} crashes; calls that went wrong: {}; effects: {}",
            self.kills,
            self.crashes,
            numbers(&mut self.faults.iter().map(|(name, n)| (*name, *n))),
            numbers(&mut self.effects.iter().map(|(name, n)| (*name, *n as u64))),
        )?;
        let kinds = ["leaked", "doubled", "lost", "unended"];
        let mut counts = Vec::new();
        for kind in kinds {
            let of_kind = || self.findings.iter().filter(|x| x.kind() == kind);
            for finding in of_kind().take(LINES_MAX) {
                writeln!(f, "  {finding}")?;
            }
            let count = of_kind().count();
            if count > LINES_MAX {
                writeln!(f, "  and {} more {kind}", count - LINES_MAX)?;
            }
            counts.push(format!("{kind} {count}"));
        }
        write!(f, "{}", counts.join(", "))?;
        if !self.is_clean() {
            write!(f, "\nledgers and output: {}", self.data.display())?;
        }
        Ok(())
    }
}
