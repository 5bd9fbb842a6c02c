//! Figures for people who run a shop: sales by time, products, customers, stock.
//!
//! Time is business time. The tables hold spans in UTC out of which the days of every time zone
//! can be put together (`zone`); `sales` and `top_products` do that.

use event_schemas::{
    inventory::StockItemEvent,
    order::{AdjustmentEvent, OrderEvent},
};
use event_store::Recorded;
use sqlx::PgConnection;

use crate::{Projection, ProjectionError, facts};

mod customer_report;
pub mod customers;
mod kept;
mod orders;
mod product_sales;
mod refunds;
pub mod sales;
mod spans;
mod stock;
pub mod top_products;
mod zone;

pub use customer_report::{CustomerReport, CustomerReportError, CustomerValue, customer_report};
pub use kept::Kept as KeptFigures;
pub use zone::{DayRange, RANGE_DAYS_MAX, RangeError};

use refunds::Refund;

/// From the events of orders, refund adjustments and stock items.
pub const PROJECTION: Projection = Projection {
    name: "sales",
    version: 3,
    tables: &[
        "analytics_orders",
        "analytics_refunds",
        "analytics_credit_notes",
        "analytics_sales",
        "analytics_activity",
        "analytics_products",
        "analytics_product_sales",
        "analytics_product_spans",
        "analytics_customers",
        "analytics_customer_spending",
        "analytics_customer_totals",
        "analytics_stock_movements",
    ],
    categories: &["order", "refund_adjustment", "stock_item"],
    // Of stock, what comes in and what is corrected.
    except: &[
        "OrderConfirmed",
        "OrderCancelled",
        "FulfilmentCreated",
        "FulfilmentShipped",
        "FulfilmentDelivered",
        "FulfilmentCancelled",
        "StockReserved",
        "StockReservationExtended",
        "StockReservationReleased",
        "StockAllocated",
        "StockDeallocated",
        "StockShipped",
    ],
    // The first credit of a document decides on which day it counts.
    streams_commute: false,
    apply: |conn, batch| Box::pin(apply(conn, batch)),
};

/// What a batch adds to the tables, folded to one entry per row before anything is written.
#[derive(Default)]
struct Changes {
    sales: spans::Sales,
    activity: spans::Activities,
    products: product_sales::Products,
    customers: customers::Changes,
    refunds: Vec<Refund>,
}

/// At most sixteen statements per batch, however many events it holds; none for what is not in it.
async fn apply(conn: &mut PgConnection, batch: &[Recorded]) -> Result<(), ProjectionError> {
    let mut changes = Changes::default();
    orders::apply(conn, &facts::<OrderEvent>(batch, "order")?, &mut changes).await?;
    for fact in facts::<AdjustmentEvent>(batch, "refund_adjustment")? {
        let refund = Refund::adjustment(&fact);
        changes.customers.refund(&refund);
        changes.refunds.push(refund);
    }
    let Changes { mut sales, mut activity, products, customers, refunds } = changes;
    stock::apply(conn, &facts::<StockItemEvent>(batch, "stock_item")?, &mut activity).await?;
    refunds::store(conn, refunds, &mut sales).await?;
    customers::store(conn, customers, &mut activity).await?;
    product_sales::store(conn, products).await?;
    spans::store_sales(conn, sales).await?;
    Ok(spans::store_activities(conn, activity).await?)
}
