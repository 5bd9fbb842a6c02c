//! Figures for people who run a shop.

use event_store::Recorded;
use sqlx::PgConnection;

use crate::{Projection, ProjectionError};

pub mod daily_sales;
mod daily_stock;
pub mod report;

/// From the events of orders, refund adjustments and stock items.
pub const PROJECTION: Projection = Projection {
    name: "sales",
    version: 1,
    tables: &[
        "analytics_orders",
        "analytics_credit_notes",
        "analytics_daily_sales",
        "analytics_daily_stock",
    ],
    categories: &["order", "refund_adjustment", "stock_item"],
    // Of stock, only corrections are counted.
    except: &[
        "StockReceived",
        "StockReserved",
        "StockReservationExtended",
        "StockReservationReleased",
        "StockAllocated",
        "StockDeallocated",
    ],
    apply: |conn, batch| Box::pin(apply(conn, batch)),
};

async fn apply(conn: &mut PgConnection, batch: &[Recorded]) -> Result<(), ProjectionError> {
    daily_sales::apply(conn, batch).await?;
    daily_stock::apply(conn, batch).await
}
