//! Cancelled orders and refunds: the stock back, the money back, then it is said on the order.
//!
//! ```text
//! OrderCancellationRequested ─▶ free all its stock ──▶ send the money back ─▶ recorded ─▶ cancelled
//! OrderRefundRequested ───────▶ send the money back ─▶ free or take in those units ▶ recorded
//! FulfilmentShipped ──────────▶ its units leave the stock ─▶ take the money, if it waited for this
//! ```
//!
//! A refund that the provider refuses for good is recorded as failed and frees nothing, so that
//! the same units can be refunded in another try; a cancellation then stays
//! `cancelling`, visibly, and can be asked for again. An order that was never paid is given up by
//! its checkout and not here.

use chrono::{DateTime, Duration, Utc};
use commands::{
    inventory::{self, Receipt, Return, Shipment},
    order::{self, FulfilmentState, OrderCommand, OrderStatus, Placed, RefundState},
    payment::{self, PaymentCommand, PaymentRefundState},
};
use event_schemas::{
    ids::{OrderId, PaymentId, RefundId, StoreId, VariantId},
    inventory::StockSource,
    money,
    payment::ProviderCall,
    store::CaptureMoment,
};
use fail::fail_point;
use providers::payment::{
    PaymentError, PaymentProvider, Refund, RefundState as Answered, Refunded,
};

use crate::{
    ANSWER_WITHIN, BACK_OFF_MAX, DriveError, Journey, Next, SLOW_ANSWER_WITHIN, SagaCtx,
    ask_again_within,
    checkout::{SLOW_LOOK_MAX, drive_checkout, is_forgotten, within_deadline},
};

/// Carries every open refund and the cancellation of an order on.
///
/// May be called at any time, again, and by several processes at once.
pub async fn drive_order(
    ctx: &SagaCtx,
    store_id: StoreId,
    order_id: OrderId,
) -> Result<Next, DriveError> {
    let loaded = order::load(&ctx.commands, store_id, order_id).await?;
    let Some(order) = loaded.state.placed else { return Ok(Next::Done) };
    let journey = Journey { store_id, checkout_id: order.checkout_id };
    let undo = Undo { ctx, journey, order_id, order };
    // What left is one thing and what goes back another: neither waits for the other's troubles.
    let sent_off = undo.send_off().await;
    let (mut next, mut failed) = (Next::Done, None);
    for (&refund_id, refund) in &undo.order.refunds {
        if refund.state == RefundState::Pending {
            match undo.refund(refund_id).await {
                Ok(refunded) => next = earlier(next, refunded),
                Err(error) => failed = failed.or(Some(error)),
            }
        }
    }
    // Read again: the refund of a cancellation may have gone through just now.
    let loaded = order::load(&ctx.commands, store_id, order_id).await?;
    let Some(order) = loaded.state.placed else { return Ok(Next::Done) };
    let undo = Undo { order, ..undo };
    undo.finish_cancellation().await?;
    // Nothing is owed to somebody who has not paid: what is left to do with the money is up to
    // who reserved it.
    let unpaid = undo.order.paid.is_none() && undo.order.capture == CaptureMoment::OnShipment;
    if unpaid && (undo.order.awaits_capture() || undo.order.status == OrderStatus::Cancelling) {
        next = earlier(next, drive_checkout(ctx, store_id, journey.checkout_id).await?);
    }
    sent_off?;
    failed.map_or(Ok(next), Err)
}

fn earlier(one: Next, other: Next) -> Next {
    match (one, other) {
        (Next::Done, next)
        | (next, Next::Done)
        | (next @ Next::Unanswered { .. }, _)
        | (_, next @ Next::Unanswered { .. }) => next,
        (Next::At(one), Next::At(other)) => Next::At(one.min(other)),
    }
}

/// An order of which something is undone.
struct Undo<'a> {
    ctx: &'a SagaCtx,
    journey: Journey,
    order_id: OrderId,
    order: Placed,
}

impl Undo<'_> {
    /// Sends the money of a refund, frees its units, and says so.
    async fn refund(&self, refund_id: RefundId) -> Result<Next, DriveError> {
        let refund = &self.order.refunds[&refund_id];
        let at = self.order.business_time(refund.at, self.ctx.now());
        let cancellation = self.order.cancellation.as_ref();
        if cancellation.is_some_and(|cancellation| cancellation.refund_id == refund_id) {
            self.deallocate_all(refund_id, at).await?;
        }
        let money = Money {
            payment_id: self.order.payment_id,
            refund_id,
            amount: refund.amount,
            reason: refund.reason.clone(),
        };
        match send_back(self.ctx, self.journey, money, at).await? {
            Sent::Done => {
                fail_point!("saga::after-refund");
                for (variant_id, quantity) in self.order.cancelled_units(refund) {
                    self.deallocate(variant_id, Some(quantity), (refund_id, at)).await?;
                }
                for (nth, back) in self.order.returned_units(refund).into_iter().enumerate() {
                    self.take_in((refund_id, nth), back, at).await?;
                }
                let command = OrderCommand::RecordRefund { refund_id, at };
                self.tell("record_refund", refund_id, command).await?;
                Ok(Next::Done)
            }
            Sent::Refused { code } => {
                let command = OrderCommand::FailRefund { refund_id, code, at };
                self.tell("fail_refund", refund_id, command).await?;
                Ok(Next::Done)
            }
            Sent::Unclear => Ok(self.ask_again(refund.at, ANSWER_WITHIN, BACK_OFF_MAX)),
            Sent::Pending => Ok(self.ask_again(refund.at, SLOW_ANSWER_WITHIN, SLOW_LOOK_MAX)),
        }
    }

    /// When to ask again for what was asked for then, and may take so long.
    fn ask_again(&self, asked_at: DateTime<Utc>, patience: Duration, wait_max: Duration) -> Next {
        let now = self.ctx.now();
        if asked_at + patience <= now {
            return Next::Unanswered { since: asked_at };
        }
        Next::At(ask_again_within(asked_at, now, wait_max))
    }

    /// Says that the order is cancelled, once nothing is left to give back.
    async fn finish_cancellation(&self) -> Result<(), DriveError> {
        let Some(cancellation) = &self.order.cancellation else { return Ok(()) };
        let refund_id = cancellation.refund_id;
        let refund = self.order.refunds.get(&refund_id).map(|refund| refund.state);
        let open = self.order.status == OrderStatus::Cancelling && self.order.paid.is_some();
        if !open || refund.is_some_and(|state| state != RefundState::Recorded) {
            return Ok(());
        }
        let at = self.order.business_time(cancellation.at, self.ctx.now());
        fail_point!("saga::before-cancelled");
        // An order that cost nothing has no refund, but stock.
        if refund.is_none() {
            self.deallocate_all(refund_id, at).await?;
        }
        self.tell("cancelled", refund_id, OrderCommand::RecordCancelled { at }).await
    }

    async fn deallocate_all(
        &self,
        refund_id: RefundId,
        at: DateTime<Utc>,
    ) -> Result<(), DriveError> {
        for variant_id in self.order.outstanding_units().into_keys() {
            self.deallocate(variant_id, None, (refund_id, at)).await?;
        }
        Ok(())
    }

    /// The units of every parcel that left are not in the house any more. Each leaves once, however
    /// often this is said.
    async fn send_off(&self) -> Result<(), DriveError> {
        let left = |state| matches!(state, FulfilmentState::Shipped | FulfilmentState::Delivered);
        let parcels = self.order.fulfilments.iter().filter(|(_, parcel)| left(parcel.state));
        for (fulfilment_id, parcel) in parcels {
            for (variant_id, quantity) in self.order.units_of(parcel) {
                self.ctx.spend()?;
                let parts: [&[u8]; 3] =
                    [b"ship", fulfilment_id.0.as_bytes(), variant_id.0.as_bytes()];
                let at = self.order.business_time(parcel.at, self.ctx.now());
                let intent = self.journey.intent(self.ctx, &parts, at);
                let shipment = Shipment {
                    order_id: self.order_id,
                    reservation_id: self.journey.checkout_id,
                    reference: fulfilment_id.to_string(),
                    location: parcel.location.clone(),
                    quantity,
                };
                inventory::ship(&self.ctx.commands, &intent, variant_id, shipment)
                    .await
                    .map_err(|error| DriveError::of("ship", error))?;
            }
        }
        Ok(())
    }

    /// Units of a refund are back on the shelf they left from.
    async fn take_in(
        &self,
        (refund_id, nth): (RefundId, usize),
        (variant_id, location, quantity): (VariantId, String, u32),
        at: DateTime<Utc>,
    ) -> Result<(), DriveError> {
        self.ctx.spend()?;
        // Once, because the command is: two lines of a refund may be of one variant.
        let nth = (nth as u64).to_be_bytes();
        let parts: [&[u8]; 3] = [b"take_in", refund_id.0.as_bytes(), &nth];
        let intent = self.journey.intent(self.ctx, &parts, at);
        let (source, reference) = (StockSource::Return, Some(refund_id.to_string()));
        let receipt = Receipt { location, quantity, source, unit_cost: None, reference };
        inventory::receive(&self.ctx.commands, &intent, variant_id, receipt)
            .await
            .map_err(|error| DriveError::of("take_in", error))?;
        Ok(())
    }

    /// Frees units of a variant: that many, or all that are left.
    async fn deallocate(
        &self,
        variant_id: VariantId,
        quantity: Option<u32>,
        (refund_id, at): (RefundId, DateTime<Utc>),
    ) -> Result<(), DriveError> {
        self.ctx.spend()?;
        let parts: [&[u8]; 3] = [b"deallocate", refund_id.0.as_bytes(), variant_id.0.as_bytes()];
        let intent = self.journey.intent(self.ctx, &parts, at);
        let (order_id, reference) = (self.order_id, refund_id.to_string());
        let back = Return { order_id, reference, quantity };
        inventory::deallocate(&self.ctx.commands, &intent, variant_id, back)
            .await
            .map_err(|error| DriveError::of("deallocate", error))?;
        Ok(())
    }

    async fn tell(
        &self,
        step: &'static str,
        refund_id: RefundId,
        command: OrderCommand,
    ) -> Result<(), DriveError> {
        self.ctx.spend()?;
        let at = match command {
            OrderCommand::RecordRefund { at, .. }
            | OrderCommand::FailRefund { at, .. }
            | OrderCommand::RecordCancelled { at } => at,
            _ => self.ctx.now(),
        };
        let parts: [&[u8]; 3] = [b"order", step.as_bytes(), refund_id.0.as_bytes()];
        let intent = self.journey.intent(self.ctx, &parts, at);
        order::record(&self.ctx.commands, &intent, self.order_id, command)
            .await
            .map_err(|error| DriveError::of(step, error))?;
        Ok(())
    }
}

/// Captured money that shall go back.
#[derive(Clone, Debug)]
pub(crate) struct Money {
    pub(crate) payment_id: PaymentId,
    /// Also the key at the provider.
    pub(crate) refund_id: RefundId,
    pub(crate) amount: money::Money,
    pub(crate) reason: String,
}

/// What came of sending money back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Sent {
    /// It went back.
    Done,
    /// The provider refuses for good.
    Refused { code: String },
    /// The provider took it on and will say later.
    Pending,
    /// Not known; to be asked again with the same key.
    Unclear,
}

/// Commits that money shall go back, asks the provider and records what it said.
pub(crate) async fn send_back(
    ctx: &SagaCtx,
    journey: Journey,
    money: Money,
    at: DateTime<Utc>,
) -> Result<Sent, DriveError> {
    let Money { payment_id, refund_id, amount, reason } = money;
    let tell =
        |step, command| tell_payment(ctx, journey, (payment_id, refund_id), (step, command, at));
    tell("request_refund", PaymentCommand::RequestRefund { refund_id, amount, reason, at }).await?;
    let payment = payment::load(&ctx.commands, journey.store_id, payment_id).await?.state;
    let Some(refund) = payment.refunds.get(&refund_id) else { return Ok(Sent::Unclear) };
    let asked_at = refund.asked_at;
    // Whatever may have been asked for before is looked up, or the money goes back twice.
    let look = match &refund.state {
        PaymentRefundState::Succeeded => return Ok(Sent::Done),
        PaymentRefundState::Failed { code } => return Ok(Sent::Refused { code: code.clone() }),
        PaymentRefundState::Pending { .. } => true,
        PaymentRefundState::Requested => {
            payment.unknown == Some(ProviderCall::Refund) || is_forgotten(Some(asked_at), ctx.now())
        }
    };
    let (key, payment_key) = (refund_id.to_string(), payment_id.to_string());
    let provider = ctx.provider_of(journey.store_id, &payment).await?;
    let reference = payment.provider_reference.unwrap_or_default();
    let refund = Refund { key: &key, payment_key: &payment_key, reference: &reference, amount };
    let answer = ask(ctx, &provider, refund, look.then_some(asked_at)).await?;
    hear(ctx, journey, (payment_id, refund_id), (answer, at)).await
}

/// Looks an open refund up at the provider and records what is new. Moves no money. Whether the
/// provider said anything.
pub(crate) async fn look_up(
    ctx: &SagaCtx,
    journey: Journey,
    (payment_id, refund_id): (PaymentId, RefundId),
) -> Result<bool, DriveError> {
    let payment = payment::load(&ctx.commands, journey.store_id, payment_id).await?.state;
    let Some(refund) = payment.refunds.get(&refund_id) else { return Ok(true) };
    let (key, payment_key) = (refund_id.to_string(), payment_id.to_string());
    let (asked_at, amount, now) = (refund.asked_at, refund.amount, ctx.now());
    let provider = ctx.provider_of(journey.store_id, &payment).await?;
    let reference = payment.provider_reference.unwrap_or_default();
    let refund = Refund { key: &key, payment_key: &payment_key, reference: &reference, amount };
    ctx.spend()?;
    let found = within_deadline(provider.look_up_refund(refund, asked_at, now)).await;
    let Some(answer) = found.transpose() else { return Ok(true) };
    let answer = of_amount(refund, answer);
    let sent = hear(ctx, journey, (payment_id, refund_id), (answer, now)).await?;
    Ok(sent != Sent::Unclear)
}

/// An answer about another amount than was asked for is none: it is somebody else's refund, or
/// money that nobody asked to move.
fn of_amount(
    refund: Refund<'_>,
    answer: Result<Refunded, PaymentError>,
) -> Result<Refunded, PaymentError> {
    let refunded = answer?;
    if refunded.amount == refund.amount {
        return Ok(refunded);
    }
    let Refund { key, amount: asked, .. } = refund;
    let found = refunded.amount;
    tracing::error!(refund = key, ?asked, ?found, "the provider refunds another amount");
    Err(PaymentError::Unknown)
}

/// Records what the provider says of a refund.
async fn hear(
    ctx: &SagaCtx,
    journey: Journey,
    (payment_id, refund_id): (PaymentId, RefundId),
    (answer, at): (Result<Refunded, PaymentError>, DateTime<Utc>),
) -> Result<Sent, DriveError> {
    use PaymentCommand as C;
    let tell =
        |step, command| tell_payment(ctx, journey, (payment_id, refund_id), (step, command, at));
    match answer {
        Ok(Refunded { state: Answered::Succeeded, reference: provider_reference, .. }) => {
            let done = C::RecordRefundSucceeded { refund_id, provider_reference, at };
            tell("refunded", done).await?;
            Ok(Sent::Done)
        }
        Ok(Refunded { state: Answered::Pending, reference: provider_reference, .. }) => {
            let pending = C::RecordRefundPending { refund_id, provider_reference, at };
            tell("refund_pending", pending).await?;
            Ok(Sent::Pending)
        }
        Ok(Refunded { state: Answered::Failed { code }, .. })
        | Err(PaymentError::Declined { code, .. }) => {
            let failed = C::RecordRefundFailed { refund_id, code: code.clone(), at };
            tell("refund_failed", failed).await?;
            Ok(Sent::Refused { code })
        }
        Err(PaymentError::Unknown) => {
            let call = ProviderCall::Refund;
            tell("refund_unknown", C::RecordUnknown { call, at }).await?;
            Ok(Sent::Unclear)
        }
    }
}

/// Asks the provider to refund; or, if it was asked at `asked_at`, what became of it.
async fn ask(
    ctx: &SagaCtx,
    provider: &PaymentProvider,
    refund: Refund<'_>,
    asked_at: Option<DateTime<Utc>>,
) -> Result<Result<Refunded, PaymentError>, DriveError> {
    ctx.spend()?;
    if let Some(asked_at) = asked_at {
        let found = within_deadline(provider.look_up_refund(refund, asked_at, ctx.now())).await;
        if let Some(known) = found.transpose() {
            return Ok(of_amount(refund, known));
        }
    }
    Ok(of_amount(refund, within_deadline(provider.refund(refund)).await))
}

async fn tell_payment(
    ctx: &SagaCtx,
    journey: Journey,
    (payment_id, refund_id): (PaymentId, RefundId),
    (step, command, at): (&'static str, PaymentCommand, DateTime<Utc>),
) -> Result<(), DriveError> {
    ctx.spend()?;
    let parts: [&[u8]; 3] = [b"refund", step.as_bytes(), refund_id.0.as_bytes()];
    let intent = journey.intent(ctx, &parts, at);
    payment::record(&ctx.commands, &intent, payment_id, command)
        .await
        .map_err(|error| DriveError::of(step, error))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use event_schemas::money::{Currency, Money};

    use super::*;

    #[test]
    fn a_refund_of_another_amount_or_currency_is_no_answer() {
        let money = |amount_minor, currency| Money { amount_minor, currency };
        let amount = money(500, Currency::GBP);
        let refund = Refund { key: "r", payment_key: "p", reference: "pi", amount };
        for state in [Answered::Pending, Answered::Succeeded, Answered::Failed { code: "c".into() }]
        {
            let said =
                |amount| Ok(Refunded { reference: "re".into(), amount, state: state.clone() });
            assert_eq!(of_amount(refund, said(amount)), said(amount));
            for other in [money(499, Currency::GBP), money(500, Currency::USD)] {
                assert_eq!(of_amount(refund, said(other)), Err(PaymentError::Unknown));
            }
        }
    }
}
