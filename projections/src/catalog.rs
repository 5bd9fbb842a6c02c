//! The catalogue as shops show it: products, variants, prices, availability.

use event_store::Recorded;
use sqlx::PgConnection;

use crate::{Projection, ProjectionError};

pub mod documents;
pub mod products;
pub mod stock;
pub mod variants;

/// From the events of products and stock items.
pub const PROJECTION: Projection = Projection {
    name: "catalog",
    version: 2,
    tables: &[
        "catalog_products",
        "catalog_variants",
        "catalog_stock_items",
        "catalog_stock_levels",
    ],
    categories: &["product", "stock_item"],
    except: &[],
    streams_commute: true,
    apply: |conn, batch| Box::pin(apply(conn, batch)),
};

async fn apply(conn: &mut PgConnection, batch: &[Recorded]) -> Result<(), ProjectionError> {
    products::apply(conn, batch).await?;
    stock::apply(conn, batch).await
}
