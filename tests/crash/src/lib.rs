//! Kills the program, its PostgreSQL and the wire between them under load, and looks whether
//! anything was lost or doubled. Run it by `./dev crash`.

pub mod checks;
pub mod evidence;
pub mod history;

pub use evidence::{Evidence, Violation};
pub use history::{Answer, Attempt, Entry, History, Outcome};
