//! What each order adds to the figures once it is paid, and takes from them when it is refunded.
//! Table `analytics_orders`.
//!
//! An order counts at the time it was placed. A later cancellation does not take it out again:
//! money given back, and what came back for it, counts at the time it is given.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use event_schemas::{
    ids::LineId,
    order::{ChargeKind, OrderEvent, OrderPlaced, OrderRefundRecorded, RefundLine},
};
use serde::{Deserialize, Serialize};
use sqlx::{PgConnection, types::Json};
use uuid::Uuid;

use super::Changes;
use super::refunds::{Refund, ReturnedLine};
use crate::{Fact, Key, ProjectionError, begun_before, column};

/// Refunds asked for and not yet given; `None` gives back all that is left.
type Pending = BTreeMap<Uuid, Option<Vec<RefundLine>>>;

/// A row of the table.
#[derive(Debug)]
struct Order {
    store_id: Uuid,
    order_id: Uuid,
    placed_at: DateTime<Utc>,
    currency: String,
    customer_reference: Option<String>,
    units: i64,
    products_minor: i64,
    postage_minor: i64,
    discounts_minor: i64,
    manual_minor: i64,
    fees_minor: i64,
    lines: Json<Vec<Line>>,
    pending: Json<Pending>,
    /// Whether it has been paid, and so added.
    counted: bool,
    /// Of the last event that changed anything here.
    version: i64,
}

/// A product line.
#[derive(Debug, Serialize, Deserialize)]
struct Line {
    line_id: LineId,
    product_id: Uuid,
    units: i64,
    unit_price_minor: i64,
    /// Units that came back.
    returned: i64,
}

/// Two statements.
pub(super) async fn apply(
    conn: &mut PgConnection,
    facts: &[Fact<'_, OrderEvent>],
    changes: &mut Changes,
) -> Result<(), ProjectionError> {
    if facts.is_empty() {
        return Ok(());
    }
    let known = load(conn, begun_before(facts)).await?;
    let keyed = known.into_iter().map(|order| ((order.store_id, order.order_id), order));
    let mut orders: BTreeMap<Key, Order> = keyed.collect();
    let mut touched = BTreeSet::new();
    for fact in facts {
        if let OrderEvent::Placed(event) = &fact.event {
            orders.entry(fact.key()).or_insert_with(|| Order::placed(fact.key(), event));
        }
        let order = orders.get_mut(&fact.key()).ok_or_else(|| fact.poison("no such order"))?;
        if fact.recorded.version > order.version && order.apply(fact, changes) {
            order.version = fact.recorded.version;
            touched.insert(fact.key());
        }
    }
    let touched: Vec<&Order> = touched.iter().map(|key| &orders[key]).collect();
    Ok(store(conn, &touched).await?)
}

impl Order {
    /// Charges by what they are; products are the rest of the total, so that the parts add up.
    fn placed((store_id, order_id): Key, event: &OrderPlaced) -> Order {
        let of_kind = |kind: ChargeKind| -> i64 {
            let charges = event.charges.iter().filter(|charge| charge.kind == kind);
            charges.map(|charge| charge.amount.amount_minor).sum()
        };
        let charges: i64 = event.charges.iter().map(|charge| charge.amount.amount_minor).sum();
        let lines = event.lines.iter().map(|line| Line {
            line_id: line.line_id,
            product_id: line.product_id.0,
            units: i64::from(line.quantity),
            unit_price_minor: line.unit_price.amount_minor,
            returned: 0,
        });
        Order {
            store_id,
            order_id,
            placed_at: event.at,
            currency: event.total.currency.code().to_owned(),
            customer_reference: event.customer_reference.clone(),
            units: event.lines.iter().map(|line| i64::from(line.quantity)).sum(),
            products_minor: event.total.amount_minor - charges,
            postage_minor: of_kind(ChargeKind::Postage),
            discounts_minor: of_kind(ChargeKind::Discount),
            manual_minor: of_kind(ChargeKind::Manual),
            // Tax on top is no revenue of anybody here either: it is passed on, as fees are.
            fees_minor: of_kind(ChargeKind::Fee) + of_kind(ChargeKind::Tax),
            lines: Json(lines.collect()),
            pending: Json(BTreeMap::new()),
            counted: false,
            version: 0,
        }
    }

    /// Whether the row is another one afterwards.
    fn apply(&mut self, fact: &Fact<'_, OrderEvent>, changes: &mut Changes) -> bool {
        match &fact.event {
            OrderEvent::Placed(event) => {
                for line in &event.lines {
                    changes.products.name(self.store_id, line.product_id.0, &line.title);
                }
            }
            OrderEvent::Paid(_) if !self.counted => self.count(changes),
            OrderEvent::RefundRequested(event) => {
                self.pending.insert(event.refund_id.0, Some(event.lines.clone()));
            }
            OrderEvent::CancellationRequested(event) => {
                self.pending.insert(event.refund_id.0, None);
            }
            OrderEvent::RefundFailed(event) => {
                self.pending.remove(&event.refund_id.0);
            }
            OrderEvent::RefundRecorded(event) => {
                self.refund(fact.recorded.position, event, changes);
            }
            OrderEvent::Paid(_)
            | OrderEvent::Confirmed(_)
            | OrderEvent::Cancelled(_)
            | OrderEvent::FulfilmentCreated(_)
            | OrderEvent::FulfilmentShipped(_)
            | OrderEvent::FulfilmentDelivered(_)
            | OrderEvent::FulfilmentCancelled(_) => return false,
        }
        true
    }

    fn gross_minor(&self) -> i64 {
        let charges =
            self.postage_minor + self.discounts_minor + self.manual_minor + self.fees_minor;
        self.products_minor + charges
    }

    fn count(&mut self, changes: &mut Changes) {
        self.counted = true;
        let (store_id, at) = (self.store_id, self.placed_at);
        let figures = changes.sales.at(store_id, at, &self.currency);
        figures.orders += 1;
        figures.units += self.units;
        figures.products += self.products_minor;
        figures.postage += self.postage_minor;
        figures.discounts += self.discounts_minor;
        figures.manual += self.manual_minor;
        figures.fees += self.fees_minor;
        for line in &self.lines.0 {
            let product = changes.products.at(store_id, &self.currency, at, line.product_id);
            product.units += line.units;
            product.revenue += line.units * line.unit_price_minor;
        }
        // Also for a customer's order: a customer's first order may turn out to be an earlier one,
        // and its span has to be there however the events came in batches.
        let activity = changes.activity.at(store_id, at);
        activity.orders += 1;
        match &self.customer_reference {
            Some(customer) => {
                let gross = self.gross_minor();
                changes.customers.order(store_id, customer, (at, &self.currency, gross));
            }
            None => activity.guest_orders += 1,
        }
    }

    fn refund(&mut self, position: i64, event: &OrderRefundRecorded, changes: &mut Changes) {
        let wanted = self.pending.remove(&event.refund_id.0);
        let lines = wanted.map(|wanted| self.take_back(wanted.as_deref())).unwrap_or_default();
        for line in &lines {
            let currency = &self.currency;
            let product = changes.products.at(self.store_id, currency, event.at, line.product_id);
            product.returned_units += line.units;
            product.returned += line.amount_minor;
        }
        let document = event.reference.clone();
        let refund = Refund {
            store_id: self.store_id,
            position,
            order_id: Some(self.order_id),
            document: document.unwrap_or_else(|| event.refund_id.to_string()),
            customer_reference: self.customer_reference.clone(),
            currency: event.amount.currency.code().to_owned(),
            amount_minor: event.amount.amount_minor,
            lines: Json(lines),
            given_at: event.at,
        };
        changes.customers.refund(&refund);
        changes.refunds.push(refund);
    }

    /// Takes units back, all that are left for `None`, and says of which products.
    fn take_back(&mut self, wanted: Option<&[RefundLine]>) -> Vec<ReturnedLine> {
        let mut returned = Vec::new();
        for line in self.lines.iter_mut().filter(|_| self.counted) {
            let left = line.units - line.returned;
            let units = wanted.map_or(left, |wanted| {
                let of_line = wanted.iter().filter(|refund| refund.line_id == line.line_id);
                of_line.map(|refund| i64::from(refund.quantity)).sum::<i64>().min(left)
            });
            if units > 0 {
                line.returned += units;
                let amount_minor = units * line.unit_price_minor;
                returned.push(ReturnedLine { product_id: line.product_id, units, amount_minor });
            }
        }
        returned
    }
}

async fn load(
    conn: &mut PgConnection,
    (stores, orders): (Vec<Uuid>, Vec<Uuid>),
) -> Result<Vec<Order>, sqlx::Error> {
    sqlx::query_as!(
        Order,
        r#"SELECT o.store_id, o.order_id, placed_at, currency, customer_reference, units,
                  products_minor, postage_minor, discounts_minor, manual_minor, fees_minor,
                  lines AS "lines: _", pending AS "pending: _", counted, version
             FROM unnest($1::uuid[], $2::uuid[]) AS wanted (store_id, order_id)
             JOIN analytics_orders o
               ON o.store_id = wanted.store_id AND o.order_id = wanted.order_id"#,
        &stores,
        &orders
    )
    .fetch_all(conn)
    .await
}

/// What an order was placed with does not change; the rest is replaced.
async fn store(conn: &mut PgConnection, orders: &[&Order]) -> Result<(), sqlx::Error> {
    if orders.is_empty() {
        return Ok(());
    }
    sqlx::query!(
        "INSERT INTO analytics_orders (store_id, order_id, placed_at, currency, customer_reference,
             units, products_minor, postage_minor, discounts_minor, manual_minor, fees_minor,
             lines, pending, counted, version)
         SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::timestamptz[], $4::text[], $5::text[],
             $6::bigint[], $7::bigint[], $8::bigint[], $9::bigint[], $10::bigint[], $11::bigint[],
             $12::jsonb[], $13::jsonb[], $14::boolean[], $15::bigint[])
         ON CONFLICT (store_id, order_id) DO UPDATE
            SET lines = excluded.lines, pending = excluded.pending, counted = excluded.counted,
                version = excluded.version",
        &column(orders, |order| order.store_id),
        &column(orders, |order| order.order_id),
        &column(orders, |order| order.placed_at),
        &column(orders, |order| order.currency.as_str()) as &[&str],
        &column(orders, |order| order.customer_reference.as_deref()) as &[Option<&str>],
        &column(orders, |order| order.units),
        &column(orders, |order| order.products_minor),
        &column(orders, |order| order.postage_minor),
        &column(orders, |order| order.discounts_minor),
        &column(orders, |order| order.manual_minor),
        &column(orders, |order| order.fees_minor),
        &column(orders, |order| Json(&order.lines.0)) as &[Json<&Vec<Line>>],
        &column(orders, |order| Json(&order.pending.0)) as &[Json<&Pending>],
        &column(orders, |order| order.counted),
        &column(orders, |order| order.version)
    )
    .execute(conn)
    .await?;
    Ok(())
}
