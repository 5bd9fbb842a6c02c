use cqrs_es::test::{AggregateTestExecutor, TestFramework};
use event_schemas::{
    ids::{LineId, ProductId, VariantId},
    money::Currency,
    order::{
        ChargeKind, OrderCancellationRequested, OrderCancelled, OrderConfirmed, OrderEvent,
        OrderPaid, OrderPlaced, OrderRefundFailed, OrderRefundRecorded, OrderRefundRequested,
        Restock,
    },
};

use super::*;

fn at() -> DateTime<Utc> {
    DateTime::UNIX_EPOCH
}

fn gbp(amount_minor: i64) -> Money {
    Money { amount_minor, currency: Currency::GBP }
}

fn checkout_id() -> CheckoutId {
    CheckoutId::derive(&[b"checkout"])
}

fn line_id() -> LineId {
    LineId::derive(&[b"line"])
}

fn refund_id(name: &str) -> RefundId {
    RefundId::derive(&[name.as_bytes()])
}

/// Three bars at 10.00, carriage 5.00, 1.00 off.
fn new_order() -> PlaceOrder {
    let charge = |kind, code: &str, amount_minor| Charge {
        kind,
        code: code.to_owned(),
        title: code.to_owned(),
        amount: gbp(amount_minor),
    };
    PlaceOrder {
        number: "1001".to_owned(),
        checkout_id: checkout_id(),
        payment_id: PaymentId::derive(&[b"payment"]),
        lines: vec![OrderLine {
            line_id: line_id(),
            product_id: ProductId::derive(&[b"product"]),
            variant_id: VariantId::derive(&[b"variant"]),
            sku: None,
            title: "Bar".to_owned(),
            quantity: 3,
            unit_price: gbp(1000),
        }],
        charges: vec![
            charge(ChargeKind::Postage, "POST", 500),
            charge(ChargeKind::Discount, "D", -100),
        ],
        total: gbp(3400),
        customer_reference: None,
        country: None,
        channel: Channel::Api,
        pricing: None,
        ship_to: None,
        at: at(),
    }
}

fn place(new: PlaceOrder) -> OrderCommand {
    OrderCommand::Place(Box::new(new))
}

fn placed() -> OrderEvent {
    let new = new_order();
    OrderEvent::Placed(OrderPlaced {
        number: new.number,
        checkout_id: new.checkout_id,
        payment_id: new.payment_id,
        lines: new.lines,
        charges: new.charges,
        total: new.total,
        customer_reference: None,
        country: None,
        channel: Channel::Api,
        pricing: None,
        ship_to: None,
        at: at(),
    })
}

fn confirmed() -> OrderEvent {
    OrderEvent::Confirmed(OrderConfirmed { capture: CaptureMoment::Immediately, at: at() })
}

fn paid() -> OrderEvent {
    OrderEvent::Paid(OrderPaid { amount: gbp(3400), at: at() })
}

fn cancel(reason: &str) -> OrderCommand {
    let (refund_id, reason) = (refund_id("cancel"), reason.to_owned());
    OrderCommand::RequestCancellation { refund_id, reason, at: at() }
}

fn cancelling() -> OrderEvent {
    OrderEvent::CancellationRequested(OrderCancellationRequested {
        refund_id: refund_id("cancel"),
        reason: "wrong size".to_owned(),
        at: at(),
    })
}

fn kept(quantity: u32) -> RefundLine {
    RefundLine { line_id: line_id(), quantity, restock: Restock::Cancel }
}

fn refund(name: &str, amount: Money, quantity: u32) -> RequestRefund {
    let lines = if quantity == 0 { vec![] } else { vec![kept(quantity)] };
    RequestRefund {
        refund_id: refund_id(name),
        reference: None,
        amount,
        lines,
        reason: "broken".to_owned(),
        at: at(),
    }
}

fn request(new: RequestRefund) -> OrderCommand {
    OrderCommand::RequestRefund(Box::new(new))
}

fn refunding(new: RequestRefund) -> OrderEvent {
    let RequestRefund { refund_id, reference, amount, lines, reason, at } = new;
    let requested = OrderRefundRequested { refund_id, reference, amount, lines, reason, at };
    OrderEvent::RefundRequested(requested)
}

fn refunded(name: &str, amount: Money) -> OrderEvent {
    let (refund_id, reference) = (refund_id(name), None);
    OrderEvent::RefundRecorded(OrderRefundRecorded { refund_id, reference, amount, at: at() })
}

fn refund_failed(name: &str) -> OrderEvent {
    let (refund_id, code) = (refund_id(name), "no".to_owned());
    OrderEvent::RefundFailed(OrderRefundFailed { refund_id, code, at: at() })
}

fn given(history: Vec<OrderEvent>) -> AggregateTestExecutor<Order> {
    TestFramework::with(()).given(history)
}

#[test]
fn an_order_is_placed_once_per_checkout() {
    given(vec![]).when(place(new_order())).then_expect_events(vec![placed()]);
    given(vec![placed()]).when(place(new_order())).then_expect_events(vec![]);
    let other = PlaceOrder { checkout_id: CheckoutId::derive(&[b"other"]), ..new_order() };
    given(vec![placed()]).when(place(other)).then_expect_error(OrderError::AlreadyPlaced);
}

#[test]
fn the_total_is_the_exact_sum_in_one_currency() {
    for amount in [3399, 3401, 0, -3400] {
        let off = PlaceOrder { total: gbp(amount), ..new_order() };
        given(vec![]).when(place(off)).then_expect_error(OrderError::TotalMismatch);
    }
    let mut mixed = new_order();
    mixed.charges[0].amount.currency = Currency::EUR;
    given(vec![]).when(place(mixed)).then_expect_error(OrderError::TotalMismatch);
    let mut huge = new_order();
    huge.lines[0].unit_price = gbp(i64::MAX);
    given(vec![]).when(place(huge)).then_expect_error(OrderError::TotalMismatch);
    let mut high = new_order();
    high.lines[0].unit_price = gbp(TOTAL_MINOR_MAX / 3);
    high.total = gbp(TOTAL_MINOR_MAX / 3 * 3 + 400);
    given(vec![]).when(place(high)).then_expect_error(OrderError::TotalTooHigh);
}

#[test]
fn an_order_has_a_number_lines_and_units() {
    let unnumbered = PlaceOrder { number: String::new(), ..new_order() };
    given(vec![]).when(place(unnumbered)).then_expect_error(OrderError::BadNumber);
    let long = PlaceOrder { number: "9".repeat(65), ..new_order() };
    given(vec![]).when(place(long)).then_expect_error(OrderError::BadNumber);
    let empty = PlaceOrder { lines: vec![], charges: vec![], total: gbp(0), ..new_order() };
    given(vec![]).when(place(empty)).then_expect_error(OrderError::Empty);
    let mut none = new_order();
    none.lines[0].quantity = 0;
    given(vec![]).when(place(none)).then_expect_error(OrderError::QuantityZero);
}

#[test]
fn an_order_is_confirmed_then_paid_in_full() {
    let confirm = || OrderCommand::Confirm { capture: CaptureMoment::Immediately, at: at() };
    let pay = |amount| OrderCommand::RecordPaid { amount, at: at() };
    given(vec![placed()]).when(confirm()).then_expect_events(vec![confirmed()]);
    given(vec![placed(), confirmed()]).when(confirm()).then_expect_events(vec![]);
    given(vec![placed(), confirmed()]).when(pay(gbp(3400))).then_expect_events(vec![paid()]);
    let short = given(vec![placed(), confirmed()]).when(pay(gbp(3399)));
    short.then_expect_error(OrderError::AmountMismatch);
    given(vec![placed(), confirmed(), paid()]).when(pay(gbp(3400))).then_expect_events(vec![]);
    let from = OrderStatus::Placed;
    let early = OrderError::IllegalTransition { from, command: "be paid" };
    given(vec![placed()]).when(pay(gbp(3400))).then_expect_error(early);
}

#[test]
fn a_paid_order_is_cancelled_once() {
    let paid_order = || vec![placed(), confirmed(), paid()];
    given(paid_order()).when(cancel("wrong size")).then_expect_events(vec![cancelling()]);
    let early = given(vec![placed(), confirmed()]).when(cancel("wrong size"));
    early.then_expect_error(OrderError::NotPaidYet);
    let twice = given(paid_order()).and(vec![cancelling()]).when(cancel("again"));
    twice.then_expect_error(OrderError::AlreadyCancelled);
    given(vec![]).when(cancel("wrong size")).then_expect_error(OrderError::NotFound);
}

#[test]
fn a_cancellation_has_a_reason_of_at_most_500_characters() {
    let paid_order = || given(vec![placed(), confirmed(), paid()]);
    paid_order().when(cancel("")).then_expect_error(OrderError::ReasonMissing);
    paid_order().when(cancel("  ")).then_expect_error(OrderError::ReasonMissing);
    paid_order().when(cancel(&"é".repeat(501))).then_expect_error(OrderError::ReasonTooLong);
    assert!(paid_order().when(cancel(&"é".repeat(500))).inspect_result().is_ok());
}

#[test]
fn a_cancellation_ends_when_the_money_is_back() {
    let record = || OrderCommand::RecordCancelled { at: at() };
    let history = || vec![placed(), confirmed(), paid(), cancelling()];
    given(history()).when(record()).then_expect_error(OrderError::RefundInProgress);
    let back = given(history()).and(vec![refunded("cancel", gbp(3400))]);
    let reason = "wrong size".to_owned();
    let cancelled = OrderEvent::Cancelled(OrderCancelled { reason, at: at() });
    back.when(record()).then_expect_events(vec![cancelled]);
}

#[test]
fn a_cancellation_whose_refund_failed_can_be_asked_for_again() {
    let history = vec![placed(), confirmed(), paid(), cancelling(), refund_failed("cancel")];
    let (refund_id, reason) = (refund_id("second"), "wrong size".to_owned());
    let again = OrderCommand::RequestCancellation { refund_id, reason, at: at() };
    assert!(given(history).when(again).inspect_result().is_ok());
}

#[test]
fn an_unpaid_order_is_given_up_by_its_checkout_only() {
    let give_up = || OrderCommand::CancelUnpaid {
        refund_id: refund_id("cancel"),
        reason: "wrong size".to_owned(),
        at: at(),
    };
    given(vec![placed()]).when(give_up()).then_expect_events(vec![cancelling()]);
    given(vec![placed(), cancelling()]).when(give_up()).then_expect_events(vec![]);
    let error = given(vec![placed(), confirmed(), paid()]).when(give_up());
    let from = OrderStatus::Paid;
    error.then_expect_error(OrderError::IllegalTransition {
        from,
        command: "be given up as unpaid",
    });
    // Nothing was paid, so nothing has to come back first.
    let record = OrderCommand::RecordCancelled { at: at() };
    assert!(given(vec![placed(), cancelling()]).when(record).inspect_result().is_ok());
}

#[test]
fn refunds_never_exceed_what_was_paid() {
    let history = || vec![placed(), confirmed(), paid()];
    let whole = refund("one", gbp(3400), 3);
    given(history()).when(request(whole.clone())).then_expect_events(vec![refunding(whole)]);
    let over = given(history()).when(request(refund("one", gbp(3401), 0)));
    over.then_expect_error(OrderError::AmountExceedsPaid { available: gbp(3400) });
    let first = refunding(refund("one", gbp(3000), 0));
    let second = given(history()).and(vec![first.clone()]);
    second
        .when(request(refund("two", gbp(401), 0)))
        .then_expect_error(OrderError::AmountExceedsPaid { available: gbp(400) });
    let failed = given(history()).and(vec![first, refund_failed("one")]);
    assert!(failed.when(request(refund("two", gbp(3400), 0))).inspect_result().is_ok());
    let nothing = given(history()).when(request(refund("one", gbp(0), 0)));
    nothing.then_expect_error(OrderError::AmountNotPositive);
    let foreign = Money { amount_minor: 1, currency: Currency::EUR };
    let foreign = given(history()).when(request(refund("one", foreign, 0)));
    foreign.then_expect_error(OrderError::AmountMismatch);
}

#[test]
fn no_more_units_come_back_than_were_bought() {
    let history = || vec![placed(), confirmed(), paid(), refunding(refund("one", gbp(1000), 1))];
    assert!(given(history()).when(request(refund("two", gbp(1), 2))).inspect_result().is_ok());
    let over = given(history()).when(request(refund("two", gbp(1), 3)));
    let error = OrderError::QuantityExceedsBought { line_id: line_id(), available: 2 };
    over.then_expect_error(error.clone());
    let mut split = refund("two", gbp(1), 2);
    split.lines.push(kept(1));
    given(history()).when(request(split)).then_expect_error(error);
    let mut unknown = refund("two", gbp(1), 1);
    unknown.lines[0].line_id = LineId::derive(&[b"other"]);
    let line_id = unknown.lines[0].line_id;
    let refused = given(history()).when(request(unknown));
    refused.then_expect_error(OrderError::UnknownLine { line_id });
}

#[test]
fn a_refund_is_requested_and_recorded_once() {
    let history = || vec![placed(), confirmed(), paid(), refunding(refund("one", gbp(100), 0))];
    let again = given(history()).when(request(refund("one", gbp(100), 0)));
    again.then_expect_events(vec![]);
    let record = |name| OrderCommand::RecordRefund { refund_id: refund_id(name), at: at() };
    let recorded = refunded("one", gbp(100));
    given(history()).when(record("one")).then_expect_events(vec![recorded.clone()]);
    given(history()).and(vec![recorded]).when(record("one")).then_expect_events(vec![]);
    given(history()).when(record("two")).then_expect_error(OrderError::UnknownRefund);
    // A pending refund keeps the order from being cancelled.
    given(history()).when(cancel("why")).then_expect_error(OrderError::RefundInProgress);
}

#[test]
fn a_stand_alone_refund_is_recorded_once() {
    let new = RecordAdjustment {
        reference: "C536379".to_owned(),
        amount: gbp(2750),
        lines: vec![],
        customer_reference: None,
        reason: "taken over".to_owned(),
        at: at(),
    };
    let record = |new| AdjustmentCommand::Record(Box::new(new));
    let given = |history| TestFramework::<Adjustment>::with(()).given(history);
    let events = Adjustment::default().decide(record(new.clone())).unwrap();
    assert_eq!(events.len(), 1);
    given(events).when(record(new.clone())).then_expect_events(vec![]);
    let nothing = RecordAdjustment { amount: gbp(0), ..new.clone() };
    let refused = given(vec![]).when(record(nothing));
    refused.then_expect_error(AdjustmentError::AmountNotPositive);
    let high = RecordAdjustment { amount: gbp(TOTAL_MINOR_MAX + 1), ..new.clone() };
    given(vec![]).when(record(high)).then_expect_error(AdjustmentError::AmountTooHigh);
    let silent = RecordAdjustment { reason: String::new(), ..new };
    given(vec![]).when(record(silent)).then_expect_error(AdjustmentError::BadReason);
}
