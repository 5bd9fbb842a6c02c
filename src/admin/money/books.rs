//! Our own books: what has to hold after every event, and in the end.

use std::collections::{BTreeMap, HashMap};

use chrono::{DateTime, Duration, Utc};
use cqrs_es::Aggregate;
use domain::{
    checkout::{Checkout, Phase},
    inventory::StockItem,
    order::Order,
    payment::{Payment, PaymentRefundState, PaymentStatus},
};
use event_schemas::{
    ids::{CheckoutId, OrderId, PaymentId, StoreId, VariantId},
    metadata::Metadata,
    order::{OrderEvent, OrderPlaced},
    payment::PaymentEvent,
    upcast,
};
use event_store::Recorded;
use serde::de::DeserializeOwned;
use uuid::Uuid;

/// How long after its hold a checkout may take to end: runners look every minute, and ask a silent
/// provider once a minute.
const OVERDUE: Duration = Duration::hours(1);

/// How long a method that takes its time may take: bank debits, with weekends and holidays.
const PROCESSING_MAX: Duration = Duration::days(14);

/// Store and stream.
type Key = (Uuid, Uuid);

/// A payment with what its events say beside its state.
#[derive(Debug, Default)]
pub(super) struct Paid {
    pub(super) state: Payment,
    /// Whom we asked.
    pub(super) provider: String,
    /// When something last happened to it.
    pub(super) last: DateTime<Utc>,
}

impl Paid {
    /// What was taken, in minor units.
    pub(super) fn captured(&self) -> i64 {
        self.state.captured.map_or(0, |money| money.amount_minor)
    }

    /// What went back or is on its way.
    pub(super) fn refunded(&self) -> i64 {
        self.sum(|state| {
            matches!(state, PaymentRefundState::Succeeded | PaymentRefundState::Pending { .. })
        })
    }

    /// What was taken and did not go back, in minor units.
    pub(super) fn kept(&self) -> i64 {
        self.captured() - self.refunded()
    }

    fn sum(&self, of: impl Fn(&PaymentRefundState) -> bool) -> i64 {
        let refunds = self.state.refunds.values().filter(|refund| of(&refund.state));
        refunds.map(|refund| refund.amount.amount_minor).sum()
    }
}

/// States of everything that money or stock is in, as far as they were read.
#[derive(Debug, Default)]
pub(super) struct Books {
    stock: HashMap<Key, (StockItem, DateTime<Utc>)>,
    checkouts: BTreeMap<Key, Checkout>,
    payments: BTreeMap<Key, Paid>,
    orders: BTreeMap<Key, Order>,
    findings: Vec<String>,
}

impl Books {
    /// The next event. Fails if it cannot be read.
    pub(super) fn take(&mut self, event: &Recorded) -> anyhow::Result<()> {
        let key = (event.store_id, event.stream_id);
        match event.category.as_str() {
            "stock_item" => self.take_stock(key, event)?,
            "checkout" => {
                let checkout = self.checkouts.entry(key).or_default();
                let ended = checkout.phase.is_end();
                checkout.apply(decode(event)?);
                if ended {
                    let id = CheckoutId(event.stream_id);
                    let kind = &event.event_type;
                    self.findings.push(format!("checkout {id} has ended and goes on: {kind}"));
                }
            }
            "payment" => self.take_payment(key, event)?,
            "order" => {
                let decoded: OrderEvent = decode(event)?;
                if let OrderEvent::Placed(placed) = &decoded {
                    self.findings.extend(sums(OrderId(event.stream_id), placed));
                }
                self.orders.entry(key).or_default().apply(decoded);
            }
            _ => {}
        }
        Ok(())
    }

    /// At no prefix of the log more units are promised than there are, anywhere.
    fn take_stock(&mut self, key: Key, event: &Recorded) -> anyhow::Result<()> {
        let (item, latest) = self.stock.entry(key).or_default();
        item.apply(decode(event)?);
        let metadata: Metadata = serde_json::from_slice(&event.metadata)?;
        // A hold that is over does not begin to count again because an import comes from before.
        *latest = metadata.occurred_at.max(*latest);
        for level in item.levels(*latest) {
            let promised = level.reserved + level.allocated;
            if level.on_hand < promised {
                self.findings.push(format!(
                    "oversold: variant {} at {}, position {}: {promised} promised of {}",
                    VariantId(key.1),
                    level.location,
                    event.position,
                    level.on_hand
                ));
            }
        }
        Ok(())
    }

    /// At no prefix of the log more is given back than was taken.
    fn take_payment(&mut self, key: Key, event: &Recorded) -> anyhow::Result<()> {
        let decoded: PaymentEvent = decode(event)?;
        let paid = self.payments.entry(key).or_default();
        if let PaymentEvent::IntentRequested(intent) = &decoded {
            paid.provider.clone_from(&intent.provider);
        }
        let recorded: Metadata = serde_json::from_slice(&event.metadata)?;
        paid.last = paid.last.max(recorded.occurred_at).max(event.recorded_at);
        paid.state.apply(decoded);
        let asked = paid.sum(|state| !matches!(state, PaymentRefundState::Failed { .. }));
        if paid.captured() < asked {
            let (id, captured) = (PaymentId(key.1), paid.captured());
            self.findings.push(format!(
                "payment {id}, position {}: {asked} to go back of {captured} captured",
                event.position
            ));
        }
        Ok(())
    }

    /// The end of the log: every checkout has ended in time, and money is where it belongs.
    pub(super) fn close(&mut self, now: DateTime<Utc>) {
        let mut findings = vec![];
        for ((store, id), checkout) in &self.checkouts {
            let id = CheckoutId(*id);
            if checkout.stuck.is_some() {
                findings.push(format!("checkout {id} is stuck"));
            } else if !checkout.phase.is_end() && self.is_overdue(*store, checkout, now) {
                findings.push(format!("checkout {id} has not ended: {:?}", checkout.phase));
            }
            let attempts = checkout.attempts.iter();
            let left: i64 = attempts
                .filter_map(|attempt| self.payments.get(&(*store, attempt.payment_id.0)))
                .filter(|paid| !paid.state.has_open_refund())
                .map(Paid::kept)
                .sum();
            if matches!(checkout.phase, Phase::Failed { .. }) && left != 0 {
                findings.push(format!("checkout {id} has failed and keeps {left}"));
            }
        }
        for ((store, id), order) in &self.orders {
            let Some(placed) = &order.placed else { continue };
            let payment = self.payments.get(&(*store, placed.payment_id.0));
            let (Some(paid), Some(payment)) = (placed.paid, payment) else { continue };
            if payment.captured() != paid.amount_minor || paid != placed.total {
                findings.push(format!(
                    "order {} of {}: {} paid, {} captured",
                    OrderId(*id),
                    placed.total.amount_minor,
                    paid.amount_minor,
                    payment.captured()
                ));
            }
        }
        self.findings.extend(findings);
    }

    fn is_overdue(&self, store: Uuid, checkout: &Checkout, now: DateTime<Utc>) -> bool {
        let Some(until) = checkout.hold_until else { return false };
        let last = checkout.attempt(checkout.last_attempt());
        let last = last.and_then(|attempt| self.payments.get(&(store, attempt.payment_id.0)));
        let slow = last.is_some_and(|paid| paid.state.status == PaymentStatus::Processing);
        until + if slow { PROCESSING_MAX } else { OVERDUE } < now
    }

    /// Every payment, by store.
    pub(super) fn payments(&self) -> &BTreeMap<Key, Paid> {
        &self.payments
    }

    /// Stores that were paid by a provider.
    pub(super) fn stores(&self) -> Vec<StoreId> {
        let mut stores: Vec<_> = self.payments.keys().map(|(store, _)| StoreId(*store)).collect();
        stores.dedup();
        stores
    }

    pub(super) fn findings(&mut self) -> Vec<String> {
        std::mem::take(&mut self.findings)
    }
}

/// The lines and charges of an order are its total.
fn sums(id: OrderId, placed: &OrderPlaced) -> Option<String> {
    let lines = placed.lines.iter().map(|line| line.total().map(|total| total.amount_minor));
    let charges = placed.charges.iter().map(|charge| Some(charge.amount.amount_minor));
    let sum = lines.chain(charges).try_fold(0_i64, |sum, part| sum.checked_add(part?));
    let total = placed.total.amount_minor;
    (sum != Some(total)).then(|| format!("order {id}: total {total}, its parts {sum:?}"))
}

fn decode<E: DeserializeOwned>(event: &Recorded) -> Result<E, serde_json::Error> {
    upcast::decode(&event.event_type, event.schema_version, &event.payload)
}
