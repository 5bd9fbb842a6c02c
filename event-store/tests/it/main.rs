//! Stories of the log against a real PostgreSQL, each in a database of its own.
#![expect(clippy::disallowed_methods, reason = "tests spawn freely and make their own ids")]
#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

mod account;
mod append;
mod check;
mod cqrs_es;
mod db;
mod execute;
mod mailbox;
mod pool;
mod proxy;
mod read;
mod rights;
mod snapshot;
mod wakeups;
