//! What a run came to.

use std::fmt;

use super::problem::Problems;

/// How many things of one kind ended how.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Were not there before.
    pub created: usize,
    /// Were there and are different now.
    pub updated: usize,
    /// Were there as the file has them.
    pub unchanged: usize,
    /// Could not be taken over; a problem says why.
    pub failed: usize,
}

/// What a run came to.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// By kind, in the order of the work.
    pub tallies: Vec<(&'static str, Tally)>,
    /// What should be known besides.
    pub notes: Vec<String>,
    /// What the store refused, by row.
    pub problems: Problems,
}

impl Report {
    /// The tally of a kind; all zero if nothing of it was seen.
    pub fn tally(&self, kind: &str) -> Tally {
        let found = self.tallies.iter().find(|(name, _)| *name == kind);
        found.map(|(_, tally)| *tally).unwrap_or_default()
    }
}

impl fmt::Display for Report {
    /// A table of the tallies, then the notes.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{:<20}{:>9}{:>9}{:>11}{:>8}",
            "", "created", "updated", "unchanged", "failed"
        )?;
        for (kind, tally) in &self.tallies {
            let Tally { created, updated, unchanged, failed } = tally;
            writeln!(f, "{kind:<20}{created:>9}{updated:>9}{unchanged:>11}{failed:>8}")?;
        }
        self.notes.iter().try_for_each(|note| writeln!(f, "{note}"))
    }
}
