//! Stories of buying against a real PostgreSQL, each in a database of its own, with a still clock
//! and the sandbox as provider.
#![expect(clippy::disallowed_methods, reason = "tests spawn freely and make their own ids")]
#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

mod attend;
mod buying;
mod crash;
mod db;
mod late;
mod overtaken;
mod refund;
mod runner;
mod schedules;
mod shop;
mod stock;
