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

/// Every query, under `/api/v1`. The state is a pool of connections with the role
/// `conche_reader`.
pub fn api() -> Api<PgPool> {
    Api::new()
        .merge(catalog::api())
        .merge(inventory::api())
        .merge(order::api())
        .merge(analytics::api())
}

#[cfg(test)]
mod tests;
