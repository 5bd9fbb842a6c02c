//! Lists of orders, newest first.

use chrono::{DateTime, Utc};
use event_schemas::ids::StoreId;
use serde::{Deserialize, Serialize};
use sqlx::{PgConnection, Postgres, QueryBuilder};
use uuid::Uuid;

use super::summaries::Order;

/// Rows [`count`] counts at most: beyond it, "many" is the answer people need.
pub const COUNT_MAX: i64 = 10_000;

/// Which orders. Every field that is set narrows the list.
#[derive(Clone, Debug, Default)]
pub struct OrderFilter {
    /// Any of these; see [`Order::status`]. Empty: all.
    pub statuses: Vec<String>,
    /// Any of these; see [`Order::financial_status`]. Empty: all.
    pub financial_statuses: Vec<String>,
    /// Placed at this time or later.
    pub placed_from: Option<DateTime<Utc>>,
    /// Placed before this time.
    pub placed_before: Option<DateTime<Utc>>,
    /// The merchant's reference of the customer, exactly.
    pub customer: Option<String>,
    /// The beginning of an order number, or exactly a customer reference or a SKU.
    pub search: Option<String>,
}

/// A place in the list: right behind this order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OrderCursor {
    pub placed_at: DateTime<Utc>,
    pub order_id: Uuid,
}

/// Where a page begins, and where it goes.
#[derive(Clone, Debug, Default)]
pub enum OrdersFrom {
    #[default]
    Start,
    /// Older orders than this.
    After(OrderCursor),
    /// Newer orders than this, the nearest ones.
    Before(OrderCursor),
}

/// A page, newest first.
#[derive(Clone, Debug)]
pub struct Orders {
    pub rows: Vec<Order>,
    /// Whether there are more in the direction of the page.
    pub more: bool,
}

impl Order {
    /// The place right behind this order.
    pub fn cursor(&self) -> OrderCursor {
        OrderCursor { placed_at: self.placed_at, order_id: self.order_id }
    }
}

const SELECT: &str = "SELECT store_id, order_id, number, status, financial_status, total_minor,
    captured_minor, refunded_minor, currency, item_count, customer_reference, country, channel,
    checkout_id, payment_id, placed_at, updated_at, version FROM order_summaries o";

/// At most `limit` orders (1 or more), placed last first.
pub async fn list(
    conn: &mut PgConnection,
    store_id: StoreId,
    filter: &OrderFilter,
    from: &OrdersFrom,
    limit: i64,
) -> Result<Orders, sqlx::Error> {
    let mut query = QueryBuilder::new(SELECT);
    push_filter(&mut query, store_id, filter);
    let (cursor, backwards) = match from {
        OrdersFrom::Start => (None, false),
        OrdersFrom::After(cursor) => (Some(cursor), false),
        OrdersFrom::Before(cursor) => (Some(cursor), true),
    };
    if let Some(OrderCursor { placed_at, order_id }) = cursor {
        query.push(" AND (placed_at, order_id) ").push(if backwards { ">" } else { "<" });
        query.push(" (").push_bind(*placed_at).push(", ").push_bind(*order_id).push(")");
    }
    query.push(if backwards {
        " ORDER BY placed_at, order_id"
    } else {
        " ORDER BY placed_at DESC, order_id DESC"
    });
    query.push(" LIMIT ").push_bind(limit + 1);
    let mut rows: Vec<Order> = query.build_query_as().fetch_all(conn).await?;
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
    let mut query = QueryBuilder::new("SELECT count(*) FROM (SELECT 1 FROM order_summaries o");
    push_filter(&mut query, store_id, filter);
    query.push(" LIMIT ").push_bind(COUNT_MAX).push(") matching");
    query.build_query_scalar().fetch_one(conn).await
}

fn push_filter(query: &mut QueryBuilder<Postgres>, store_id: StoreId, filter: &OrderFilter) {
    query.push(" WHERE o.store_id = ").push_bind(store_id.0);
    if !filter.statuses.is_empty() {
        query.push(" AND o.status = ANY (").push_bind(filter.statuses.clone()).push(")");
    }
    if !filter.financial_statuses.is_empty() {
        let statuses = filter.financial_statuses.clone();
        query.push(" AND o.financial_status = ANY (").push_bind(statuses).push(")");
    }
    if let Some(from) = filter.placed_from {
        query.push(" AND o.placed_at >= ").push_bind(from);
    }
    if let Some(before) = filter.placed_before {
        query.push(" AND o.placed_at < ").push_bind(before);
    }
    if let Some(customer) = &filter.customer {
        query.push(" AND o.customer_reference = ").push_bind(customer.clone());
    }
    let Some(search) = &filter.search else { return };
    // One index each; an OR would use none of them. `char::MAX` sorts after every continuation.
    query.push(" AND o.order_id IN (SELECT n.order_id FROM order_summaries n WHERE n.store_id = ");
    query.push_bind(store_id.0).push(" AND n.number >= ").push_bind(search.clone());
    query.push(" AND n.number < ").push_bind(format!("{search}{}", char::MAX));
    query.push(" UNION SELECT c.order_id FROM order_summaries c WHERE c.store_id = ");
    query.push_bind(store_id.0).push(" AND c.customer_reference = ").push_bind(search.clone());
    query.push(" UNION SELECT l.order_id FROM order_lines l WHERE l.store_id = ");
    query.push_bind(store_id.0).push(" AND l.sku = ").push_bind(search.clone()).push(")");
}
