//! Lists of orders.

use api_kit::page::PageLinks;
use api_kit::{Limit, Page, Paging, Problem, Query};
use axum::Json;
use axum::response::{IntoResponse, Response};
use chrono::{DateTime, NaiveDate, Utc};
use projections::order::PROJECTION;
use projections::order::list::{self as orders, OrderCursor, OrdersFrom};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::body::OrderSummary;
use super::filter::{Filters, FinancialStatus, OrderChannel, OrderOrder, OrderStatus};
use crate::reader::{Freshness, Reader, unreadable};
use crate::value;

/// Whether to count all orders of the list.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq, ToSchema)]
#[serde(rename_all = "snake_case")]
enum CountMode {
    #[default]
    None,
    Exact,
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct ListQuery {
    /// Orders of the page.
    #[serde(default)]
    #[param(value_type = u16, minimum = 1, maximum = 100, default = 20)]
    limit: Limit,
    /// `next` of a page: those after it.
    after: Option<String>,
    /// `prev` of a page: those before it.
    before: Option<String>,
    /// `placed_at`, `number` or `total`; with `-` in front the other way round. Without: `-placed_at`,
    /// placed last comes first.
    #[serde(default)]
    #[param(inline, required = false)]
    sort: OrderOrder,
    /// `exact` counts the orders of all pages, up to 10,000; `none` does not.
    #[serde(default)]
    #[param(inline, required = false)]
    count: CountMode,
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
    /// `api`, `import`, or both with a comma between. `channel=` is the same.
    #[serde(rename = "filter[channel]", alias = "channel", default)]
    #[serde(deserialize_with = "value::listed")]
    #[param(value_type = Option<String>, example = "api")]
    channels: Vec<OrderChannel>,
    /// Any of these ISO 4217 codes, with commas between. `currency=` is the same.
    #[serde(rename = "filter[currency]", alias = "currency", default)]
    #[serde(deserialize_with = "value::texts")]
    #[param(value_type = Option<String>, example = "GBP,EUR")]
    currencies: Vec<String>,
    /// Any of these countries, exactly as orders have them, with commas between. `country=` is the
    /// same.
    #[serde(rename = "filter[country]", alias = "country", default)]
    #[serde(deserialize_with = "value::texts")]
    #[param(value_type = Option<String>, example = "Ireland")]
    countries: Vec<String>,
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
    /// A total of this much or more, in minor units of whatever currency the order has.
    #[serde(rename = "filter[total_minor][gte]")]
    total_from: Option<i64>,
    /// A total of this much or less.
    #[serde(rename = "filter[total_minor][lte]")]
    total_to: Option<i64>,
    /// Your reference of the customer, exactly. `customer=` is the same.
    #[serde(rename = "filter[customer]", alias = "customer", default)]
    #[serde(deserialize_with = "value::text")]
    customer: Option<String>,
    /// With a line of this SKU, exactly. `sku=` is the same.
    #[serde(rename = "filter[sku]", alias = "sku", default, deserialize_with = "value::text")]
    sku: Option<String>,
    /// The beginning of an order number, or exactly a customer reference or a SKU. `search=` is
    /// the same.
    #[serde(default, alias = "search", deserialize_with = "value::text")]
    q: Option<String>,
}

impl ListQuery {
    fn filters(self) -> Filters {
        Filters {
            statuses: self.statuses,
            financial_statuses: self.financial_statuses,
            channels: self.channels,
            currencies: self.currencies,
            countries: self.countries,
            placed: (self.placed_from, self.placed_before),
            dates: (self.date_from, self.date_to),
            total: (self.total_from, self.total_to),
            customer: self.customer,
            sku: self.sku,
            q: self.q,
        }
    }
}

/// A page of orders.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct OrderPage {
    data: Vec<OrderSummary>,
    page: PageLinks,
    /// Only with `count=exact`.
    #[serde(skip_serializing_if = "Option::is_none")]
    total: Option<Total>,
}

/// How many orders all pages have.
#[derive(Debug, Serialize, ToSchema)]
struct Total {
    /// At most 10,000.
    value: i64,
    /// Whether there may be more than that.
    capped: bool,
}

impl IntoResponse for OrderPage {
    fn into_response(self) -> Response {
        let links = self.page.clone();
        let mut response = Json(self).into_response();
        // For the edge, as `Page` does.
        response.extensions_mut().insert(links);
        response
    }
}

/// Orders. All filters combine.
#[utoipa::path(get, path = "/api/v1/orders", tag = "orders",
    params(ListQuery, api_kit::headers::Read),
    responses((status = 200, description = "A page of orders.", body = OrderPage)))]
pub(super) async fn list(
    reader: Reader,
    Query(mut query): Query<ListQuery>,
) -> Result<(Freshness, OrderPage), Problem> {
    let (limit, count) = (query.limit, query.count);
    let (after, before) = (query.after.take(), query.before.take());
    let (sort, name) = query.sort.sort();
    let filter = query.filters().filter()?;
    let paging = Paging::new(limit, after, before, reader.store_id(), name)?;
    let from = match paging.key::<OrderCursor>()? {
        None => OrdersFrom::Start,
        Some(cursor) if paging.backward() => OrdersFrom::Before(cursor),
        Some(cursor) => OrdersFrom::After(cursor),
    };
    let mut view = reader.view(&PROJECTION).await?;
    let store_id = reader.store_id();
    let found = orders::list(view.conn(), store_id, &filter, (sort, &from), paging.rows()).await;
    let mut rows = found.map_err(unreadable)?.rows;
    if paging.backward() {
        // The page wants them as they were selected: nearest to the cursor first.
        rows.reverse();
    }
    let total = match count {
        CountMode::None => None,
        CountMode::Exact => {
            let value = orders::count(view.conn(), store_id, &filter).await.map_err(unreadable)?;
            Some(Total { value, capped: orders::COUNT_MAX <= value })
        }
    };
    let Page { data, page } = paging.page(rows, |order| order.cursor(sort.by));
    let data = data.into_iter().map(OrderSummary::new).collect();
    Ok((view.freshness, OrderPage { data, page, total }))
}
