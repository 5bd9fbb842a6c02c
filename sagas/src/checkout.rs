//! Checkout: hold the stock, take the payment, make the order; undo in reverse if it fails.
//!
//! ```text
//! reserve ─▶ wait for a card ─▶ authorise ─▶ place order ─▶ allocate, confirm ─▶ capture ─▶ done
//!    │ short       │ hold over      │ │ declined: wait for another card  │ short      │ failed
//!    │             │                │ └ unclear: look up, 1 2 4 … 60 s   │            │
//!    ▼             ▼                ▼ hold over                          ▼            ▼
//! compensate: give up the order, free the stock, learn the payment's fate, void it ─▶ failed
//! ```
//!
//! [`next`] decides and does nothing; `drive.rs` acts. What happened is read from the streams of
//! the checkout, its last payment and its order, so that nothing has to be remembered elsewhere
//! and a crash between doing and recording repeats harmlessly.
//!
//! Whatever is asked of the provider is committed first, under the payment's id, which is the key
//! at the provider. An unclear answer is never taken for a refusal.

use chrono::{DateTime, Duration, Utc};
use commands::{
    checkout::{Checkout, Phase, Waiting},
    order::{Order, OrderStatus},
    payment::{Payment, PaymentStatus},
};
use event_schemas::{checkout::FailureCause, payment::PaymentAction, store::CaptureMoment};

use providers::payment::KEYS_KEPT;

use crate::{ANSWER_WITHIN, SLOW_ANSWER_WITHIN, ask_again_at, ask_again_within};

mod back;
mod coupons;
mod drive;
mod pay;
mod stock;
#[cfg(test)]
mod tests;

pub(crate) use drive::{Drive, mark_stuck};
pub use drive::{drive_checkout, drive_payment};
pub use pay::NOBODY;
pub(crate) use pay::{Heard, is_free, within_deadline};

/// How long before its end a hold is extended if a payment is under way.
pub const EXTEND_AHEAD: Duration = Duration::minutes(1);

/// By how much a hold is extended, once.
pub const EXTENSION: Duration = commands::checkout::HOLD_EXTENSION;

/// How long a request may be on its way to the provider: after that, one that the provider does not
/// know of never came. Many times the deadline of a call.
const ARRIVES_WITHIN: Duration = Duration::minutes(5);

/// How much earlier than the provider we take a key for forgotten: clocks differ.
const KEYS_MARGIN: Duration = Duration::hours(1);

/// Longest wait between two looks at a payment or refund that takes its provider days.
pub(crate) const SLOW_LOOK_MAX: Duration = Duration::hours(1);

/// Everything the next step depends on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each is known or not, whatever the others are")]
pub struct Situation {
    /// The checkout.
    pub checkout: Checkout,
    /// Its last payment; the default before the first.
    pub payment: Payment,
    /// Its order; the default before it is placed.
    pub order: Order,
    /// The stock was freed since the process was taken up. Freeing it again does no harm.
    pub released: bool,
    /// The provider was asked since the process was taken up, without a clear answer.
    pub asked: bool,
    /// The provider was asked since the process was taken up, and nothing is known.
    pub silent: bool,
    /// The payment was looked up since the process was taken up.
    pub looked: bool,
    /// The provider was asked since the process was taken up, and knows of no such payment.
    pub absent: bool,
}

/// What is to be done next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Hold the stock of every line, then say so; or undo if some is short.
    ReserveStock,
    /// Commit what the provider shall be asked.
    RequestPayment,
    /// Ask the provider to reserve the amount.
    Authorise,
    /// Hand the provider the shopper's answer.
    ConfirmAction,
    /// Ask the provider what became of it.
    LookUp,
    /// Tell the checkout that the shopper has to do something.
    RequireAction(PaymentAction),
    /// Tell the payment that its request never came to the provider.
    RecordNeverArrived,
    /// Tell the checkout that the outcome is open.
    RecordUnclear,
    /// Tell the checkout of the refusal.
    RecordDeclined,
    /// Tell the checkout that the money is reserved.
    RecordAuthorised,
    /// Hold the stock longer, until then.
    ExtendHold(DateTime<Utc>),
    /// Give the order its number and place it.
    PlaceOrder,
    /// Give the held stock to the order and confirm it; or undo if some is gone.
    AllocateStock,
    /// Commit that the money shall be taken.
    RequestCapture,
    /// Take it.
    Capture,
    /// Tell the order that it is paid.
    RecordPaid,
    /// Tell the checkout that all is done.
    Complete,
    /// Undo what was done.
    Compensate(FailureCause),
    /// Give up the order; one that is paid is cancelled.
    GiveUpOrder,
    /// Free what is held or allocated.
    ReleaseStock,
    /// Commit that the reservation of money shall be given up.
    RequestVoid,
    /// Give it up.
    Void,
    /// Send captured money back.
    SendBack,
    /// Tell the order that it is cancelled.
    RecordOrderCancelled,
    /// Tell the checkout that all is undone.
    Fail,
    /// Nothing until then.
    Wait(DateTime<Utc>),
    /// Nothing any more.
    Done,
}

/// The next step. Pure.
pub fn next(situation: &Situation, now: DateTime<Utc>) -> Step {
    let Situation { checkout, .. } = situation;
    match &checkout.phase {
        Phase::Reserving if checkout.hold_ended(now) => Step::Compensate(FailureCause::Expired),
        Phase::Reserving => Step::ReserveStock,
        Phase::AwaitingPayment if checkout.hold_ended(now) => {
            Step::Compensate(FailureCause::Expired)
        }
        Phase::AwaitingPayment => Step::Wait(hold_end(checkout)),
        Phase::Paying { waiting, .. } => pay(situation, *waiting, now),
        Phase::Completing { .. } => complete(situation, now),
        Phase::Compensating { .. } => compensate(situation, now),
        // A slow payment was still being processed; or two processes drove it at once: one undid,
        // the other was still asking.
        Phase::Failed { .. } if !is_paid(&situation.order) => undo_payment(situation, now),
        Phase::Completed { .. } => collect(situation, now),
        Phase::Absent | Phase::Failed { .. } => Step::Done,
    }
}

/// An order whose money waits for its first parcel: takes the money when that has left, or lets go
/// of it if the order is cancelled before.
fn collect(situation: &Situation, now: DateTime<Utc>) -> Step {
    let Some(order) = &situation.order.placed else { return Step::Done };
    if order.capture != CaptureMoment::OnShipment || order.paid.is_some() {
        return Step::Done;
    }
    match order.status {
        OrderStatus::Confirmed if order.awaits_capture() => match situation.payment.status {
            // It goes back, as all money that is not what was asked for.
            _ if situation.payment.stray => Step::Done,
            PaymentStatus::Captured => Step::RecordPaid,
            PaymentStatus::CaptureRequested => capture(situation, now),
            PaymentStatus::Authorised => Step::RequestCapture,
            // The goods are gone and the money is not there: the order shows it, for a person.
            _ => Step::Done,
        },
        OrderStatus::Cancelling if !situation.released => Step::ReleaseStock,
        OrderStatus::Cancelling => match undo_payment(situation, now) {
            Step::Done => Step::RecordOrderCancelled,
            step => step,
        },
        _ => Step::Done,
    }
}

fn hold_end(checkout: &Checkout) -> DateTime<Utc> {
    checkout.hold_until.expect("a checkout that began has a hold")
}

fn pay(situation: &Situation, waiting: Waiting, now: DateTime<Utc>) -> Step {
    let Situation { checkout, payment, .. } = situation;
    match payment.status {
        PaymentStatus::Declined | PaymentStatus::Voided => Step::RecordDeclined,
        _ if payment.stray => Step::RecordDeclined,
        _ if checkout.hold_ended(now) => Step::Compensate(FailureCause::Expired),
        PaymentStatus::Absent => Step::RequestPayment,
        PaymentStatus::Requested | PaymentStatus::ActionAnswered | PaymentStatus::Processing => {
            await_answer(situation, waiting, now)
        }
        PaymentStatus::ActionRequired => {
            let action = payment.action.expect("an action that is required is known");
            if waiting != Waiting::Action(action) {
                return Step::RequireAction(action);
            }
            await_shopper(situation, now)
        }
        PaymentStatus::Authorised
        | PaymentStatus::CaptureRequested
        | PaymentStatus::Captured
        | PaymentStatus::CaptureFailed
        | PaymentStatus::VoidRequested => Step::RecordAuthorised,
    }
}

/// The shopper has to do something. Before the hold ends the provider is asked whether they have:
/// neither their return nor the provider's word of it is certain to arrive.
fn await_shopper(situation: &Situation, now: DateTime<Utc>) -> Step {
    let Situation { checkout, looked, .. } = situation;
    let hold_end = hold_end(checkout);
    let look_at = hold_end - EXTEND_AHEAD;
    match extension(checkout, now) {
        _ if now < look_at => Step::Wait(look_at),
        _ if !looked => Step::LookUp,
        Some(extend) => extend,
        None => Step::Wait(hold_end),
    }
}

/// The provider was asked, or shall be, and has not said yes or no.
fn await_answer(situation: &Situation, waiting: Waiting, now: DateTime<Utc>) -> Step {
    let Situation { checkout, payment, .. } = situation;
    let first = payment.unknown.is_none() && payment.status != PaymentStatus::Processing;
    if (first || situation.absent) && !situation.asked {
        return ask(situation, now);
    }
    if waiting != Waiting::LateAnswer {
        return Step::RecordUnclear;
    }
    if let Some(extend) = extension(checkout, now) {
        return extend;
    }
    if !situation.asked {
        return ask(situation, now);
    }
    let asked_at = payment.asked_at.expect("a payment that was asked for has a time");
    let hold_end = hold_end(checkout);
    let look = if checkout.extended { hold_end } else { hold_end - EXTEND_AHEAD };
    Step::Wait(ask_again_at(asked_at, now).min(look).max(now))
}

/// How the provider is asked. The first time, and after a crash that leaves it open whether there
/// was a first time: the call itself, which its key makes repeatable for as long as the provider
/// remembers it. After that, and if an answer was lost, it is looked up; what the provider knows
/// nothing of is asked for again under the same key.
fn ask(situation: &Situation, now: DateTime<Utc>) -> Step {
    let payment = &situation.payment;
    match (payment.status, payment.unknown) {
        (PaymentStatus::ActionAnswered, _) => Step::ConfirmAction,
        _ if situation.absent => Step::Authorise,
        (PaymentStatus::Requested, None) if !is_forgotten(payment.asked_at, now) => Step::Authorise,
        _ => Step::LookUp,
    }
}

/// Whether the provider may have forgotten the key of what was asked for then: then it would do it
/// a second time.
pub(crate) fn is_forgotten(asked_at: Option<DateTime<Utc>>, now: DateTime<Utc>) -> bool {
    asked_at.is_none_or(|asked_at| asked_at + (KEYS_KEPT - KEYS_MARGIN) <= now)
}

/// When the provider was asked, if it owes an answer for longer than it may take.
pub(crate) fn unanswered_since(situation: &Situation, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
    let payment = &situation.payment;
    let slow = payment.status == PaymentStatus::Processing || payment.has_pending_refund();
    let patience = match (situation.silent, slow) {
        (true, _) => ANSWER_WITHIN,
        (false, true) => SLOW_ANSWER_WITHIN,
        (false, false) => return None,
    };
    payment.asked_at.filter(|asked_at| *asked_at + patience <= now)
}

fn extension(checkout: &Checkout, now: DateTime<Utc>) -> Option<Step> {
    let hold_end = hold_end(checkout);
    let due = !checkout.extended && hold_end - EXTEND_AHEAD <= now;
    due.then(|| Step::ExtendHold(hold_end + EXTENSION))
}

fn complete(situation: &Situation, now: DateTime<Utc>) -> Step {
    let Situation { payment, order, .. } = situation;
    let Some(order) = &order.placed else { return Step::PlaceOrder };
    if order.paid.is_some() {
        return Step::Complete;
    }
    match order.status {
        OrderStatus::Placed => Step::AllocateStock,
        OrderStatus::Confirmed
            if order.capture == CaptureMoment::OnShipment
                && payment.status == PaymentStatus::Authorised =>
        {
            Step::Complete
        }
        OrderStatus::Confirmed | OrderStatus::Paid => match payment.status {
            // The money of a stray is somebody else's, and of one given up it is gone.
            _ if payment.stray => not_captured("integrity_violated"),
            PaymentStatus::Voided => not_captured("authorisation_gone"),
            PaymentStatus::Captured => Step::RecordPaid,
            PaymentStatus::CaptureRequested => capture(situation, now),
            PaymentStatus::CaptureFailed => {
                not_captured(payment.capture_failure.as_deref().unwrap_or_default())
            }
            _ => Step::RequestCapture,
        },
        OrderStatus::Cancelling | OrderStatus::Cancelled => {
            let detail = "the order was cancelled before it was paid".to_owned();
            Step::Compensate(FailureCause::OrderRefused { detail })
        }
    }
}

fn not_captured(code: &str) -> Step {
    Step::Compensate(FailureCause::CaptureFailed { provider_code: code.to_owned() })
}

fn capture(situation: &Situation, now: DateTime<Utc>) -> Step {
    again(situation, Step::Capture, now)
}

/// The call, once each time the process is taken up; then a wait.
fn again(situation: &Situation, call: Step, now: DateTime<Utc>) -> Step {
    let asked_at = situation.payment.asked_at.unwrap_or(now);
    if situation.asked { Step::Wait(ask_again_at(asked_at, now)) } else { call }
}

fn compensate(situation: &Situation, now: DateTime<Utc>) -> Step {
    let order = situation.order.placed.as_ref();
    let status = order.map(|order| order.status);
    // Paid only if two processes drove it at once: one undid, the other went on.
    if matches!(status, Some(OrderStatus::Placed | OrderStatus::Confirmed | OrderStatus::Paid)) {
        return Step::GiveUpOrder;
    }
    // The stock first: it does not have to wait for a provider that does not answer.
    if !situation.released {
        return Step::ReleaseStock;
    }
    // Sending that money back is part of the order's cancellation.
    if is_paid(&situation.order) {
        return Step::Fail;
    }
    // The shopper is told now and not in days; if the money comes, it goes back.
    if situation.payment.status == PaymentStatus::Processing {
        return Step::Fail;
    }
    match undo_payment(situation, now) {
        Step::Done if status == Some(OrderStatus::Cancelling) => Step::RecordOrderCancelled,
        Step::Done => Step::Fail,
        step => step,
    }
}

fn is_paid(order: &Order) -> bool {
    order.placed.as_ref().is_some_and(|order| order.paid.is_some())
}

/// What is left to do until nothing of the shopper's money is reserved or taken.
fn undo_payment(situation: &Situation, now: DateTime<Utc>) -> Step {
    // That money has a process of its own, which does not keep the checkout from its end.
    if situation.payment.stray { Step::Done } else { give_back(situation, now) }
}

/// Gives back money that nothing counts on.
pub(crate) fn give_back(situation: &Situation, now: DateTime<Utc>) -> Step {
    let payment = &situation.payment;
    match payment.status {
        PaymentStatus::Absent | PaymentStatus::Declined | PaymentStatus::Voided => Step::Done,
        PaymentStatus::ActionAnswered => again(situation, Step::ConfirmAction, now),
        PaymentStatus::Requested if situation.absent => {
            let arrived = payment.asked_at.unwrap_or(now) + ARRIVES_WITHIN;
            if arrived <= now { Step::RecordNeverArrived } else { Step::Wait(arrived) }
        }
        PaymentStatus::Requested => again(situation, Step::LookUp, now),
        PaymentStatus::Processing if situation.asked => {
            Step::Wait(ask_again_within(payment.asked_at.unwrap_or(now), now, SLOW_LOOK_MAX))
        }
        PaymentStatus::Processing => Step::LookUp,
        PaymentStatus::ActionRequired
        | PaymentStatus::Authorised
        | PaymentStatus::CaptureFailed => Step::RequestVoid,
        PaymentStatus::VoidRequested => again(situation, Step::Void, now),
        PaymentStatus::CaptureRequested => capture(situation, now),
        PaymentStatus::Captured => match payment.refundable() {
            _ if payment.has_pending_refund() && situation.asked => {
                let asked_at = payment.asked_at.unwrap_or(now);
                Step::Wait(ask_again_within(asked_at, now, SLOW_LOOK_MAX))
            }
            _ if payment.has_open_refund() => again(situation, Step::SendBack, now),
            Some(left) if left.amount_minor > 0 => again(situation, Step::SendBack, now),
            _ => Step::Done,
        },
    }
}
