//! Use cases against PostgreSQL: what goes through the engine, its keys and its repeats.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

mod catalog;
#[expect(dead_code, reason = "the engine's own tests use all of it")]
#[path = "../../../event-store/tests/it/db.rs"]
mod db;
mod inventory;
mod shop;
