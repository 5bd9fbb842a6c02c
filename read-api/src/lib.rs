//! The query API: reads the read models of one store, and never writes.
//!
//! Every caller so far is back office: whoever may read products sees drafts too. Answers are
//! types of their own, so that a column added to a table is not public by accident.

use api_kit::Api;
use sqlx::PgPool;

mod analytics;
mod catalog;
mod inventory;
mod order;
mod reader;
mod value;

/// What the handlers work with. Cheap to clone.
#[derive(Clone, Debug)]
pub struct ReadState {
    /// Connections with the role `conche_reader`.
    pub pool: PgPool,
}

/// Every query, under `/api/v1`.
pub fn api() -> Api<ReadState> {
    Api::new()
        .merge(catalog::api())
        .merge(inventory::api())
        .merge(order::api())
        .merge(analytics::api())
}

#[cfg(test)]
mod tests;
