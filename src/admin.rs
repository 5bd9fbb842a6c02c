//! Commands for the people who run it and the people who audit it.

pub mod analysts;
pub mod log;
pub mod money;
pub mod parked;
pub mod payments;
pub mod projections;
pub mod rebuild;
pub mod sagas;
pub mod vault;
pub mod webhooks;
