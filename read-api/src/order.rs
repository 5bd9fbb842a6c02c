//! Orders: lists, one order with all that belongs to it, its timeline; refunds without an order.

use api_kit::{Api, Etag, FieldError, Limit, Page, Paging, Path, Permission, Problem, Query};
use axum::Json;
use chrono::{DateTime, Days, NaiveDate, NaiveTime, Utc};
use event_schemas::ids::OrderId;
use projections::order::list::{self, OrderCursor, OrderFilter, OrdersFrom};
use projections::order::summaries::{self, Order};
use projections::order::{PROJECTION, lines, payments, refunds};
use serde::Deserialize;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::routes;

use crate::reader::{Freshness, Reader, View, unreadable};
use crate::reads::Reads;
use crate::value;

mod adjustments;
mod body;
mod timeline;

use body::{OrderBody, OrderSummary, Parts};

pub(crate) fn api() -> Api<Reads> {
    Api::new()
        .route(Permission::OrdersRead, routes!(list))
        .route(Permission::OrdersRead, routes!(get))
        .route(Permission::OrdersRead, routes!(timeline::list))
        .route(Permission::OrdersRead, routes!(adjustments::list))
}

/// Where an order is in its life.
#[derive(Clone, Copy, Debug, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum OrderStatus {
    Placed,
    Confirmed,
    Paid,
    Cancelling,
    Cancelled,
}

impl OrderStatus {
    fn code(self) -> String {
        let code = match self {
            OrderStatus::Placed => "placed",
            OrderStatus::Confirmed => "confirmed",
            OrderStatus::Paid => "paid",
            OrderStatus::Cancelling => "cancelling",
            OrderStatus::Cancelled => "cancelled",
        };
        code.to_owned()
    }
}

/// Where the money of an order is.
#[derive(Clone, Copy, Debug, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum FinancialStatus {
    Authorised,
    Paid,
    PartiallyRefunded,
    Refunded,
    Voided,
}

impl FinancialStatus {
    fn code(self) -> String {
        let code = match self {
            FinancialStatus::Authorised => "authorised",
            FinancialStatus::Paid => "paid",
            FinancialStatus::PartiallyRefunded => "partially_refunded",
            FinancialStatus::Refunded => "refunded",
            FinancialStatus::Voided => "voided",
        };
        code.to_owned()
    }
}

/// The one order of the list.
#[derive(Clone, Copy, Debug, Default, Deserialize, ToSchema)]
enum OrderOrder {
    /// Placed last comes first.
    #[default]
    #[serde(rename = "-placed_at")]
    Newest,
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct ListQuery {
    /// Orders of the page.
    #[serde(default)]
    #[param(value_type = u16, minimum = 1, maximum = 100, default = 20)]
    limit: Limit,
    /// `next` of a page: those after it.
    after: Option<String>,
    /// `prev` of a page: those before it.
    before: Option<String>,
    /// `-placed_at`: placed last comes first. There is no other order yet.
    #[serde(default, rename = "sort")]
    #[param(inline, required = false)]
    _sort: OrderOrder,
    /// Any of these, with commas between: `placed`, `confirmed`, `paid`, `cancelling`,
    /// `cancelled`. `status=` is the same.
    #[serde(rename = "filter[status]", alias = "status", default)]
    #[serde(deserialize_with = "value::listed")]
    #[param(value_type = Option<String>, example = "paid,cancelled")]
    statuses: Vec<OrderStatus>,
    /// Any of these, with commas between: `authorised`, `paid`, `partially_refunded`, `refunded`,
    /// `voided`. `financial_status=` is the same.
    #[serde(rename = "filter[financial_status]", alias = "financial_status", default)]
    #[serde(deserialize_with = "value::listed")]
    #[param(value_type = Option<String>, example = "refunded")]
    financial_statuses: Vec<FinancialStatus>,
    /// Placed at this time or later.
    #[serde(rename = "filter[placed_at][gte]", default)]
    #[serde(deserialize_with = "api_kit::params::time")]
    #[param(example = "2010-12-01T00:00:00Z")]
    placed_from: Option<DateTime<Utc>>,
    /// Placed before this time.
    #[serde(rename = "filter[placed_at][lt]", default)]
    #[serde(deserialize_with = "api_kit::params::time")]
    #[param(example = "2010-12-02T00:00:00Z")]
    placed_before: Option<DateTime<Utc>>,
    /// Placed on this day (UTC) or later; in place of `filter[placed_at][gte]`.
    #[serde(rename = "dateFrom", default, deserialize_with = "api_kit::params::date")]
    #[param(example = "2010-12-01")]
    date_from: Option<NaiveDate>,
    /// Placed on this day (UTC) or earlier; in place of `filter[placed_at][lt]`.
    #[serde(rename = "dateTo", default, deserialize_with = "api_kit::params::date")]
    #[param(example = "2010-12-01")]
    date_to: Option<NaiveDate>,
    /// Your reference of the customer, exactly. `customer=` is the same.
    #[serde(rename = "filter[customer]", alias = "customer", default)]
    #[serde(deserialize_with = "value::text")]
    customer: Option<String>,
    /// The beginning of an order number, or exactly a customer reference or a SKU. `search=` is
    /// the same.
    #[serde(default, alias = "search", deserialize_with = "value::text")]
    q: Option<String>,
}

impl ListQuery {
    fn filter(&self) -> Result<OrderFilter, Problem> {
        let midnight = |day: NaiveDate| day.and_time(NaiveTime::MIN).and_utc();
        let twice = |plain, other: &str| {
            let error = FieldError::parameter(plain, "conflict", format!("not with {other}"));
            Problem::new("validation_failed").error(error)
        };
        if self.date_from.is_some() && self.placed_from.is_some() {
            return Err(twice("dateFrom", "filter[placed_at][gte]"));
        }
        if self.date_to.is_some() && self.placed_before.is_some() {
            return Err(twice("dateTo", "filter[placed_at][lt]"));
        }
        // A year is four digits at most: there is a next day.
        let after = self.date_to.and_then(|day| day.checked_add_days(Days::new(1)));
        Ok(OrderFilter {
            statuses: self.statuses.iter().map(|status| status.code()).collect(),
            financial_statuses: self.financial_statuses.iter().map(|s| s.code()).collect(),
            placed_from: self.placed_from.or(self.date_from.map(midnight)),
            placed_before: self.placed_before.or(after.map(midnight)),
            customer: self.customer.clone(),
            search: self.q.clone(),
        })
    }
}

/// Orders, placed last first.
#[utoipa::path(get, path = "/api/v1/orders", tag = "orders",
    params(ListQuery, api_kit::headers::Read),
    responses((status = 200, description = "A page of orders.", body = Page<OrderSummary>)))]
async fn list(
    reader: Reader,
    Query(query): Query<ListQuery>,
) -> Result<(Freshness, Page<OrderSummary>), Problem> {
    let filter = query.filter()?;
    let ListQuery { limit, after, before, .. } = query;
    let paging = Paging::new(limit, after, before, reader.store_id(), "orders")?;
    let from = match paging.key::<OrderCursor>()? {
        None => OrdersFrom::Start,
        Some(cursor) if paging.backward() => OrdersFrom::Before(cursor),
        Some(cursor) => OrdersFrom::After(cursor),
    };
    let mut view = reader.view(&PROJECTION).await?;
    let rows = paging.rows();
    let found = list::list(view.conn(), reader.store_id(), &filter, &from, rows).await;
    let mut rows = found.map_err(unreadable)?.rows;
    if paging.backward() {
        // The page wants them as they were selected: nearest to the cursor first.
        rows.reverse();
    }
    let Page { data, page } = paging.page(rows, Order::cursor);
    let data = data.into_iter().map(OrderSummary::new).collect();
    Ok((view.freshness, Page { data, page }))
}

/// One order with its lines, charges, payments and refunds.
#[utoipa::path(get, path = "/api/v1/orders/{order_id}", tag = "orders",
    params(("order_id" = OrderId, Path), api_kit::headers::Read),
    responses((status = 200, description = "The order; `ETag` is its version.",
        body = OrderBody)))]
async fn get(
    reader: Reader,
    Path(order_id): Path<OrderId>,
) -> Result<(Etag, Freshness, Json<OrderBody>), Problem> {
    let mut view = reader.view(&PROJECTION).await?;
    let order = find(&reader, &mut view, order_id).await?;
    let version = Etag(order.version);
    let parts = parts(&reader, &mut view, &order).await.map_err(unreadable)?;
    Ok((version, view.freshness, Json(OrderBody::new(order, parts))))
}

/// `404` unless the store has the order.
async fn find(reader: &Reader, view: &mut View, order_id: OrderId) -> Result<Order, Problem> {
    let found = summaries::get(view.conn(), reader.store_id(), order_id.0).await;
    found.map_err(unreadable)?.ok_or_else(|| Problem::new("order_not_found"))
}

async fn parts(reader: &Reader, view: &mut View, order: &Order) -> Result<Parts, sqlx::Error> {
    let (store_id, id) = (reader.store_id(), order.order_id);
    Ok(Parts {
        lines: lines::of_order(view.conn(), store_id, id).await?,
        charges: lines::charges_of_order(view.conn(), store_id, id).await?,
        payments: payments::of_checkout(view.conn(), store_id, order.checkout_id).await?,
        refunds: refunds::of_order(view.conn(), store_id, id).await?,
    })
}
