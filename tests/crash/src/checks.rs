//! The invariants, as questions to what a run has left behind.

use crate::{Evidence, Violation};

/// Everything that is wrong.
pub async fn all(_evidence: &Evidence) -> Vec<Violation> {
    Vec::new()
}
