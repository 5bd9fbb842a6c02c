//! The query API: reads the read models of one store, and never writes.
//!
//! Every caller so far is back office: whoever may read products sees drafts too. Answers are
//! types of their own, so that a column added to a table is not public by accident.

use api_kit::{Api, BootError};
use axum::{Extension, Router};
use utoipa::openapi::OpenApi;

mod analytics;
mod cache;
mod catalog;
mod changes;
mod csv;
mod events;
mod export;
mod follower;
mod inventory;
mod live;
mod order;
mod payment;
mod reader;
mod reads;
mod value;

pub use cache::CacheCounts;
pub use reads::{Reads, Sources};

/// Every query with its state, and the document.
pub fn router(reads: Reads) -> Result<(Router, OpenApi), BootError> {
    let (router, document) = api().finish()?;
    // For what stands around handlers, which knows no state.
    let router = router.layer(Extension(reads.clone()));
    Ok((router.with_state(reads), document))
}

/// Every query, under `/api/v1`.
pub fn api() -> Api<Reads> {
    Api::new()
        .merge(catalog::api())
        .merge(inventory::api())
        .merge(order::api())
        .merge(payment::api())
        .merge(analytics::api())
        .merge(events::api())
        .merge(live::api())
}

#[cfg(test)]
mod tests;
