//! All orders of a list as a file, made while it is sent.

use std::sync::Arc;
use std::time::Duration;

use api_kit::{Problem, Query};
use axum::body::{Body, Bytes};
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use chrono::{DateTime, NaiveDate, Utc};
use event_schemas::ids::{OrderId, StoreId};
use futures::stream;
use projections::order::PROJECTION;
use projections::order::list::{self as orders, OrderFilter, OrderSort, OrdersFrom};
use projections::order::summaries::Order;
use serde::Deserialize;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout_at};
use utoipa::IntoParams;

use super::filter::{Filters, FinancialStatus, OrderChannel, OrderOrder, OrderStatus};
use crate::csv;
use crate::reader::{Freshness, Reader, View};
use crate::value;

/// Exports of one process at once. Each has a connection to itself for as long as it takes, and
/// queries need most of them.
const AT_ONCE: usize = 2;

/// Orders read at a time: some 150 KB of text, which is what an export holds in memory.
const WINDOW: i64 = 1_000;

/// Longest export. It reads one state of the tables, and what is replaced meanwhile must be kept.
const TIME_MAX: Duration = Duration::from_mins(10);

/// What we ask of a client that found no place.
const RETRY_AFTER: Duration = Duration::from_secs(10);

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

static PLACES: std::sync::LazyLock<Arc<Semaphore>> =
    std::sync::LazyLock::new(|| Arc::new(Semaphore::new(AT_ONCE)));

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
/// One line per order, the first one names the columns; amounts in units of the currency. All of it
/// is one state of the data. A text that a spreadsheet would take for a formula has `'` in front. If
/// the export breaks off, so does the connection: a file that ends properly is complete. Two at a
/// time, ten minutes each.
#[utoipa::path(get, path = "/api/v1/orders/export.csv", tag = "orders", operation_id = "export_orders",
    params(ExportQuery, api_kit::headers::Read),
    responses((status = 200, description = "The file.", content_type = "text/csv", body = String)))]
pub(super) async fn export(
    reader: Reader,
    Query(query): Query<ExportQuery>,
) -> Result<(Freshness, Response), Problem> {
    let (sort, _) = query.sort.sort();
    let filter = query.filters().filter()?;
    let place = Arc::clone(&PLACES).try_acquire_owned();
    let place = place.map_err(|_| Problem::new("overloaded").retry_after(RETRY_AFTER))?;
    let view = reader.view(&PROJECTION).await?;
    let freshness = view.freshness;
    let export = Export {
        view,
        store_id: reader.store_id(),
        filter,
        sort,
        from: Some(OrdersFrom::Start),
        end: Instant::now() + TIME_MAX,
        _place: place,
    };
    let first = Bytes::from(csv::line(HEADER.iter().copied()));
    let first = stream::iter([Ok::<_, std::io::Error>(first)]);
    let rest = stream::try_unfold(export, Export::window);
    let body = Body::from_stream(futures::StreamExt::chain(first, rest));
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static("text/csv; charset=utf-8")),
        (
            header::CONTENT_DISPOSITION,
            HeaderValue::from_static("attachment; filename=\"orders.csv\""),
        ),
    ];
    Ok((freshness, (headers, body).into_response()))
}

/// An export under way. Ends with the client: what is dropped rolls its transaction back.
struct Export {
    view: View,
    store_id: StoreId,
    filter: OrderFilter,
    sort: OrderSort,
    /// `None` at the end.
    from: Option<OrdersFrom>,
    end: Instant,
    _place: OwnedSemaphorePermit,
}

impl Export {
    async fn window(mut self) -> Result<Option<(Bytes, Export)>, std::io::Error> {
        let Some(from) = self.from.take() else { return Ok(None) };
        let (filter, part) = (&self.filter, (self.sort, &from));
        let found = orders::list(self.view.conn(), self.store_id, filter, part, WINDOW);
        let found = timeout_at(self.end, found).await.map_err(std::io::Error::other)?;
        let found = found.inspect_err(|error| tracing::warn!(%error, "an export broke off"));
        let found = found.map_err(std::io::Error::other)?;
        let Some(last) = found.rows.last() else { return Ok(None) };
        self.from = found.more.then(|| OrdersFrom::After(last.cursor(self.sort.by)));
        let text: String = found.rows.iter().map(line).collect();
        Ok(Some((Bytes::from(text), self)))
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
