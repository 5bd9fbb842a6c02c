//! Paid orders and money given back, per day and currency. Tables `analytics_daily_sales` and, to
//! know later what an order was made of, `analytics_orders` and `analytics_credit_notes`.
//!
//! An order counts once it is paid, on the day it was placed, in business time and UTC. A later
//! cancellation does not take it out again; the money given back counts on the day it is given.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, NaiveDate, Utc};
use event_schemas::{
    money::Money,
    order::{AdjustmentEvent, ChargeKind, OrderEvent, OrderPlaced},
};
use event_store::Recorded;
use sqlx::PgConnection;
use uuid::Uuid;

use crate::{Fact, Key, ProjectionError, columns, facts};

/// What an order adds to its day.
struct Order {
    store_id: Uuid,
    order_id: Uuid,
    day: NaiveDate,
    currency: String,
    units: i64,
    products_minor: i64,
    postage_minor: i64,
    discounts_minor: i64,
    manual_minor: i64,
    fees_minor: i64,
    /// Whether it has been paid, and so added.
    counted: bool,
    /// Of the last event that changed anything here.
    version: i64,
}

/// Additions to one row of `analytics_daily_sales`.
#[derive(Default)]
struct Day {
    orders: i64,
    units: i64,
    products: i64,
    postage: i64,
    discounts: i64,
    manual: i64,
    fees: i64,
    cancellations: i64,
    refunds: i64,
}

/// Store, day, currency.
type DayKey = (Uuid, NaiveDate, String);

/// Money given back.
struct Credit {
    position: i64,
    day: DayKey,
    /// What it was given back with; one document may be several credits.
    document: String,
    amount_minor: i64,
}

impl Credit {
    fn new(recorded: &Recorded, document: String, amount: Money, at: DateTime<Utc>) -> Credit {
        let currency = amount.currency.code().to_owned();
        Credit {
            position: recorded.position,
            day: (recorded.store_id, at.date_naive(), currency),
            document,
            amount_minor: amount.amount_minor,
        }
    }
}

/// Four statements per batch, however many events it holds.
pub(super) async fn apply(
    conn: &mut PgConnection,
    batch: &[Recorded],
) -> Result<(), ProjectionError> {
    let orders = facts::<OrderEvent>(batch, "order")?;
    let adjustments = facts::<AdjustmentEvent>(batch, "refund_adjustment")?;
    let mut days = BTreeMap::new();
    let mut credits: Vec<Credit> = adjustments.iter().map(adjustment).collect();
    if !orders.is_empty() {
        credits.extend(apply_orders(conn, &orders, &mut days).await?);
    }
    apply_credits(conn, credits, &mut days).await?;
    Ok(add_to_days(conn, &days).await?)
}

fn adjustment(fact: &Fact<'_, AdjustmentEvent>) -> Credit {
    let AdjustmentEvent::Recorded(event) = &fact.event;
    Credit::new(fact.recorded, event.reference.clone(), event.amount, event.at)
}

/// Counts orders that are paid, and returns what was given back.
async fn apply_orders(
    conn: &mut PgConnection,
    facts: &[Fact<'_, OrderEvent>],
    days: &mut BTreeMap<DayKey, Day>,
) -> Result<Vec<Credit>, ProjectionError> {
    let known = load(conn, columns(facts.iter().map(Fact::key))).await?;
    let keyed = known.into_iter().map(|order| ((order.store_id, order.order_id), order));
    let mut orders: BTreeMap<Key, Order> = keyed.collect();
    let mut changed = BTreeSet::new();
    let mut credits = Vec::new();
    for fact in facts {
        if let OrderEvent::Placed(event) = &fact.event {
            orders.entry(fact.key()).or_insert_with(|| placed(fact.key(), event));
        }
        let order = orders.get_mut(&fact.key()).ok_or_else(|| fact.poison("no such order"))?;
        if fact.recorded.version <= order.version {
            continue;
        }
        match &fact.event {
            OrderEvent::Placed(_) => {}
            OrderEvent::Paid(_) if !order.counted => {
                order.counted = true;
                days.entry(order.day()).or_default().add(order);
            }
            OrderEvent::RefundRecorded(event) => {
                let document = event.reference.clone();
                let document = document.unwrap_or_else(|| event.refund_id.to_string());
                credits.push(Credit::new(fact.recorded, document, event.amount, event.at));
            }
            _ => continue,
        }
        order.version = fact.recorded.version;
        changed.insert(fact.key());
    }
    store(conn, changed.iter().map(|key| &orders[key]).collect()).await?;
    Ok(credits)
}

impl Order {
    fn day(&self) -> DayKey {
        (self.store_id, self.day, self.currency.clone())
    }
}

impl Day {
    fn add(&mut self, order: &Order) {
        self.orders += 1;
        self.units += order.units;
        self.products += order.products_minor;
        self.postage += order.postage_minor;
        self.discounts += order.discounts_minor;
        self.manual += order.manual_minor;
        self.fees += order.fees_minor;
    }
}

/// Charges by what they are; products are the rest of the total, so that the parts add up.
fn placed((store_id, order_id): Key, event: &OrderPlaced) -> Order {
    let of_kind = |kind: ChargeKind| -> i64 {
        let charges = event.charges.iter().filter(|charge| charge.kind == kind);
        charges.map(|charge| charge.amount.amount_minor).sum()
    };
    let charges: i64 = event.charges.iter().map(|charge| charge.amount.amount_minor).sum();
    Order {
        store_id,
        order_id,
        day: event.at.date_naive(),
        currency: event.total.currency.code().to_owned(),
        units: event.lines.iter().map(|line| i64::from(line.quantity)).sum(),
        products_minor: event.total.amount_minor - charges,
        postage_minor: of_kind(ChargeKind::Postage),
        discounts_minor: of_kind(ChargeKind::Discount),
        manual_minor: of_kind(ChargeKind::Manual),
        fees_minor: of_kind(ChargeKind::Fee),
        counted: false,
        version: 0,
    }
}

/// Adds what was given back to its days; a document that comes again is no further cancellation.
async fn apply_credits(
    conn: &mut PgConnection,
    mut credits: Vec<Credit>,
    days: &mut BTreeMap<DayKey, Day>,
) -> Result<(), sqlx::Error> {
    if credits.is_empty() {
        return Ok(());
    }
    // The day of the first credit of a document counts, whatever context it comes from.
    credits.sort_by_key(|credit| credit.position);
    let keys = credits.iter().map(|credit| (credit.day.0, credit.document.clone()));
    let (stores, documents): (Vec<Uuid>, Vec<String>) =
        keys.collect::<BTreeSet<_>>().into_iter().unzip();
    let new = sqlx::query!(
        "INSERT INTO analytics_credit_notes (store_id, document)
         SELECT * FROM unnest($1::uuid[], $2::text[])
         ON CONFLICT (store_id, document) DO NOTHING
         RETURNING store_id, document",
        &stores,
        &documents
    );
    let new = new.fetch_all(conn).await?;
    let mut new: BTreeSet<_> = new.into_iter().map(|row| (row.store_id, row.document)).collect();
    for Credit { day, document, amount_minor, .. } in credits {
        let is_new = new.remove(&(day.0, document));
        let day = days.entry(day).or_default();
        day.cancellations += i64::from(is_new);
        day.refunds += amount_minor;
    }
    Ok(())
}

async fn load(
    conn: &mut PgConnection,
    (stores, orders): (Vec<Uuid>, Vec<Uuid>),
) -> Result<Vec<Order>, sqlx::Error> {
    sqlx::query_as!(
        Order,
        "SELECT o.store_id, o.order_id, day, currency, units, products_minor, postage_minor,
                discounts_minor, manual_minor, fees_minor, counted, version
           FROM unnest($1::uuid[], $2::uuid[]) AS wanted (store_id, order_id)
           JOIN analytics_orders o
             ON o.store_id = wanted.store_id AND o.order_id = wanted.order_id",
        &stores,
        &orders
    )
    .fetch_all(conn)
    .await
}

async fn store(conn: &mut PgConnection, orders: Vec<&Order>) -> Result<(), sqlx::Error> {
    let ids = |of: fn(&Order) -> Uuid| orders.iter().map(|order| of(order)).collect::<Vec<Uuid>>();
    let amounts =
        |of: fn(&Order) -> i64| orders.iter().map(|order| of(order)).collect::<Vec<i64>>();
    sqlx::query!(
        "INSERT INTO analytics_orders (store_id, order_id, day, currency, units, products_minor,
             postage_minor, discounts_minor, manual_minor, fees_minor, counted, version)
         SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::date[], $4::text[], $5::bigint[],
             $6::bigint[], $7::bigint[], $8::bigint[], $9::bigint[], $10::bigint[],
             $11::boolean[], $12::bigint[])
         ON CONFLICT (store_id, order_id) DO UPDATE
            SET counted = excluded.counted, version = excluded.version",
        &ids(|order| order.store_id),
        &ids(|order| order.order_id),
        &orders.iter().map(|order| order.day).collect::<Vec<_>>(),
        &orders.iter().map(|order| order.currency.clone()).collect::<Vec<_>>(),
        &amounts(|order| order.units),
        &amounts(|order| order.products_minor),
        &amounts(|order| order.postage_minor),
        &amounts(|order| order.discounts_minor),
        &amounts(|order| order.manual_minor),
        &amounts(|order| order.fees_minor),
        &orders.iter().map(|order| order.counted).collect::<Vec<_>>(),
        &amounts(|order| order.version)
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Not repeatable by itself: what makes it happen once is the checkpoint in the same transaction.
async fn add_to_days(
    conn: &mut PgConnection,
    days: &BTreeMap<DayKey, Day>,
) -> Result<(), sqlx::Error> {
    if days.is_empty() {
        return Ok(());
    }
    let amounts = |of: fn(&Day) -> i64| days.values().map(of).collect::<Vec<i64>>();
    sqlx::query!(
        "INSERT INTO analytics_daily_sales AS d (store_id, day, currency, orders, units,
             products_minor, postage_minor, discounts_minor, manual_minor, fees_minor,
             cancellations, refunds_minor)
         SELECT * FROM unnest($1::uuid[], $2::date[], $3::text[], $4::bigint[], $5::bigint[],
             $6::bigint[], $7::bigint[], $8::bigint[], $9::bigint[], $10::bigint[],
             $11::bigint[], $12::bigint[])
         ON CONFLICT (store_id, day, currency) DO UPDATE
            SET orders = d.orders + excluded.orders,
                units = d.units + excluded.units,
                products_minor = d.products_minor + excluded.products_minor,
                postage_minor = d.postage_minor + excluded.postage_minor,
                discounts_minor = d.discounts_minor + excluded.discounts_minor,
                manual_minor = d.manual_minor + excluded.manual_minor,
                fees_minor = d.fees_minor + excluded.fees_minor,
                cancellations = d.cancellations + excluded.cancellations,
                refunds_minor = d.refunds_minor + excluded.refunds_minor",
        &days.keys().map(|key| key.0).collect::<Vec<_>>(),
        &days.keys().map(|key| key.1).collect::<Vec<_>>(),
        &days.keys().map(|key| key.2.clone()).collect::<Vec<_>>(),
        &amounts(|day| day.orders),
        &amounts(|day| day.units),
        &amounts(|day| day.products),
        &amounts(|day| day.postage),
        &amounts(|day| day.discounts),
        &amounts(|day| day.manual),
        &amounts(|day| day.fees),
        &amounts(|day| day.cancellations),
        &amounts(|day| day.refunds)
    )
    .execute(conn)
    .await?;
    Ok(())
}
