//! What is known of an order, and how its events change that.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use cqrs_es::{Aggregate, event_sink::EventSink};
use event_schemas::{
    ids::{CheckoutId, FulfilmentId, PaymentId, RefundId, VariantId},
    money::Money,
    order::{
        Channel, OrderCancellationRequested, OrderEvent, OrderLine, OrderPlaced, RefundLine,
        Restock,
    },
    quote::Pricing,
    store::CaptureMoment,
};
use serde::{Deserialize, Serialize};

use super::{Fulfilment, FulfilmentState, OrderCommand, OrderError, suggestion};

/// Where an order is in its life. A function of its events; nobody sets it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OrderStatus {
    /// The money is authorised.
    Placed,
    /// The stock is allocated too.
    Confirmed,
    /// The money is captured.
    Paid,
    /// Stock and money are on their way back.
    Cancelling,
    /// Nobody will fulfil it.
    Cancelled,
}

impl std::fmt::Display for OrderStatus {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Placed => "placed",
            Self::Confirmed => "confirmed",
            Self::Paid => "paid",
            Self::Cancelling => "cancelling",
            Self::Cancelled => "cancelled",
        })
    }
}

/// An order, as far as its rules and its processes need it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Order {
    /// None before it is placed.
    pub placed: Option<Placed>,
}

/// What is known of an order that was placed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Placed {
    /// Number for people.
    pub number: String,
    /// The checkout it came from.
    pub checkout_id: CheckoutId,
    /// The payment behind it.
    pub payment_id: PaymentId,
    /// Where it was made.
    pub channel: Channel,
    /// What was bought.
    pub lines: Vec<OrderLine>,
    /// What was taken off all lines together, in minor units; zero or more.
    pub(super) discount_minor: i64,
    /// What is owed.
    pub total: Money,
    /// How that came about; none if the lines and charges are all there is to it.
    pub pricing: Option<Box<Pricing>>,
    /// Where it is in its life.
    pub status: OrderStatus,
    /// When its money is taken; known once it is confirmed.
    pub capture: CaptureMoment,
    /// What was captured.
    pub paid: Option<Money>,
    /// Why it is cancelled, and the refund that belongs to it.
    pub cancellation: Option<Cancellation>,
    /// Every refund, whatever became of it.
    pub refunds: BTreeMap<RefundId, Refund>,
    /// Every parcel, whatever became of it.
    pub fulfilments: BTreeMap<FulfilmentId, Fulfilment>,
}

/// A cancellation that was asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cancellation {
    /// The refund of what was captured; also the reference of the units that come back.
    pub refund_id: RefundId,
    /// Why.
    pub reason: String,
    /// When it was asked for.
    pub at: DateTime<Utc>,
}

/// One refund of an order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refund {
    /// Document behind it.
    pub reference: Option<String>,
    /// How much.
    pub amount: Money,
    /// Units it is for, and what becomes of them.
    pub lines: Vec<RefundLine>,
    /// Why.
    pub reason: String,
    /// When it was asked for.
    pub at: DateTime<Utc>,
    /// What became of it.
    pub state: RefundState,
}

/// What became of a refund.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum RefundState {
    /// It was asked for.
    Pending,
    /// The money went back.
    Recorded,
    /// The money could not be sent back.
    Failed,
}

impl Placed {
    /// What was paid and is neither refunded nor being refunded.
    pub fn refundable(&self) -> Money {
        let paid = self.paid.unwrap_or(Money::zero(self.total.currency));
        let live = self.refunds.values().filter(|refund| refund.state != RefundState::Failed);
        live.fold(paid, |left, refund| Money {
            // In the order's currency, and never more than was left: the rules saw to it.
            amount_minor: left.amount_minor.saturating_sub(refund.amount.amount_minor),
            ..left
        })
    }

    /// Business time of a step that follows from something asked for at `asked`: the past stays in
    /// the past for an order that was taken over.
    pub fn business_time(&self, asked: DateTime<Utc>, now: DateTime<Utc>) -> DateTime<Utc> {
        match self.channel {
            Channel::Api => now,
            Channel::Import => asked,
        }
    }

    /// Units per variant, by variant id, that are still allocated to the order.
    pub fn outstanding_units(&self) -> BTreeMap<VariantId, u32> {
        let left = |line| self.shipped_units(line) + self.refunded(line, Restock::Cancel);
        sum_units(self.lines.iter().map(|line| (line.variant_id, line.quantity - left(line))))
    }

    /// Units per variant, by variant id, that a refund keeps from leaving.
    pub fn cancelled_units(&self, refund: &Refund) -> BTreeMap<VariantId, u32> {
        let kept = refund.lines.iter().filter(|line| line.restock == Restock::Cancel);
        sum_units(kept.filter_map(|refunded| {
            self.line(refunded.line_id).map(|line| (line.variant_id, refunded.quantity))
        }))
    }
}

pub(super) fn sum_units(units: impl Iterator<Item = (VariantId, u32)>) -> BTreeMap<VariantId, u32> {
    units.filter(|(_, quantity)| *quantity > 0).fold(
        BTreeMap::new(),
        |mut sums, (variant, quantity)| {
            *sums.entry(variant).or_default() += quantity;
            sums
        },
    )
}

impl Aggregate for Order {
    const TYPE: &'static str = "order";
    type Command = OrderCommand;
    type Event = OrderEvent;
    type Error = OrderError;
    type Services = ();

    async fn handle(
        &mut self,
        command: OrderCommand,
        _services: &(),
        sink: &EventSink<Self>,
    ) -> Result<(), OrderError> {
        for event in self.decide(command)? {
            sink.write(event, self).await;
        }
        Ok(())
    }

    fn apply(&mut self, event: OrderEvent) {
        if let OrderEvent::Placed(placed) = event {
            self.placed = Some(Placed::new(placed));
        } else if let Some(order) = &mut self.placed {
            order.apply(event);
        }
    }
}

impl Placed {
    fn new(event: OrderPlaced) -> Placed {
        Placed {
            number: event.number,
            checkout_id: event.checkout_id,
            payment_id: event.payment_id,
            channel: event.channel,
            discount_minor: suggestion::discount_minor(&event.charges),
            lines: event.lines,
            total: event.total,
            pricing: event.pricing,
            status: OrderStatus::Placed,
            capture: CaptureMoment::default(),
            paid: None,
            cancellation: None,
            refunds: BTreeMap::new(),
            fulfilments: BTreeMap::new(),
        }
    }

    fn apply(&mut self, event: OrderEvent) {
        match event {
            OrderEvent::Placed(_) => {}
            OrderEvent::Confirmed(e) => {
                (self.status, self.capture) = (OrderStatus::Confirmed, e.capture);
            }
            OrderEvent::Paid(e) => {
                self.status = OrderStatus::Paid;
                self.paid = Some(e.amount);
            }
            OrderEvent::CancellationRequested(e) => self.apply_cancellation(e),
            OrderEvent::Cancelled(_) => self.status = OrderStatus::Cancelled,
            OrderEvent::RefundRequested(e) => {
                let (amount, lines, state) = (e.amount, e.lines, RefundState::Pending);
                let (reference, reason, at) = (e.reference, e.reason, e.at);
                let refund = Refund { reference, amount, lines, reason, at, state };
                self.refunds.insert(e.refund_id, refund);
            }
            OrderEvent::RefundRecorded(e) => self.settle(e.refund_id, RefundState::Recorded),
            OrderEvent::RefundFailed(e) => self.settle(e.refund_id, RefundState::Failed),
            OrderEvent::FulfilmentCreated(e) => {
                let (location, lines, state) = (e.location, e.lines, FulfilmentState::Pending);
                let fulfilment = Fulfilment { location, lines, state, at: e.at };
                self.fulfilments.insert(e.fulfilment_id, fulfilment);
            }
            OrderEvent::FulfilmentShipped(e) => {
                self.move_parcel(e.fulfilment_id, FulfilmentState::Shipped, e.at);
            }
            OrderEvent::FulfilmentDelivered(e) => {
                self.move_parcel(e.fulfilment_id, FulfilmentState::Delivered, e.at);
            }
            OrderEvent::FulfilmentCancelled(e) => {
                self.move_parcel(e.fulfilment_id, FulfilmentState::Cancelled, e.at);
            }
        }
    }

    /// The cancellation gives back all that is left, if anything is.
    fn apply_cancellation(&mut self, event: OrderCancellationRequested) {
        let OrderCancellationRequested { refund_id, reason, at } = event;
        let amount = self.refundable();
        if amount.amount_minor > 0 {
            let (reference, lines, state) = (None, vec![], RefundState::Pending);
            let refund = Refund { reference, amount, lines, reason: reason.clone(), at, state };
            self.refunds.insert(refund_id, refund);
        }
        self.status = OrderStatus::Cancelling;
        self.cancellation = Some(Cancellation { refund_id, reason, at });
    }

    fn settle(&mut self, id: RefundId, state: RefundState) {
        if let Some(refund) = self.refunds.get_mut(&id) {
            refund.state = state;
        }
    }
}
