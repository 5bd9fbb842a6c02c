//! All orders of a list as a file.

use api_kit::{Problem, Query};
use axum::response::Response;
use chrono::{DateTime, NaiveDate, Utc};
use event_schemas::ids::{OrderId, StoreId};
use projections::order::list::{self as orders, OrderFilter, OrderSort, OrdersFrom};
use projections::order::summaries::Order;
use serde::Deserialize;
use sqlx::PgConnection;
use utoipa::IntoParams;

use super::filter::{Filters, FinancialStatus, OrderChannel, OrderOrder, OrderStatus};
use crate::csv;
use crate::export::{self, Rows, WINDOW};
use crate::reader::{Freshness, Reader};
use crate::value;

const HEADER: &[&str] = &[
    "number",
    "status",
    "financial_status",
    "placed_at",
    "customer_reference",
    "country",
    "channel",
    "currency",
    "total",
    "captured",
    "refunded",
    "items",
    "id",
];

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct ExportQuery {
    /// As in the list.
    #[serde(default)]
    #[param(inline, required = false)]
    sort: OrderOrder,
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

impl ExportQuery {
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

/// All orders that the filters leave, as CSV.
///
/// One line per order, the first one names the columns; amounts in units of the currency. It is read
/// in parts: an order that is placed or changes meanwhile may or may not be in it, every other one is
/// in it once. A text that a spreadsheet would take for a formula has `'` in front. If the export
/// breaks off, so does the connection: a file that ends properly is complete. One per store at a
/// time, ten minutes each, and a client that reads nothing for 30 seconds is left.
#[utoipa::path(get, path = "/api/v1/orders/export.csv", tag = "orders", operation_id = "export_orders",
    params(ExportQuery, api_kit::headers::Read),
    responses((status = 200, description = "The file.", content_type = "text/csv", body = String)))]
pub(super) async fn export(
    reader: Reader,
    Query(query): Query<ExportQuery>,
) -> Result<(Freshness, Response), Problem> {
    let (sort, _) = query.sort.sort();
    let filter = query.filters().filter()?;
    let orders = ExportedOrders { filter, sort, from: OrdersFrom::Start };
    export::export(reader, Rows::Orders(Box::new(orders))).await
}

/// Orders of a file, and behind which one it goes on.
pub(crate) struct ExportedOrders {
    filter: OrderFilter,
    sort: OrderSort,
    from: OrdersFrom,
}

impl ExportedOrders {
    pub(crate) fn header() -> String {
        csv::line(HEADER.iter().copied())
    }

    /// The next lines, and whether there are more after them.
    pub(crate) async fn next(
        &mut self,
        conn: &mut PgConnection,
        store_id: StoreId,
    ) -> Result<(String, bool), sqlx::Error> {
        let part = (self.sort, &self.from);
        let found = orders::list(conn, store_id, &self.filter, part, WINDOW).await?;
        let lines = found.rows.iter().map(line).collect();
        match found.rows.last().filter(|_| found.more) {
            Some(last) => self.from = OrdersFrom::After(last.cursor(self.sort.by)),
            None => return Ok((lines, false)),
        }
        Ok((lines, true))
    }
}

fn line(order: &Order) -> String {
    let amount = |minor| csv::amount(minor, &order.currency);
    let (total, captured) = (amount(order.total_minor), amount(order.captured_minor));
    let (refunded, items) = (amount(order.refunded_minor), order.item_count.to_string());
    let placed_at = order.placed_at.to_rfc3339_opts(chrono::SecondsFormat::AutoSi, true);
    let id = OrderId(order.order_id).to_string();
    csv::line([
        order.number.as_str(),
        &order.status,
        &order.financial_status,
        &placed_at,
        order.customer_reference.as_deref().unwrap_or_default(),
        order.country.as_deref().unwrap_or_default(),
        &order.channel,
        &order.currency,
        &total,
        &captured,
        &refunded,
        &items,
        &id,
    ])
}
