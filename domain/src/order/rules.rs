//! The rules of orders.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use event_schemas::{
    ids::{LineId, RefundId},
    money::Money,
    order::{
        OrderCancellationRequested, OrderCancelled, OrderConfirmed, OrderEvent, OrderLine,
        OrderPaid, OrderPlaced, OrderRefundFailed, OrderRefundRecorded, OrderRefundRequested,
        RefundLine, Restock,
    },
    quote::Pricing,
    store::CaptureMoment,
};

use super::{
    NUMBER_CHARS_MAX, Order, OrderCommand, OrderError, OrderStatus, PlaceOrder, Placed,
    REASON_CHARS_MAX, Refund, RefundState, RequestRefund,
};
use crate::pricing::are_bounded;

impl Order {
    /// Says what a command makes happen, given everything that happened before.
    pub fn decide(&self, command: OrderCommand) -> Result<Vec<OrderEvent>, OrderError> {
        let Some(order) = &self.placed else {
            return match command {
                OrderCommand::Place(new) => place(*new),
                _ => Err(OrderError::NotFound),
            };
        };
        match command {
            OrderCommand::Place(new) if new.checkout_id == order.checkout_id => Ok(vec![]),
            OrderCommand::Place(_) => Err(OrderError::AlreadyPlaced),
            OrderCommand::Confirm { capture, at } => order.confirm(capture, at),
            OrderCommand::RecordPaid { amount, at } => order.record_paid(amount, at),
            OrderCommand::RequestCancellation { refund_id, reason, at } => {
                order.request_cancellation(refund_id, reason, at)
            }
            OrderCommand::CancelUnpaid { refund_id, reason, at } => {
                order.cancel_unpaid(refund_id, reason, at)
            }
            OrderCommand::RecordCancelled { at } => order.record_cancelled(at),
            OrderCommand::RequestRefund(new) => order.request_refund(*new),
            OrderCommand::RecordRefund { refund_id, at } => order.record_refund(refund_id, at),
            OrderCommand::FailRefund { refund_id, code, at } => {
                let refund = order.refunds.get(&refund_id).ok_or(OrderError::UnknownRefund)?;
                let failed = OrderEvent::RefundFailed(OrderRefundFailed { refund_id, code, at });
                Ok(if refund.state == RefundState::Pending { vec![failed] } else { vec![] })
            }
            OrderCommand::CreateFulfilment(new) => order.create_fulfilment(new),
            OrderCommand::Ship { fulfilment_id, tracking, at } => {
                order.ship(fulfilment_id, tracking, at)
            }
            OrderCommand::Deliver { fulfilment_id, at } => order.deliver(fulfilment_id, at),
            OrderCommand::CancelFulfilment { fulfilment_id, reason, at } => {
                order.cancel_fulfilment(fulfilment_id, reason, at)
            }
        }
    }
}

fn place(new: PlaceOrder) -> Result<Vec<OrderEvent>, OrderError> {
    if !(1..=NUMBER_CHARS_MAX).contains(&new.number.chars().count()) {
        return Err(OrderError::BadNumber);
    }
    if new.lines.is_empty() && new.charges.is_empty() {
        return Err(OrderError::Empty);
    }
    if new.lines.iter().any(|line| line.quantity == 0) {
        return Err(OrderError::QuantityZero);
    }
    let lines: Option<Vec<Money>> = new.lines.iter().map(OrderLine::total).collect();
    let lines = lines.ok_or(OrderError::TotalMismatch)?;
    let amounts = lines.into_iter().chain(new.charges.iter().map(|charge| charge.amount));
    let sum = Money::sum(new.total.currency, amounts.clone());
    if sum != Some(new.total) || new.total.amount_minor < 0 {
        return Err(OrderError::TotalMismatch);
    }
    if !are_bounded(amounts) {
        return Err(OrderError::TotalTooHigh);
    }
    if new.pricing.as_ref().is_some_and(|pricing| !explains(pricing, &new)) {
        return Err(OrderError::TotalMismatch);
    }
    let PlaceOrder { number, checkout_id, payment_id, lines, charges, total, .. } = new;
    let PlaceOrder { customer_reference, country, channel, pricing, ship_to, at, .. } = new;
    Ok(vec![OrderEvent::Placed(OrderPlaced {
        number,
        checkout_id,
        payment_id,
        lines,
        charges,
        total,
        customer_reference,
        country,
        channel,
        pricing,
        ship_to,
        at,
    })])
}

/// Whether the totals of lines and carriage are those of the order: a refund is a share of them.
fn explains(pricing: &Pricing, order: &PlaceOrder) -> bool {
    let carriage = pricing.shipping.iter().map(|shipping| shipping.total);
    let lines = pricing.line_totals.iter();
    let ids = || order.lines.iter().map(|line| line.line_id);
    let sum =
        Money::sum(order.total.currency, lines.clone().map(|line| line.total).chain(carriage));
    lines.map(|line| line.line_id).eq(ids()) && sum == Some(order.total)
}

impl Placed {
    fn illegal(&self, command: &'static str) -> OrderError {
        OrderError::IllegalTransition { from: self.status, command }
    }

    fn confirm(
        &self,
        capture: CaptureMoment,
        at: DateTime<Utc>,
    ) -> Result<Vec<OrderEvent>, OrderError> {
        match self.status {
            OrderStatus::Placed => Ok(vec![OrderEvent::Confirmed(OrderConfirmed { capture, at })]),
            OrderStatus::Confirmed | OrderStatus::Paid => Ok(vec![]),
            OrderStatus::Cancelling | OrderStatus::Cancelled => Err(self.illegal("be confirmed")),
        }
    }

    fn record_paid(&self, amount: Money, at: DateTime<Utc>) -> Result<Vec<OrderEvent>, OrderError> {
        match self.status {
            OrderStatus::Paid => Ok(vec![]),
            OrderStatus::Confirmed if amount != self.total => Err(OrderError::AmountMismatch),
            OrderStatus::Confirmed => Ok(vec![OrderEvent::Paid(OrderPaid { amount, at })]),
            _ => Err(self.illegal("be paid")),
        }
    }

    fn request_cancellation(
        &self,
        refund_id: RefundId,
        reason: String,
        at: DateTime<Utc>,
    ) -> Result<Vec<OrderEvent>, OrderError> {
        if self.has_shipped() {
            return self.cancel_rest(refund_id, reason, at);
        }
        match self.status {
            // Its money is taken when the first parcel leaves, which none has.
            OrderStatus::Confirmed if self.capture == CaptureMoment::OnShipment => {}
            OrderStatus::Placed | OrderStatus::Confirmed => return Err(OrderError::NotPaidYet),
            OrderStatus::Cancelled => return Err(OrderError::AlreadyCancelled),
            OrderStatus::Cancelling if !self.cancellation_failed() => {
                return Err(OrderError::AlreadyCancelled);
            }
            OrderStatus::Cancelling | OrderStatus::Paid => {}
        }
        if self.refunds.values().any(|refund| refund.state == RefundState::Pending) {
            return Err(OrderError::RefundInProgress);
        }
        let reason = checked_reason(reason)?;
        let mut events = self.stop_parcels(&reason, at);
        let requested = OrderCancellationRequested { refund_id, reason, at };
        events.push(OrderEvent::CancellationRequested(requested));
        Ok(events)
    }

    /// The provider refused to send the money back; the cancellation may be asked for again.
    fn cancellation_failed(&self) -> bool {
        let refund = self.cancellation.as_ref().and_then(|c| self.refunds.get(&c.refund_id));
        refund.is_some_and(|refund| refund.state == RefundState::Failed)
    }

    fn cancel_unpaid(
        &self,
        refund_id: RefundId,
        reason: String,
        at: DateTime<Utc>,
    ) -> Result<Vec<OrderEvent>, OrderError> {
        match self.status {
            _ if self.has_shipped() => Err(self.illegal("be given up as unpaid")),
            OrderStatus::Placed | OrderStatus::Confirmed => {
                let mut events = self.stop_parcels(&reason, at);
                let requested = OrderCancellationRequested { refund_id, reason, at };
                events.push(OrderEvent::CancellationRequested(requested));
                Ok(events)
            }
            OrderStatus::Cancelling | OrderStatus::Cancelled => Ok(vec![]),
            OrderStatus::Paid => Err(self.illegal("be given up as unpaid")),
        }
    }

    fn record_cancelled(&self, at: DateTime<Utc>) -> Result<Vec<OrderEvent>, OrderError> {
        match (self.status, &self.cancellation) {
            (OrderStatus::Cancelled, _) => Ok(vec![]),
            (OrderStatus::Cancelling, Some(cancellation)) => {
                let refund = self.refunds.get(&cancellation.refund_id);
                if refund.is_some_and(|refund| refund.state != RefundState::Recorded) {
                    return Err(OrderError::RefundInProgress);
                }
                let reason = cancellation.reason.clone();
                Ok(vec![OrderEvent::Cancelled(OrderCancelled { reason, at })])
            }
            _ => Err(self.illegal("be recorded as cancelled")),
        }
    }

    fn request_refund(&self, new: RequestRefund) -> Result<Vec<OrderEvent>, OrderError> {
        if self.refunds.contains_key(&new.refund_id) {
            return Ok(vec![]);
        }
        match self.status {
            OrderStatus::Paid => {}
            OrderStatus::Placed | OrderStatus::Confirmed => return Err(OrderError::NotPaidYet),
            OrderStatus::Cancelling | OrderStatus::Cancelled => {
                return Err(OrderError::AlreadyCancelled);
            }
        }
        if new.amount.amount_minor <= 0 {
            return Err(OrderError::AmountNotPositive);
        }
        let available = self.refundable();
        if new.amount.currency != available.currency {
            return Err(OrderError::AmountMismatch);
        }
        if available.amount_minor < new.amount.amount_minor {
            return Err(OrderError::AmountExceedsPaid { available });
        }
        self.check_refund_lines(&new.lines)?;
        let RequestRefund { refund_id, reference, amount, lines, reason, at } = new;
        let reason = checked_reason(reason)?;
        let requested = OrderRefundRequested { refund_id, reference, amount, lines, reason, at };
        Ok(vec![OrderEvent::RefundRequested(requested)])
    }

    fn check_refund_lines(&self, lines: &[RefundLine]) -> Result<(), OrderError> {
        let mut wanted: BTreeMap<(LineId, bool), u64> = BTreeMap::new();
        for RefundLine { line_id, quantity, restock } in lines {
            let line = self.line(*line_id).ok_or(OrderError::UnknownLine { line_id: *line_id })?;
            let stays = *restock == Restock::Cancel;
            let available = if stays { self.open_units(line) } else { self.away_units(line) };
            let sum = wanted.entry((*line_id, stays)).or_default();
            *sum += u64::from(*quantity);
            if *quantity == 0 || u64::from(available) < *sum {
                return Err(OrderError::QuantityExceedsBought { line_id: *line_id, available });
            }
        }
        Ok(())
    }

    fn record_refund(
        &self,
        refund_id: RefundId,
        at: DateTime<Utc>,
    ) -> Result<Vec<OrderEvent>, OrderError> {
        let refund = self.refunds.get(&refund_id).ok_or(OrderError::UnknownRefund)?;
        if refund.state != RefundState::Pending {
            return Ok(vec![]);
        }
        let Refund { reference, amount, .. } = refund.clone();
        let recorded = OrderRefundRecorded { refund_id, reference, amount, at };
        Ok(vec![OrderEvent::RefundRecorded(recorded)])
    }
}

pub(super) fn checked_reason(reason: String) -> Result<String, OrderError> {
    if reason.trim().is_empty() {
        return Err(OrderError::ReasonMissing);
    }
    if REASON_CHARS_MAX < reason.chars().count() {
        return Err(OrderError::ReasonTooLong);
    }
    Ok(reason)
}
