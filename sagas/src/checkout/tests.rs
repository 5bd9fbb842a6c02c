//! Decisions, without a database: the story is told in events, the answer is the next step.

use chrono::{DateTime, Duration, Utc};
use commands::{checkout::payment_id, payment::PaymentStatus};
use cqrs_es::Aggregate;
use event_schemas::{
    checkout::{CheckoutEvent, FailureCause, Shortage},
    ids::{CheckoutId, VariantId},
    order::OrderEvent,
    payment::{PaymentAction, PaymentEvent},
};
use serde_json::{Value, json};

use super::*;

const HOLD: Duration = Duration::minutes(15);

fn minute(minutes: i64) -> DateTime<Utc> {
    DateTime::UNIX_EPOCH + Duration::minutes(minutes)
}

fn checkout_id() -> CheckoutId {
    CheckoutId::derive(&[b"a checkout"])
}

/// Events of one stream, as they are stored.
fn apply<A: Aggregate>(aggregate: &mut A, event: Value) {
    let event: A::Event = serde_json::from_value(event).unwrap();
    aggregate.apply(event);
}

/// A story so far.
#[derive(Clone, Default)]
struct Story(Situation);

impl Story {
    fn begun() -> Story {
        Story::default().checkout(json!({
            "type": "CheckoutStarted", "charges": [], "cart_id": null, "coupons": [], "customer_reference": null, "country": null,
            "total": money(), "channel": "api", "order_number": null, "backdated_to": null,
            "hold_until": minute(0) + HOLD, "at": minute(0),
            "lines": [{
                "line_id": event_schemas::ids::LineId::derive(&[b"line"]), "sku": null,
                "product_id": event_schemas::ids::ProductId::derive(&[b"product"]),
                "variant_id": VariantId::derive(&[b"variant"]),
                "title": "Bar", "quantity": 1, "unit_price": money(),
            }],
        }))
    }

    fn held() -> Story {
        Story::begun().checkout(json!({ "type": "CheckoutStockSecured", "at": minute(0) }))
    }

    fn paying() -> Story {
        Story::held().checkout(json!({
            "type": "PaymentStarted", "attempt": 1, "payment_id": payment_id(checkout_id(), 1),
            "payment_method": "sbx_ok", "at": minute(1),
        }))
    }

    fn requested() -> Story {
        Story::paying().payment(json!({
            "type": "PaymentIntentRequested", "checkout_id": checkout_id(), "attempt": 1,
            "amount": money(), "provider": "sandbox", "payment_method": "sbx_ok", "at": minute(1),
        }))
    }

    fn unclear() -> Story {
        Story::requested().payment(json!({
            "type": "ProviderOutcomeUnknown", "call": "authorise", "at": minute(1),
        }))
    }

    fn authorised() -> Story {
        Story::requested().payment(json!({
            "type": "PaymentAuthorised", "provider_reference": "ref", "amount": money(),
            "at": minute(1),
        }))
    }

    fn completing() -> Story {
        let authorised =
            json!({ "type": "CheckoutPaymentAuthorised", "attempt": 1, "at": minute(1) });
        Story::authorised().checkout(authorised)
    }

    fn placed() -> Story {
        Story::completing().order(json!({
            "type": "OrderPlaced", "number": "1001", "checkout_id": checkout_id(),
            "payment_id": payment_id(checkout_id(), 1), "lines": [], "charges": [],
            "total": money(), "customer_reference": null, "country": null, "channel": "api",
            "at": minute(1),
        }))
    }

    fn confirmed() -> Story {
        let (capture, at) = ("immediately", minute(1));
        let confirmed = json!({ "type": "OrderConfirmed", "capture": capture, "at": at });
        Story::placed().order(confirmed)
    }

    /// Of a store that takes money on shipment, and done with the shopper.
    fn completed_unpaid() -> Story {
        let (capture, at) = ("on_shipment", minute(1));
        let confirmed = json!({ "type": "OrderConfirmed", "capture": capture, "at": at });
        let order_id = commands::checkout::order_id(checkout_id());
        Story::placed().order(confirmed).checkout(json!({
            "type": "CheckoutCompleted", "order_id": order_id, "order_number": "1001", "at": at,
        }))
    }

    fn shipped(self) -> Story {
        let (id, at) = (event_schemas::ids::FulfilmentId::derive(&[b"parcel"]), minute(9));
        let made = json!({ "type": "FulfilmentCreated", "fulfilment_id": id, "location": "main",
            "lines": [], "at": at });
        let left =
            json!({ "type": "FulfilmentShipped", "fulfilment_id": id, "tracking": null, "at": at });
        self.order(made).order(left)
    }

    fn capturing() -> Story {
        let requested = json!({ "type": "CaptureRequested", "amount": money(), "at": minute(1) });
        Story::confirmed().payment(requested)
    }

    fn checkout(mut self, event: Value) -> Story {
        apply(&mut self.0.checkout, event);
        self
    }

    fn payment(mut self, event: Value) -> Story {
        apply(&mut self.0.payment, event);
        self
    }

    fn order(mut self, event: Value) -> Story {
        apply(&mut self.0.order, event);
        self
    }

    fn undone_for(self, cause: &FailureCause) -> Story {
        let cause = serde_json::to_value(cause).unwrap();
        let at = minute(2);
        self.checkout(json!({ "type": "CheckoutCompensationStarted", "cause": cause, "at": at }))
    }

    fn asked(mut self) -> Story {
        self.0.asked = true;
        self
    }

    fn looked(mut self) -> Story {
        self.0.looked = true;
        self
    }

    fn released(mut self) -> Story {
        self.0.released = true;
        self
    }

    fn next(&self, now: DateTime<Utc>) -> Step {
        next(&self.0, now)
    }
}

fn money() -> Value {
    json!({ "amount_minor": 1250, "currency": "GBP" })
}

#[test]
fn a_purchase_goes_step_by_step() {
    let now = minute(1);
    assert_eq!(Story::default().next(now), Step::Done);
    assert_eq!(Story::begun().next(now), Step::ReserveStock);
    assert_eq!(Story::held().next(now), Step::Wait(minute(15)));
    assert_eq!(Story::paying().next(now), Step::RequestPayment);
    assert_eq!(Story::requested().next(now), Step::Authorise);
    assert_eq!(Story::authorised().next(now), Step::RecordAuthorised);
    assert_eq!(Story::completing().next(now), Step::PlaceOrder);
    assert_eq!(Story::placed().next(now), Step::AllocateStock);
    assert_eq!(Story::confirmed().next(now), Step::RequestCapture);
    assert_eq!(Story::capturing().next(now), Step::Capture);
    let captured = Story::capturing()
        .payment(json!({ "type": "PaymentCaptured", "amount": money(), "at": now }));
    assert_eq!(captured.next(now), Step::RecordPaid);
    let paid = captured.order(json!({ "type": "OrderPaid", "amount": money(), "at": now }));
    assert_eq!(paid.next(now), Step::Complete);
}

#[test]
fn money_that_waits_for_a_parcel_is_taken_when_it_leaves_or_let_go() {
    let now = minute(9);
    let capture = json!({ "type": "OrderConfirmed", "capture": "on_shipment", "at": minute(1) });
    assert_eq!(Story::placed().order(capture).next(now), Step::Complete);
    let waiting = Story::completed_unpaid();
    assert_eq!(waiting.next(now), Step::Done);
    let left = waiting.clone().shipped();
    assert_eq!(left.next(now), Step::RequestCapture);
    let requested = json!({ "type": "CaptureRequested", "amount": money(), "at": now });
    let taking = left.payment(requested);
    assert_eq!(taking.next(now), Step::Capture);
    assert!(matches!(taking.clone().asked().next(now), Step::Wait(_)));
    let refused = json!({ "type": "CaptureFailed", "code": "no", "at": now });
    assert_eq!(taking.clone().payment(refused).next(now), Step::Done);
    let captured = json!({ "type": "PaymentCaptured", "amount": money(), "at": now });
    let taken = taking.payment(captured);
    assert_eq!(taken.next(now), Step::RecordPaid);
    let paid = taken.order(json!({ "type": "OrderPaid", "amount": money(), "at": now }));
    assert_eq!(paid.next(now), Step::Done);
    let refund_id = event_schemas::ids::RefundId::derive(&[b"refund"]);
    let cancelling = waiting.order(json!({ "type": "OrderCancellationRequested",
        "refund_id": refund_id, "reason": "why", "at": now }));
    assert_eq!(cancelling.next(now), Step::ReleaseStock);
    assert_eq!(cancelling.clone().released().next(now), Step::RequestVoid);
    let voiding = json!({ "type": "VoidRequested", "cause": "cancelled", "at": now });
    let voiding = cancelling.released().payment(voiding);
    assert_eq!(voiding.next(now), Step::Void);
    let voided = voiding.payment(json!({ "type": "PaymentVoided", "at": now }));
    assert_eq!(voided.next(now), Step::RecordOrderCancelled);
}

#[test]
fn a_parcel_is_not_paid_by_money_that_is_not_what_was_asked_for() {
    let now = minute(9);
    for captured in [true, false] {
        let wrong = json!({ "amount_minor": 625, "currency": "GBP" });
        let stray = Story::completed_unpaid().payment(json!({
            "type": "PaymentIntegrityViolated", "provider_reference": "ref", "expected": money(),
            "actual": wrong, "captured": captured, "at": minute(5),
        }));
        assert!(stray.0.payment.stray);
        assert_eq!(stray.shipped().next(now), Step::Done, "captured: {captured}");
    }
}

#[test]
fn an_unclear_answer_is_looked_up_and_never_a_refusal() {
    let now = minute(1);
    assert_eq!(Story::unclear().asked().next(now), Step::RecordUnclear);
    let told = Story::unclear()
        .checkout(json!({ "type": "CheckoutPaymentUnclear", "attempt": 1, "at": now }));
    assert_eq!(told.clone().asked().next(now), Step::Wait(now + Duration::seconds(1)));
    assert_eq!(told.next(now + Duration::seconds(1)), Step::LookUp);
    let later = now + Duration::minutes(5);
    assert_eq!(told.clone().asked().next(later), Step::Wait(later + Duration::minutes(1)));
    assert_eq!(told.next(minute(14)), Step::ExtendHold(minute(30)));
}

#[test]
fn a_required_action_is_shown_and_waited_for() {
    let now = minute(1);
    let required = Story::requested().payment(json!({
        "type": "PaymentActionRequired", "action": "three_d_secure", "provider_reference": "ref",
        "at": now,
    }));
    let action = PaymentAction::ThreeDSecure;
    assert_eq!(required.next(now), Step::RequireAction(action));
    let shown = required.checkout(json!({
        "type": "CheckoutActionRequired", "attempt": 1, "action": "three_d_secure", "at": now,
    }));
    assert_eq!(shown.next(now), Step::Wait(minute(14)));
    // The shopper may have done it, and nobody said so.
    assert_eq!(shown.next(minute(14)), Step::LookUp);
    let looked = shown.looked();
    assert_eq!(looked.next(minute(14)), Step::ExtendHold(minute(30)));
    let extended = looked
        .checkout(json!({ "type": "CheckoutHoldExtended", "until": minute(30), "at": minute(14) }));
    assert_eq!(extended.next(minute(14)), Step::Wait(minute(29)));
    assert_eq!(extended.next(minute(29)), Step::Wait(minute(30)));
    let (mut again, done) = (extended.clone(), minute(29));
    again.0.looked = false;
    assert_eq!(again.next(done), Step::LookUp);
    let done = again.payment(json!({
        "type": "PaymentAuthorised", "provider_reference": "ref", "amount": money(), "at": done,
    }));
    assert_eq!(done.next(minute(29)), Step::RecordAuthorised);
    assert_eq!(extended.next(minute(30)), Step::Compensate(FailureCause::Expired));
    let answered = extended
        .payment(json!({ "type": "PaymentActionAnswered", "answer": "pass", "at": minute(14) }));
    assert_eq!(answered.next(minute(14)), Step::ConfirmAction);
}

#[test]
fn whatever_has_no_money_is_undone_when_the_hold_is_over() {
    let over = minute(15);
    let stories = [
        Story::begun(),
        Story::held(),
        Story::paying(),
        Story::requested(),
        Story::unclear(),
        // Money that came in time but was noticed too late is given back.
        Story::authorised(),
    ];
    for story in stories {
        assert_eq!(story.next(over), Step::Compensate(FailureCause::Expired));
    }
    // From here on there will be an order: the hold does not matter any more.
    assert_eq!(Story::completing().next(over), Step::PlaceOrder);
}

#[test]
fn each_refused_step_undoes_what_came_before_in_reverse() {
    let now = minute(2);
    let short = FailureCause::InsufficientStock {
        lines: vec![Shortage {
            variant_id: VariantId::derive(&[b"variant"]),
            requested: 1,
            available: 0,
        }],
    };
    // No stock: nothing but what else was held.
    let undo = Story::begun().undone_for(&short);
    assert_eq!(undo.next(now), Step::ReleaseStock);
    assert_eq!(undo.released().next(now), Step::Fail);
    // The stock is gone when the order is placed: the order, the stock, the money.
    let undo = Story::placed().undone_for(&short);
    assert_eq!(undo.next(now), Step::GiveUpOrder);
    let refund_id = event_schemas::ids::RefundId::derive(&[b"refund"]);
    let undo = undo.order(json!({
        "type": "OrderCancellationRequested", "refund_id": refund_id, "reason": "failed", "at": now,
    }));
    assert_eq!(undo.next(now), Step::ReleaseStock);
    let undo = undo.released();
    assert_eq!(undo.next(now), Step::RequestVoid);
    let undo =
        undo.payment(json!({ "type": "VoidRequested", "cause": "checkout_failed", "at": now }));
    assert_eq!(undo.next(now), Step::Void);
    let undo = undo.payment(json!({ "type": "PaymentVoided", "at": now }));
    assert_eq!(undo.next(now), Step::RecordOrderCancelled);
    let undo = undo.order(json!({ "type": "OrderCancelled", "reason": "failed", "at": now }));
    assert_eq!(undo.next(now), Step::Fail);
    // The capture failed.
    let failed =
        Story::capturing().payment(json!({ "type": "CaptureFailed", "code": "no", "at": now }));
    let cause = FailureCause::CaptureFailed { provider_code: "no".into() };
    assert_eq!(failed.next(now), Step::Compensate(cause.clone()));
    assert_eq!(failed.undone_for(&cause).next(now), Step::GiveUpOrder);
}

#[test]
fn an_order_that_another_process_got_paid_is_cancelled_with_the_checkout() {
    let now = minute(2);
    let undo = Story::capturing()
        .payment(json!({ "type": "PaymentCaptured", "amount": money(), "at": now }))
        .order(json!({ "type": "OrderPaid", "amount": money(), "at": now }))
        .undone_for(&FailureCause::Expired);
    assert_eq!(undo.next(now), Step::GiveUpOrder);
    let refund_id = event_schemas::ids::RefundId::derive(&[b"refund"]);
    let undo = undo.order(json!({
        "type": "OrderCancellationRequested", "refund_id": refund_id, "reason": "failed", "at": now,
    }));
    assert_eq!(undo.next(now), Step::ReleaseStock);
    // The money is the cancellation's to send back.
    assert_eq!(undo.released().next(now), Step::Fail);
}

#[test]
fn a_payment_of_unknown_fate_is_looked_up_before_the_end() {
    let now = minute(16);
    let undo = Story::unclear().undone_for(&FailureCause::Expired).released();
    assert_eq!(undo.next(now), Step::LookUp);
    assert_eq!(undo.clone().asked().next(now), Step::Wait(now + Duration::minutes(1)));
    let paid = undo.payment(json!({
        "type": "PaymentAuthorised", "provider_reference": "ref", "amount": money(), "at": now,
    }));
    assert_eq!(paid.next(now), Step::RequestVoid);
}

#[test]
fn an_answer_that_stays_away_is_owed_from_some_time_on() {
    let mut story = Story::unclear().undone_for(&FailureCause::Expired).released().asked();
    let (asked_at, late) = (minute(1), minute(1) + ANSWER_WITHIN);
    assert_eq!(unanswered_since(&story.0, late), None, "it was not asked just now");
    story.0.silent = true;
    assert_eq!(unanswered_since(&story.0, late - Duration::seconds(1)), None);
    assert_eq!(unanswered_since(&story.0, late), Some(asked_at));
    // A bank takes its time, and says so.
    let slow = Story::requested().payment(
        json!({ "type": "PaymentProcessing", "provider_reference": "ref", "at": asked_at }),
    );
    assert_eq!(unanswered_since(&slow.0, late), None);
    assert_eq!(unanswered_since(&slow.0, asked_at + SLOW_ANSWER_WITHIN), Some(asked_at));
}

#[test]
fn money_that_comes_after_the_end_is_given_up_too() {
    let now = minute(20);
    let cause = json!({ "code": "expired" });
    let ended = |story: Story| {
        story
            .undone_for(&FailureCause::Expired)
            .checkout(json!({ "type": "CheckoutFailed", "cause": cause, "at": now }))
    };
    assert_eq!(ended(Story::held()).next(now), Step::Done);
    assert_eq!(ended(Story::authorised()).next(now), Step::RequestVoid);
    assert_eq!(ended(Story::unclear()).next(now), Step::LookUp);
}

/// Every fact of a whole purchase told twice: the second time changes no state that a step
/// depends on, and the process goes the same way.
#[test]
fn a_fact_that_is_told_twice_changes_nothing() {
    use commands::{
        checkout::{Checkout, CheckoutCommand as C},
        payment::{Payment, PaymentCommand as P},
    };
    let at = minute(1);
    let mut checkout = Story::paying().0.checkout;
    let told = [
        C::SecureStock { at },
        C::RecordUnclear { attempt: 1, at },
        C::ExtendHold { until: minute(30), at },
        C::RecordAuthorised { attempt: 1, at },
        C::StartCompensation { cause: FailureCause::Expired, at },
        C::Fail { at },
    ];
    for command in told {
        tell(&mut checkout, command.clone(), Checkout::decide);
        let events: Vec<CheckoutEvent> = checkout.decide(command.clone()).unwrap();
        assert_eq!(events, [], "{command:?}");
    }
    let mut payment = Story::requested().0.payment;
    let amount = payment.intent.as_ref().unwrap().amount;
    let told = [
        P::RecordAuthorised { provider_reference: "ref".into(), amount, expires_at: None, at },
        P::RequestCapture { at },
        P::RecordCaptured { provider_reference: "ref".into(), amount, at },
    ];
    for command in told {
        tell(&mut payment, command.clone(), Payment::decide);
        let events: Vec<PaymentEvent> = payment.decide(command.clone()).unwrap();
        assert_eq!(events, [], "{command:?}");
    }
    assert_eq!(payment.status, PaymentStatus::Captured);
    let late = P::RecordDeclined {
        code: "late".into(),
        advice: event_schemas::payment::DeclineAdvice::Stop,
        at,
    };
    assert_eq!(payment.decide(late), Ok(vec![]));
    let mut order = Story::confirmed().0.order;
    let paid = commands::order::OrderCommand::RecordPaid { amount, at };
    tell(&mut order, paid.clone(), commands::order::Order::decide);
    let events: Vec<OrderEvent> = order.decide(paid).unwrap();
    assert_eq!(events, []);
}

type Decide<A> = fn(
    &A,
    <A as Aggregate>::Command,
) -> Result<Vec<<A as Aggregate>::Event>, <A as Aggregate>::Error>;

fn tell<A: Aggregate>(aggregate: &mut A, command: A::Command, decide: Decide<A>) {
    for event in decide(aggregate, command).unwrap() {
        aggregate.apply(event);
    }
}
