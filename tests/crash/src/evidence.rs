//! What a run leaves behind for the checkers.

use sqlx::postgres::PgConnectOptions;

use crate::history::History;

/// What there is to judge by: the database, and what the clients know.
#[derive(Clone, Debug)]
pub struct Evidence {
    /// The program's database, as superuser. Nobody writes to it while it is checked.
    pub pg: PgConnectOptions,
    /// What the clients sent and what they were answered.
    pub history: History,
    /// Whether all faults were healed and the program has had its time since: only then may a
    /// checker ask for what is to come about in the end. What must never happen is asked always.
    pub quiet: bool,
}

/// Something that must never be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Which invariant, such as `INV-4`.
    pub invariant: &'static str,
    /// What was found, with the ids that lead to it.
    pub what: String,
}

impl std::fmt::Display for Violation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.invariant, self.what)
    }
}
