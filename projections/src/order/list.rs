//! Lists of orders: filters that combine, three orders, a bounded count.
//!
//! Filters of few values each are one column, `facets`: see `migrations/*_orders.sql`. A list takes
//! the first rows of each combination it wants from an index and merges them. A customer or a SKU
//! leads to so few orders that these are looked at one by one.

use chrono::{DateTime, Utc};
use event_schemas::ids::StoreId;
use serde::{Deserialize, Serialize};
use sqlx::PgConnection;
use uuid::Uuid;

use super::summaries::Order;

mod facets;
mod statement;
mod way;

use way::Way;

/// Rows [`count`] counts at most: beyond it, "many" is the answer people need.
pub const COUNT_MAX: i64 = 10_000;

/// Which orders. Every field that is set narrows the list.
#[derive(Clone, Debug, Default)]
pub struct OrderFilter {
    /// Any of these; see [`Order::status`]. Empty: all.
    pub statuses: Vec<String>,
    /// Any of these; see [`Order::financial_status`]. Empty: all.
    pub financial_statuses: Vec<String>,
    /// Any of these; see [`Order::channel`]. Empty: all.
    pub channels: Vec<String>,
    /// Any of these ISO 4217 codes. Empty: all.
    pub currencies: Vec<String>,
    /// Any of these, as given. Empty: all.
    pub countries: Vec<String>,
    /// Placed at this time or later.
    pub placed_from: Option<DateTime<Utc>>,
    /// Placed before this time.
    pub placed_before: Option<DateTime<Utc>>,
    /// A total of this much or more, in minor units of whatever currency.
    pub total_from: Option<i64>,
    /// A total of this much or less.
    pub total_to: Option<i64>,
    /// The merchant's reference of the customer, exactly.
    pub customer: Option<String>,
    /// With a line of this SKU, exactly.
    pub sku: Option<String>,
    /// The beginning of an order number, or exactly a customer reference or a SKU.
    pub search: Option<String>,
}

/// What a list is ordered by. Orders with the same value stand in the order of their ids.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OrderBy {
    #[default]
    PlacedAt,
    /// As text: of numbers of the same length the higher one comes later.
    Number,
    /// In minor units, whatever the currency.
    Total,
}

/// The order of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OrderSort {
    pub by: OrderBy,
    pub descending: bool,
}

impl Default for OrderSort {
    /// Placed last comes first.
    fn default() -> OrderSort {
        OrderSort { by: OrderBy::PlacedAt, descending: true }
    }
}

/// A place in a list: right behind this order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OrderCursor {
    pub key: OrderKey,
    pub order_id: Uuid,
}

/// What an order has in the column that a list is ordered by.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OrderKey {
    PlacedAt(DateTime<Utc>),
    Number(String),
    Total(i64),
}

/// Where a page begins, and where it goes.
#[derive(Clone, Debug, Default)]
pub enum OrdersFrom {
    #[default]
    Start,
    /// Orders after this.
    After(OrderCursor),
    /// Orders before this, the nearest ones.
    Before(OrderCursor),
}

/// A page, in the order of the list.
#[derive(Clone, Debug)]
pub struct Orders {
    pub rows: Vec<Order>,
    /// Whether there are more in the direction of the page.
    pub more: bool,
}

impl Order {
    /// The place right behind this order.
    pub fn cursor(&self, by: OrderBy) -> OrderCursor {
        let key = match by {
            OrderBy::PlacedAt => OrderKey::PlacedAt(self.placed_at),
            OrderBy::Number => OrderKey::Number(self.number.clone()),
            OrderBy::Total => OrderKey::Total(self.total_minor),
        };
        OrderCursor { key, order_id: self.order_id }
    }
}

/// At most `limit` orders (1 or more). `conn` reads as one store. One to four round trips.
///
/// What it costs does not depend on how many orders the store has, except where a list is ordered
/// by one thing and bounded by another (days, totals, beginning of the number) and more than
/// [`way::GATHERED_MAX`] orders lie within the bounds ([`way::GATHERED_IN_TIME_MAX`] between days
/// and numbers): then it walks through an index in its order, and if those within the bounds all
/// stand at the far end, through all of it (some 200 ns each). So it does in a store with more than
/// [`facets::COMBINATIONS_MAX`] combinations of the filters of few values if the list has any of
/// these; if it is ordered by totals, it then looks at all orders of the store.
pub async fn list(
    conn: &mut PgConnection,
    store_id: StoreId,
    filter: &OrderFilter,
    (sort, from): (OrderSort, &OrdersFrom),
    limit: i64,
) -> Result<Orders, sqlx::Error> {
    let (cursor, backwards) = match from {
        OrdersFrom::Start => (None, false),
        OrdersFrom::After(cursor) => (Some(cursor), false),
        OrdersFrom::Before(cursor) => (Some(cursor), true),
    };
    let way = Way::find(conn, store_id, filter, Some(sort.by)).await?;
    let direction = OrderSort { descending: sort.descending != backwards, ..sort };
    let page = statement::Page { sort: direction, cursor, rows: limit + 1 };
    let Some(mut query) = statement::list(store_id, filter, &way, &page) else {
        return Ok(Orders { rows: Vec::new(), more: false });
    };
    // Planned for these values: a plan for any value would not know how many rows lie in a range.
    let rows = query.build_query_as().persistent(false).fetch_all(conn).await;
    let mut rows: Vec<Order> = rows?;
    let limit = usize::try_from(limit).unwrap_or(0);
    let more = rows.len() > limit;
    rows.truncate(limit);
    if backwards {
        rows.reverse();
    }
    Ok(Orders { rows, more })
}

/// How many orders match; [`COUNT_MAX`] if there are as many or more.
pub async fn count(
    conn: &mut PgConnection,
    store_id: StoreId,
    filter: &OrderFilter,
) -> Result<i64, sqlx::Error> {
    let way = Way::find(conn, store_id, filter, None).await?;
    match statement::count(store_id, filter, &way, COUNT_MAX) {
        Some(mut query) => query.build_query_scalar().persistent(false).fetch_one(conn).await,
        None => Ok(0),
    }
}
