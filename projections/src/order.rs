//! Orders as people look at them: lists, one order with all that belongs to it, its timeline.

use std::collections::BTreeMap;

use event_schemas::{
    order::{AdjustmentEvent, OrderEvent},
    payment::PaymentEvent,
};
use event_store::Recorded;
use sqlx::PgConnection;

use crate::{Fact, Key, Projection, ProjectionError, begun_before, facts};

pub mod adjustments;
pub mod fulfilments;
pub mod lines;
pub mod list;
pub mod payments;
pub mod refunds;
pub mod summaries;
pub mod timeline;

use fulfilments::Fulfilment;
use refunds::Refund;
use summaries::Order;

/// From the events of orders, payments and refund adjustments.
pub const PROJECTION: Projection = Projection {
    name: "orders",
    version: 2,
    tables: &[
        "order_summaries",
        "order_lines",
        "order_charges",
        "order_refunds",
        "order_fulfilments",
        "order_payments",
        "order_timeline",
        "order_adjustments",
    ],
    categories: &["order", "payment", "refund_adjustment"],
    except: &[],
    streams_commute: true,
    apply: |conn, batch| Box::pin(apply(conn, batch)),
};

/// An order that a batch touches.
struct Touched {
    order: Order,
    /// Empty for orders without refunds; in no order.
    refunds: Vec<Refund>,
    /// Empty for orders without parcels; in no order.
    fulfilments: Vec<Fulfilment>,
    changed: bool,
}

impl Touched {
    fn new(order: Order, changed: bool) -> Touched {
        Touched { order, refunds: Vec::new(), fulfilments: Vec::new(), changed }
    }
}

/// Twelve statements per batch, however many events it holds.
async fn apply(conn: &mut PgConnection, batch: &[Recorded]) -> Result<(), ProjectionError> {
    let orders = facts::<OrderEvent>(batch, "order")?;
    let payments = facts::<PaymentEvent>(batch, "payment")?;
    let adjustments = facts::<AdjustmentEvent>(batch, "refund_adjustment")?;
    let mut entries = timeline::Additions::default();
    if !orders.is_empty() {
        let touched = apply_orders(conn, &orders).await?;
        for fact in &orders {
            entries.add(fact, touched[&fact.key()].order.checkout_id)?;
        }
    }
    if !payments.is_empty() {
        let touched = payments::apply(conn, &payments).await?;
        for fact in &payments {
            entries.add(fact, touched[&fact.key()].checkout_id)?;
        }
    }
    timeline::store(conn, &entries).await?;
    if !adjustments.is_empty() {
        adjustments::store(conn, &adjustments).await?;
    }
    Ok(())
}

/// Reads the rows that `facts` touch, changes them in memory and writes them back.
async fn apply_orders(
    conn: &mut PgConnection,
    facts: &[Fact<'_, OrderEvent>],
) -> Result<BTreeMap<Key, Touched>, ProjectionError> {
    let (stores, ids) = begun_before(facts);
    let known = summaries::load(conn, (&stores, &ids)).await?;
    let mut touched: BTreeMap<Key, Touched> =
        known.into_iter().map(|order| (order.key(), Touched::new(order, false))).collect();
    for refund in refunds::load(conn, (&stores, &ids)).await? {
        if let Some(touched) = touched.get_mut(&(refund.store_id, refund.order_id)) {
            touched.refunds.push(refund);
        }
    }
    for fulfilment in fulfilments::load(conn, (&stores, &ids)).await? {
        if let Some(touched) = touched.get_mut(&(fulfilment.store_id, fulfilment.order_id)) {
            touched.fulfilments.push(fulfilment);
        }
    }
    for fact in facts {
        apply_order(&mut touched, fact)?;
    }
    let changed = || touched.values().filter(|touched| touched.changed);
    let orders: Vec<&Order> = changed().map(|touched| &touched.order).collect();
    summaries::store(conn, &orders).await?;
    refunds::store(conn, changed().flat_map(|touched| &touched.refunds).collect()).await?;
    fulfilments::store(conn, changed().flat_map(|touched| &touched.fulfilments).collect()).await?;
    lines::store(conn, facts).await?;
    Ok(touched)
}

fn apply_order(
    touched: &mut BTreeMap<Key, Touched>,
    fact: &Fact<'_, OrderEvent>,
) -> Result<(), ProjectionError> {
    let key = fact.key();
    if let OrderEvent::Placed(event) = &fact.event {
        let new = || Touched::new(Order::placed(key, event), true);
        touched.entry(key).or_insert_with(new);
    }
    let touched = touched.get_mut(&key).ok_or_else(|| fact.poison("no such order"))?;
    // The row of a new order is at version 0 until here.
    if fact.recorded.version <= touched.order.version {
        return Ok(());
    }
    refunds::apply(&mut touched.refunds, &touched.order, &fact.event);
    fulfilments::apply(&mut touched.fulfilments, &touched.order, &fact.event);
    touched.order.apply(&fact.event);
    let status = fulfilments::status(&touched.fulfilments, &touched.refunds, &touched.order);
    status.clone_into(&mut touched.order.fulfilment_status);
    touched.order.version = fact.recorded.version;
    touched.order.updated_at = fact.recorded.recorded_at;
    touched.changed = true;
    Ok(())
}
