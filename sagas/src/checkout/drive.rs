//! Acting: loads what a checkout is about, carries out one step after the other until it waits.
//!
//! What a step did is not read again: a command says whether it was decided on what is known here.
//! If another process has moved a stream, that stream is read.

use std::mem;

use chrono::{DateTime, Utc};
use commands::{
    CommandError, Intent,
    checkout::{self, Checkout, CheckoutCommand},
    order::{self, Order, OrderCommand, OrderError, OrderStatus, PlaceOrder},
    payment::{self, Payment, PaymentCommand},
};
use event_schemas::{
    checkout::{CheckoutStarted, FailureCause},
    ids::{CheckoutId, OrderId, PaymentId, StoreId},
    money::Money,
};
use event_store::Loaded;
use fail::fail_point;

use super::{Situation, Step, give_back, next, unanswered_since};
use crate::{DriveError, Journey, Next, SagaCtx, order_number};

/// Steps of one drive. The longest way, with a compensation at its end, has about twenty.
const STEPS_MAX: u32 = 100;

/// Order numbers tried before the step is tried again later: enough to pass over ten thousand in a
/// row that imports hold.
const NUMBERS_MAX: u32 = 20;

/// Carries a checkout on until it waits for somebody, for time to pass, or has ended.
///
/// May be called at any time, again, and by several processes at once.
pub async fn drive_checkout(
    ctx: &SagaCtx,
    store_id: StoreId,
    checkout_id: CheckoutId,
) -> Result<Next, DriveError> {
    Drive::load(ctx, Journey { store_id, checkout_id }).await?.run(next).await
}

/// Gives back the money of a payment that nothing counts on; anything else is its checkout's.
///
/// May be called at any time, again, and by several processes at once.
pub async fn drive_payment(
    ctx: &SagaCtx,
    store_id: StoreId,
    payment_id: PaymentId,
) -> Result<Next, DriveError> {
    let Some(drive) = Drive::of_payment(ctx, store_id, payment_id).await? else {
        return Ok(Next::Done);
    };
    if drive.situation.payment.stray { drive.run(give_back).await } else { Ok(Next::Done) }
}

/// Makes it visible that a checkout does not go on. Repeating it for the same step changes nothing.
pub(crate) async fn mark_stuck(
    ctx: &SagaCtx,
    store_id: StoreId,
    checkout_id: CheckoutId,
    error: &DriveError,
) -> Result<(), DriveError> {
    let mut drive = Drive::load(ctx, Journey { store_id, checkout_id }).await?;
    let (step, detail) = (error.step().to_owned(), error.to_string());
    drive.tell("mark_stuck", |at| CheckoutCommand::MarkStuck { step, detail, at }).await
}

/// A checkout that is being driven.
pub(crate) struct Drive<'a> {
    pub(super) ctx: &'a SagaCtx,
    pub(super) journey: Journey,
    pub(crate) situation: Situation,
    /// Versions of the three streams, part of the command ids.
    pub(super) versions: Versions,
    /// The payment it is about, if that is not the last attempt's.
    pub(super) payment_id: Option<PaymentId>,
}

#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Versions {
    pub(super) checkout: i64,
    payment: i64,
    order: i64,
}

impl<'a> Drive<'a> {
    async fn load(ctx: &'a SagaCtx, journey: Journey) -> Result<Drive<'a>, DriveError> {
        Drive::load_with(ctx, journey, None).await
    }

    /// A payment, whatever attempt it is of. None if nothing was asked of a provider yet.
    pub(crate) async fn of_payment(
        ctx: &'a SagaCtx,
        store_id: StoreId,
        payment_id: PaymentId,
    ) -> Result<Option<Drive<'a>>, DriveError> {
        let payment = payment::load(&ctx.commands, store_id, payment_id).await?.state;
        let Some(intent) = payment.intent else { return Ok(None) };
        let journey = Journey { store_id, checkout_id: intent.checkout_id };
        Ok(Some(Drive::load_with(ctx, journey, Some(payment_id)).await?))
    }

    async fn load_with(
        ctx: &'a SagaCtx,
        journey: Journey,
        payment_id: Option<PaymentId>,
    ) -> Result<Drive<'a>, DriveError> {
        let (situation, versions) = (Situation::default(), Versions::default());
        let mut drive = Drive { ctx, journey, situation, versions, payment_id };
        drive.load_checkout().await?;
        let Some(payment_id) = drive.payment_id() else { return Ok(drive) };
        let store_id = drive.journey.store_id;
        let (payment, order) = tokio::try_join!(
            payment::load(&ctx.commands, store_id, payment_id),
            order::load(&ctx.commands, store_id, drive.order_id()),
        )?;
        drive.set_payment(payment);
        drive.set_order(order);
        Ok(drive)
    }

    /// Takes one step after the other, until there is none to be taken now.
    async fn run(
        mut self,
        next: fn(&Situation, DateTime<Utc>) -> Step,
    ) -> Result<Next, DriveError> {
        for _ in 0..STEPS_MAX {
            match next(&self.situation, self.ctx.now()) {
                Step::Wait(until) => {
                    let since = unanswered_since(&self.situation, self.ctx.now());
                    return Ok(since.map_or(Next::At(until), |since| Next::Unanswered { since }));
                }
                Step::Done => return Ok(Next::Done),
                step => {
                    fail_point!("saga::before-step");
                    self.act(step).await?;
                    fail_point!("saga::after-step");
                }
            }
        }
        Err(DriveError::Endless)
    }

    pub(super) async fn load_checkout(&mut self) -> Result<(), DriveError> {
        let Journey { store_id, checkout_id } = self.journey;
        let loaded = checkout::load(&self.ctx.commands, store_id, checkout_id).await?;
        self.set_checkout(loaded);
        Ok(())
    }

    pub(crate) async fn load_payment(&mut self) -> Result<(), DriveError> {
        let Some(id) = self.payment_id() else { return Ok(()) };
        let loaded = payment::load(&self.ctx.commands, self.journey.store_id, id).await?;
        self.set_payment(loaded);
        Ok(())
    }

    pub(super) async fn load_order(&mut self) -> Result<(), DriveError> {
        // There is none before a payment was tried: one look-up less for most steps.
        if self.payment_id().is_none() {
            return Ok(());
        }
        let loaded =
            order::load(&self.ctx.commands, self.journey.store_id, self.order_id()).await?;
        self.set_order(loaded);
        Ok(())
    }

    fn set_checkout(&mut self, known: Loaded<Checkout>) {
        (self.situation.checkout, self.versions.checkout) = (known.state, known.version);
    }

    fn set_payment(&mut self, known: Loaded<Payment>) {
        (self.situation.payment, self.versions.payment) = (known.state, known.version);
    }

    fn set_order(&mut self, known: Loaded<Order>) {
        (self.situation.order, self.versions.order) = (known.state, known.version);
    }

    pub(crate) fn journey(&self) -> Journey {
        self.journey
    }

    pub(crate) fn order_id(&self) -> OrderId {
        checkout::order_id(self.journey.checkout_id)
    }

    /// Whether a payment was read that exists.
    pub(super) fn has_known_payment(&self) -> bool {
        self.versions.payment > 0
    }

    /// Events of the payment that are known.
    pub(crate) fn payment_version(&self) -> i64 {
        self.versions.payment
    }

    /// The last attempt's payment, if it is not about another one.
    pub(super) fn payment_id(&self) -> Option<PaymentId> {
        let last = || self.last_payment_id();
        self.payment_id.or_else(last)
    }

    fn last_payment_id(&self) -> Option<PaymentId> {
        self.situation.checkout.attempts.last().map(|attempt| attempt.payment_id)
    }

    pub(super) fn started(&self) -> &CheckoutStarted {
        self.situation.checkout.started.as_ref().expect("only a checkout that began has steps")
    }

    /// What the shopper owes.
    pub(super) fn due(&self) -> Money {
        self.checkout().due().expect("only a checkout that began has steps")
    }

    /// The business time of a step taken now.
    pub(super) fn at(&self) -> DateTime<Utc> {
        self.situation.checkout.business_time(self.ctx.now())
    }

    async fn act(&mut self, step: Step) -> Result<(), DriveError> {
        use CheckoutCommand as C;
        let attempt = self.situation.checkout.last_attempt();
        match step {
            Step::ReserveStock => self.reserve_stock().await,
            Step::RequestPayment => self.request_payment().await,
            Step::Authorise | Step::ConfirmAction => self.ask_for_money(&step).await,
            Step::LookUp => {
                self.situation.looked = true;
                self.look_up().await
            }
            Step::RecordNeverArrived => self.record_never_arrived().await,
            Step::RequireAction(action) => {
                self.tell("action", |at| C::RequireAction { attempt, action, at }).await
            }
            Step::RecordUnclear => {
                self.tell("unclear", |at| C::RecordUnclear { attempt, at }).await
            }
            Step::RecordDeclined => self.record_declined(attempt).await,
            Step::RecordAuthorised => {
                self.tell("authorised", |at| C::RecordAuthorised { attempt, at }).await
            }
            Step::ExtendHold(until) => {
                self.extend_holds(until).await?;
                self.tell("extend", |at| C::ExtendHold { until, at }).await
            }
            Step::PlaceOrder => self.place_order().await,
            Step::AllocateStock => self.allocate_stock().await,
            Step::RequestCapture => {
                self.tell_payment("capture", |at| PaymentCommand::RequestCapture { at }).await
            }
            Step::Capture => self.capture().await,
            Step::RecordPaid => {
                // What was taken, and not what is due: the order refuses any other amount.
                let captured = self.situation.payment.captured;
                let amount = captured.expect("captured money has an amount");
                self.tell_order("paid", |at| OrderCommand::RecordPaid { amount, at }).await
            }
            Step::Complete => self.complete().await,
            Step::Compensate(FailureCause::Expired) => self.expire().await,
            Step::Compensate(cause) => self.compensate(cause).await,
            Step::GiveUpOrder => self.give_up_order().await,
            Step::ReleaseStock => {
                self.release_coupons().await?;
                self.release_stock().await
            }
            Step::RequestVoid => {
                let cause = "checkout_failed".to_owned();
                self.tell_payment("void", |at| PaymentCommand::RequestVoid { cause, at }).await
            }
            Step::Void => self.void().await,
            Step::SendBack => self.send_back().await,
            Step::RecordOrderCancelled => {
                self.tell_order("cancelled", |at| OrderCommand::RecordCancelled { at }).await
            }
            Step::Fail => self.tell("fail", |at| C::Fail { at }).await,
            Step::Wait(_) | Step::Done => Ok(()),
        }
    }

    /// Tells the checkout what happened.
    pub(super) async fn tell(
        &mut self,
        step: &'static str,
        command: impl FnOnce(DateTime<Utc>) -> CheckoutCommand,
    ) -> Result<(), DriveError> {
        self.ctx.spend()?;
        let version = self.versions.checkout;
        let intent = self.intent(&[step.as_bytes(), &version.to_be_bytes()]);
        let mut known = taken(&mut self.situation.checkout, version);
        let (ctx, id) = (&self.ctx.commands, self.journey.checkout_id);
        let told = checkout::tell(ctx, &intent, id, (command(intent.at), &mut known)).await;
        self.set_checkout(known);
        told.map_err(|error| DriveError::of(step, error))
    }

    /// Tells the last payment what was asked or answered.
    pub(super) async fn tell_payment(
        &mut self,
        step: &'static str,
        command: impl FnOnce(DateTime<Utc>) -> PaymentCommand,
    ) -> Result<(), DriveError> {
        self.ctx.spend()?;
        let id = self.payment_id().expect("a payment is told something after an attempt began");
        let version = self.versions.payment;
        let of_version = version.to_be_bytes();
        let intent = self.intent(&[b"payment", id.0.as_bytes(), step.as_bytes(), &of_version]);
        let mut known = taken(&mut self.situation.payment, version);
        let ctx = &self.ctx.commands;
        let told = payment::tell(ctx, &intent, id, (command(intent.at), &mut known)).await;
        self.set_payment(known);
        told.map_err(|error| DriveError::of(step, error))
    }

    /// Tells the order what happened.
    pub(super) async fn tell_order(
        &mut self,
        step: &'static str,
        command: impl FnOnce(DateTime<Utc>) -> OrderCommand,
    ) -> Result<(), DriveError> {
        self.ctx.spend()?;
        let told = self.try_tell_order(step, command).await;
        told.map_err(|error| DriveError::of(step, error))
    }

    async fn try_tell_order(
        &mut self,
        step: &'static str,
        command: impl FnOnce(DateTime<Utc>) -> OrderCommand,
    ) -> Result<(), CommandError<OrderError>> {
        let version = self.versions.order;
        let intent = self.intent(&[b"order", step.as_bytes(), &version.to_be_bytes()]);
        let mut known = taken(&mut self.situation.order, version);
        let (ctx, id) = (&self.ctx.commands, self.order_id());
        let told = order::tell(ctx, &intent, id, (command(intent.at), &mut known)).await;
        self.set_order(known);
        told
    }

    pub(super) fn intent(&self, parts: &[&[u8]]) -> Intent {
        self.journey.intent(self.ctx, parts, self.at())
    }

    async fn record_declined(&mut self, attempt: u32) -> Result<(), DriveError> {
        use event_schemas::payment::DeclineAdvice;
        let payment = &self.situation.payment;
        // One that was voided while the shopper was still to act has no refusal of its own.
        let (code, advice) = match &payment.decline {
            _ if payment.stray => ("integrity_violated".to_owned(), DeclineAdvice::Stop),
            Some(decline) => decline.clone(),
            None => ("voided".to_owned(), DeclineAdvice::Retry),
        };
        self.tell("declined", |at| CheckoutCommand::RecordDeclined { attempt, code, advice, at })
            .await?;
        self.situation.payment = Payment::default();
        Ok(())
    }

    async fn place_order(&mut self) -> Result<(), DriveError> {
        let given = self.started().order_number.clone();
        for taken in 0..NUMBERS_MAX {
            self.ctx.spend()?;
            let number = match &given {
                Some(number) => number.clone(),
                None => order_number::next(&self.ctx.pool, self.journey.store_id, taken).await?,
            };
            let place = self.place(number);
            match self.try_tell_order("place", |_| OrderCommand::Place(Box::new(place))).await {
                Ok(()) => return Ok(()),
                Err(CommandError::Taken { .. }) if given.is_none() => {}
                Err(CommandError::Taken { key, .. }) => {
                    let detail = format!("order number {key} is taken");
                    return self.compensate(FailureCause::OrderRefused { detail }).await;
                }
                Err(CommandError::Rejected(refusal)) => {
                    let detail = refusal.to_string();
                    return self.compensate(FailureCause::OrderRefused { detail }).await;
                }
                Err(error) => return Err(DriveError::of("place", error)),
            }
        }
        Err(DriveError::Failed { step: "place", detail: "no free order number found".to_owned() })
    }

    fn place(&self, number: String) -> PlaceOrder {
        let (checkout, started) = (self.checkout(), self.started().clone());
        let country = checkout.country().map(str::to_owned);
        PlaceOrder {
            number,
            checkout_id: self.journey.checkout_id,
            payment_id: self.payment_id().expect("an order is placed after a payment"),
            lines: started.lines,
            charges: checkout.charges().to_vec(),
            total: self.due(),
            customer_reference: started.customer_reference,
            country,
            channel: started.channel,
            pricing: checkout.quote.as_ref().map(|quote| Box::new(quote.pricing.clone())),
            ship_to: checkout.address.as_ref().map(|address| address.address.clone()),
            at: self.at(),
        }
    }

    async fn complete(&mut self) -> Result<(), DriveError> {
        self.commit_coupons().await?;
        let order = self.situation.order.placed.as_ref().expect("a paid order was placed");
        let (order_id, order_number) = (self.order_id(), order.number.clone());
        self.tell("complete", |at| CheckoutCommand::Complete { order_id, order_number, at }).await
    }

    pub(super) async fn compensate(&mut self, cause: FailureCause) -> Result<(), DriveError> {
        self.tell("compensate", |at| CheckoutCommand::StartCompensation { cause, at }).await
    }

    /// What a timer does, and nobody asks for.
    async fn expire(&mut self) -> Result<(), DriveError> {
        fail_point!("timer::before-expire");
        self.compensate(FailureCause::Expired).await?;
        fail_point!("timer::after-expire");
        Ok(())
    }

    async fn give_up_order(&mut self) -> Result<(), DriveError> {
        let refund_id = self.refund_id();
        let reason = "the checkout failed".to_owned();
        let status = self.situation.order.placed.as_ref().map(|order| order.status);
        let told = if status == Some(OrderStatus::Paid) {
            let cancel = |at| OrderCommand::RequestCancellation { refund_id, reason, at };
            self.tell_order("cancel", cancel).await
        } else {
            let give_up = |at| OrderCommand::CancelUnpaid { refund_id, reason, at };
            self.tell_order("give_up", give_up).await
        };
        self.unless_moved_on(told).await
    }

    /// A refusal is none if it is because another process has moved the order on meanwhile: the
    /// next step follows from where it is now.
    async fn unless_moved_on(&mut self, told: Result<(), DriveError>) -> Result<(), DriveError> {
        let Err(DriveError::Refused { .. }) = told else { return told };
        let version = self.versions.order;
        self.load_order().await?;
        if version < self.versions.order { Ok(()) } else { told }
    }
}

/// What is known of a stream, to be put back when it has been told something.
fn taken<A: Default>(state: &mut A, version: i64) -> Loaded<A> {
    Loaded { state: mem::take(state), version, position: 0 }
}

impl Drive<'_> {
    /// Whether the checkout is still where it was: another process may have undone it meanwhile.
    pub(super) fn checkout(&self) -> &Checkout {
        &self.situation.checkout
    }
}
