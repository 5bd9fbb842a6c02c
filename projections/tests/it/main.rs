//! Stories of the read models against a real PostgreSQL, each in a database of its own. Events are
//! appended by the engine, as commands would.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

mod batches;
mod catalog;
mod db;
mod deploy;
mod order_lists;
mod orders;
mod parked;
mod property;
mod random;
mod rebuild;
mod running;
mod sales;
mod shop;
mod tenancy;
