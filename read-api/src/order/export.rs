//! All orders of a list as a file, made while it is sent.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
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
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::timeout;
use utoipa::IntoParams;

use super::filter::{Filters, FinancialStatus, OrderChannel, OrderOrder, OrderStatus};
use crate::csv;
use crate::reader::{Freshness, Reader, View};
use crate::value;

/// Exports of one process at once, of as many stores. Each keeps a connection busy for as long as
/// its client keeps up, and queries need most of them.
const AT_ONCE: usize = 2;

/// Orders read at a time: some 150 KB of text. An export holds three such parts in memory: one being
/// read, one that waits, one being sent.
const WINDOW: i64 = 1_000;

/// Longest export, whatever it waits for: others want the place.
const TIME_MAX: Duration = Duration::from_mins(10);

/// Longest wait for a client to take the next part: one that has stopped reading gives its place up.
const SEND_MAX: Duration = Duration::from_secs(30);

/// Longest wait until a part can be read, at the position of the first one: as of a query.
const VIEW_MAX: Duration = Duration::from_secs(25);

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

static PLACES: Places = Places(Mutex::new(Vec::new()));

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
    let place = PLACES.take(reader.store_id());
    let place = place.ok_or_else(|| Problem::new("overloaded").retry_after(RETRY_AFTER))?;
    let view = reader.view(&PROJECTION).await?;
    let freshness = view.freshness;
    let (parts, received) = mpsc::channel(1);
    let export = Export { reader, filter, sort, parts };
    let place = Arc::new(Mutex::new(Some(place)));
    let sent = Shared(Arc::clone(&place));
    let mut task = JoinSet::new();
    task.spawn(async move {
        let _place = Shared(place);
        let ended = timeout(TIME_MAX, export.run(view)).await;
        if let Err(broken) = ended.unwrap_or(Err("it took too long")) {
            tracing::warn!(broken, "an export broke off");
        }
    });
    let sent = Sent { parts: received, _task: task, _place: sent };
    let body = Body::from_stream(stream::try_unfold(sent, Sent::part));
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static("text/csv; charset=utf-8")),
        (
            header::CONTENT_DISPOSITION,
            HeaderValue::from_static("attachment; filename=\"orders.csv\""),
        ),
    ];
    Ok((freshness, (headers, body).into_response()))
}

/// Stores whose orders are being exported: each once, [`AT_ONCE`] at most.
struct Places(Mutex<Vec<StoreId>>);

/// The place of a store, until dropped.
struct Place {
    store_id: StoreId,
    places: &'static Places,
}

impl Places {
    /// `None` if the store has one, or there is none left.
    fn take(&'static self, store_id: StoreId) -> Option<Place> {
        let mut stores = self.lock();
        if AT_ONCE <= stores.len() || stores.contains(&store_id) {
            return None;
        }
        stores.push(store_id);
        Some(Place { store_id, places: self })
    }

    fn lock(&self) -> MutexGuard<'_, Vec<StoreId>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.places.lock().retain(|store_id| *store_id != self.store_id);
    }
}

/// The place of an export, which ends with its task or with its answer, whichever goes first: who
/// has got a file, or hung up, may ask for the next one at once.
struct Shared(Arc<Mutex<Option<Place>>>);

impl Drop for Shared {
    fn drop(&mut self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
    }
}

/// Why an export broke off.
type BrokenOff = &'static str;

/// A part of the file; `None` is its end, without which it is not complete.
type Part = Option<Bytes>;

/// What a client has still to get. Who drops it ends the export.
struct Sent {
    parts: mpsc::Receiver<Part>,
    _task: JoinSet<()>,
    _place: Shared,
}

impl Sent {
    async fn part(mut self) -> Result<Option<(Bytes, Sent)>, std::io::Error> {
        match self.parts.recv().await {
            Some(Some(bytes)) => Ok(Some((bytes, self))),
            Some(None) => Ok(None),
            None => Err(std::io::Error::other("the export broke off")),
        }
    }
}

/// An export under way, in a task of its own: how long it lasts must not depend on a client that
/// does not read.
struct Export {
    reader: Reader,
    filter: OrderFilter,
    sort: OrderSort,
    parts: mpsc::Sender<Part>,
}

impl Export {
    async fn run(self, first: View) -> Result<(), BrokenOff> {
        // What is still open while a client reads makes every append slower, so that each part is
        // read by itself; but none from a server that is behind the first one.
        let position = first.position();
        let mut view = Some(first);
        let mut from = OrdersFrom::Start;
        let mut text = csv::line(HEADER.iter().copied());
        loop {
            let mut now = if let Some(first) = view.take() {
                first
            } else {
                let reader = self.reader.again(position, VIEW_MAX);
                let view = reader.view(&PROJECTION).await;
                view.map_err(|_| "the tables could not be read")?
            };
            let (filter, part) = (&self.filter, (self.sort, &from));
            let store_id = self.reader.store_id();
            let found = orders::list(now.conn(), store_id, filter, part, WINDOW).await;
            let found = found.inspect_err(|error| tracing::warn!(%error, "orders of an export"));
            let found = found.map_err(|_| "the orders could not be read")?;
            drop(now);
            text.extend(found.rows.iter().map(line));
            self.send(Some(Bytes::from(std::mem::take(&mut text)))).await?;
            match found.rows.last().filter(|_| found.more) {
                Some(last) => from = OrdersFrom::After(last.cursor(self.sort.by)),
                None => return self.send(None).await,
            }
        }
    }

    async fn send(&self, part: Part) -> Result<(), BrokenOff> {
        let sent = timeout(SEND_MAX, self.parts.send(part)).await;
        sent.map_err(|_| "its client read nothing for too long")?.map_err(|_| "its client is gone")
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

#[cfg(test)]
mod tests {
    use super::*;

    fn to_send(parts: mpsc::Receiver<Part>) -> Sent {
        Sent { parts, _task: JoinSet::new(), _place: Shared(Arc::default()) }
    }

    #[tokio::test]
    async fn only_a_file_whose_end_was_sent_ends_properly() {
        let (parts, received) = mpsc::channel(2);
        parts.send(Some(Bytes::from("number\r\n"))).await.unwrap();
        parts.send(None).await.unwrap();
        let sent = to_send(received);
        let (bytes, sent) = sent.part().await.unwrap().unwrap();
        assert_eq!(bytes, "number\r\n");
        assert!(sent.part().await.unwrap().is_none());

        let (parts, received) = mpsc::channel(1);
        drop(parts);
        let sent = to_send(received);
        assert!(sent.part().await.is_err());
    }

    #[test]
    fn a_store_has_one_place_and_a_process_two() {
        static PLACES: Places = Places(Mutex::new(Vec::new()));
        let stores = ["one", "two", "three"].map(StoreId::of_slug);
        let one = PLACES.take(stores[0]).unwrap();
        assert!(PLACES.take(stores[0]).is_none());
        let _two = PLACES.take(stores[1]).unwrap();
        assert!(PLACES.take(stores[2]).is_none());
        drop(one);
        assert!(PLACES.take(stores[2]).is_some());
    }
}
