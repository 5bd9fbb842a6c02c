//! Kills the program, its PostgreSQL and the wires between them under load, and looks whether
//! anything was lost or doubled. Run it by `./dev crash`.

pub mod checks;
mod client;
pub mod evidence;
mod faults;
pub mod fleet;
pub mod history;
mod journal;
pub mod load;
pub mod plan;
pub mod points;
mod process;
pub mod proxy;
mod quiet;
pub mod report;
pub mod run;
mod server;
mod shopper;
mod tally;

pub use evidence::{Evidence, Violation};
pub use history::{Answer, Attempt, Entry, History, Outcome};
