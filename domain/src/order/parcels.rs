//! What may be packed, sent and kept back, told in small stories.

use cqrs_es::test::{AggregateTestExecutor, TestFramework};
use event_schemas::{
    fulfilment::{FulfilmentCancelled, FulfilmentCreated, FulfilmentLine, FulfilmentShipped},
    money::Currency,
    order::{
        ChargeKind, OrderCancellationRequested, OrderConfirmed, OrderEvent, OrderPaid, OrderPlaced,
        OrderRefundRequested, Restock,
    },
};

use super::*;

fn at() -> DateTime<Utc> {
    DateTime::UNIX_EPOCH
}

fn gbp(amount_minor: i64) -> Money {
    Money { amount_minor, currency: Currency::GBP }
}

fn line_id() -> LineId {
    LineId::derive(&[b"line"])
}

fn parcel_id(name: &str) -> FulfilmentId {
    FulfilmentId::derive(&[name.as_bytes()])
}

/// Three bars at 10.00, carriage 5.00, 1.00 off.
fn history(capture: CaptureMoment) -> Vec<OrderEvent> {
    let charge = |kind, minor| {
        let (code, title) = ("C".to_owned(), "C".to_owned());
        Charge { kind, code, title, amount: gbp(minor) }
    };
    let placed = OrderPlaced {
        number: "1001".to_owned(),
        checkout_id: CheckoutId::derive(&[b"checkout"]),
        payment_id: PaymentId::derive(&[b"payment"]),
        lines: vec![OrderLine {
            line_id: line_id(),
            product_id: event_schemas::ids::ProductId::derive(&[b"product"]),
            variant_id: event_schemas::ids::VariantId::derive(&[b"variant"]),
            sku: None,
            title: "Bar".to_owned(),
            quantity: 3,
            unit_price: gbp(1000),
        }],
        charges: vec![charge(ChargeKind::Postage, 500), charge(ChargeKind::Discount, -100)],
        total: gbp(3400),
        customer_reference: None,
        country: None,
        channel: Channel::Api,
        pricing: None,
        ship_to: None,
        at: at(),
    };
    let confirmed = OrderConfirmed { capture, at: at() };
    vec![OrderEvent::Placed(placed), OrderEvent::Confirmed(confirmed)]
}

fn paid_with(more: Vec<OrderEvent>) -> AggregateTestExecutor<Order> {
    let mut events = history(CaptureMoment::Immediately);
    events.push(OrderEvent::Paid(OrderPaid { amount: gbp(3400), at: at() }));
    events.extend(more);
    TestFramework::with(()).given(events)
}

fn unpaid_with(more: Vec<OrderEvent>) -> AggregateTestExecutor<Order> {
    let mut events = history(CaptureMoment::OnShipment);
    events.extend(more);
    TestFramework::with(()).given(events)
}

fn pack_lines(name: &str, lines: Vec<FulfilmentLine>) -> OrderCommand {
    let (fulfilment_id, location) = (parcel_id(name), "main".to_owned());
    OrderCommand::CreateFulfilment(NewFulfilment { fulfilment_id, location, lines, at: at() })
}

fn units(quantity: u32) -> FulfilmentLine {
    FulfilmentLine { line_id: line_id(), quantity }
}

fn pack(name: &str, quantity: u32) -> OrderCommand {
    pack_lines(name, vec![units(quantity)])
}

fn packed(name: &str, quantity: u32) -> OrderEvent {
    let (fulfilment_id, location) = (parcel_id(name), "main".to_owned());
    let lines = vec![units(quantity)];
    let created = FulfilmentCreated { fulfilment_id, location, lines, at: at() };
    OrderEvent::FulfilmentCreated(created)
}

fn ship(name: &str, tracking: Option<Tracking>) -> OrderCommand {
    OrderCommand::Ship { fulfilment_id: parcel_id(name), tracking, at: at() }
}

fn shipped(name: &str) -> OrderEvent {
    let (fulfilment_id, tracking) = (parcel_id(name), None);
    OrderEvent::FulfilmentShipped(FulfilmentShipped { fulfilment_id, tracking, at: at() })
}

fn stopped(name: &str) -> OrderEvent {
    let (fulfilment_id, reason) = (parcel_id(name), "no stock".to_owned());
    OrderEvent::FulfilmentCancelled(FulfilmentCancelled { fulfilment_id, reason, at: at() })
}

fn cancel() -> OrderCommand {
    let refund_id = RefundId::derive(&[b"cancel"]);
    OrderCommand::RequestCancellation { refund_id, reason: "no stock".to_owned(), at: at() }
}

fn refund(quantity: u32, restock: Restock) -> OrderCommand {
    OrderCommand::RequestRefund(Box::new(RequestRefund {
        refund_id: RefundId::derive(&[b"refund"]),
        reference: None,
        amount: gbp(1),
        lines: vec![RefundLine { line_id: line_id(), quantity, restock }],
        reason: "broken".to_owned(),
        at: at(),
    }))
}

#[test]
fn no_more_is_packed_than_is_open() {
    paid_with(vec![]).when(pack("one", 3)).then_expect_events(vec![packed("one", 3)]);
    let exceeds = |open| OrderError::ExceedsOpen { line_id: line_id(), open };
    paid_with(vec![]).when(pack("one", 4)).then_expect_error(exceeds(3));
    let two = || vec![packed("one", 2)];
    paid_with(two()).when(pack("one", 2)).then_expect_events(vec![]);
    paid_with(two()).when(pack("two", 2)).then_expect_error(exceeds(1));
    let twice = pack_lines("two", vec![units(1), units(1)]);
    paid_with(two()).when(twice).then_expect_error(exceeds(1));
    let merged = pack_lines("one", vec![units(1), units(1)]);
    paid_with(vec![]).when(merged).then_expect_events(vec![packed("one", 2)]);
    let stopped = vec![packed("one", 2), stopped("one")];
    assert!(paid_with(stopped).when(pack("two", 3)).inspect_result().is_ok());
    paid_with(vec![]).when(pack("one", 0)).then_expect_error(OrderError::QuantityZero);
    let nothing = pack_lines("one", vec![]);
    paid_with(vec![]).when(nothing).then_expect_error(OrderError::FulfilmentEmpty);
    let line_id = LineId::derive(&[b"other"]);
    let unknown = pack_lines("one", vec![FulfilmentLine { line_id, quantity: 1 }]);
    paid_with(vec![]).when(unknown).then_expect_error(OrderError::UnknownLine { line_id });
}

#[test]
fn only_what_is_paid_or_paid_on_shipment_is_packed() {
    let early = TestFramework::<Order>::with(()).given(history(CaptureMoment::Immediately));
    early.when(pack("one", 1)).then_expect_error(OrderError::NotPaidYet);
    assert!(unpaid_with(vec![]).when(pack("one", 1)).inspect_result().is_ok());
    let cancelling = OrderCancellationRequested {
        refund_id: RefundId::derive(&[b"cancel"]),
        reason: "no stock".to_owned(),
        at: at(),
    };
    let cancelling = vec![OrderEvent::CancellationRequested(cancelling)];
    paid_with(cancelling).when(pack("one", 1)).then_expect_error(OrderError::AlreadyCancelled);
}

#[test]
fn a_parcel_leaves_once_and_arrives_after_that() {
    let deliver = || OrderCommand::Deliver { fulfilment_id: parcel_id("one"), at: at() };
    let pending = || vec![packed("one", 1)];
    paid_with(pending()).when(ship("one", None)).then_expect_events(vec![shipped("one")]);
    let (from, command) = (FulfilmentState::Pending, "be delivered");
    let error = OrderError::FulfilmentIs { from, command };
    paid_with(pending()).when(deliver()).then_expect_error(error);
    let left = || vec![packed("one", 1), shipped("one")];
    paid_with(left()).when(ship("one", None)).then_expect_events(vec![]);
    assert!(paid_with(left()).when(deliver()).inspect_result().is_ok());
    let stop = OrderCommand::CancelFulfilment {
        fulfilment_id: parcel_id("one"),
        reason: "no stock".to_owned(),
        at: at(),
    };
    paid_with(left()).when(stop.clone()).then_expect_error(OrderError::AlreadyShipped);
    paid_with(pending()).when(stop).then_expect_events(vec![stopped("one")]);
    let stopped = vec![packed("one", 1), stopped("one")];
    let (from, command) = (FulfilmentState::Cancelled, "be shipped");
    let error = OrderError::FulfilmentIs { from, command };
    paid_with(stopped).when(ship("one", None)).then_expect_error(error);
    let unknown = paid_with(vec![]).when(ship("one", None));
    unknown.then_expect_error(OrderError::UnknownFulfilment);
}

#[test]
fn a_carriers_words_can_be_shown() {
    let tracking = |carrier: &str, number: &str, url: Option<&str>| {
        let (carrier, number) = (carrier.to_owned(), number.to_owned());
        Some(Tracking { carrier, number, url: url.map(str::to_owned) })
    };
    let good = tracking("royal_mail", "RM1", Some("https://example.com/RM1"));
    let pending = || paid_with(vec![packed("one", 1)]);
    assert!(pending().when(ship("one", good)).inspect_result().is_ok());
    let long = "x".repeat(TRACKING_CHARS_MAX + 1);
    let far = format!("https://{}", "x".repeat(TRACKING_URL_CHARS_MAX));
    for (bad, at) in [
        (tracking("", "1", None), "/tracking/carrier"),
        (tracking(&long, "1", None), "/tracking/carrier"),
        (tracking("post", "a\0", None), "/tracking/number"),
        (tracking("post", "1", Some("javascript:alert(1)")), "/tracking/url"),
        (tracking("post", "1", Some("https://")), "/tracking/url"),
        (tracking("post", "1", Some("https://a b")), "/tracking/url"),
        (tracking("post", "1", Some(&far)), "/tracking/url"),
    ] {
        let refused = pending().when(ship("one", bad));
        refused.then_expect_error(OrderError::TrackingInvalid { at });
    }
    for location in ["", "Main", "a b", &"x".repeat(LOCATION_CHARS_MAX + 1)] {
        let (fulfilment_id, lines) = (parcel_id("one"), vec![units(1)]);
        let new = NewFulfilment { fulfilment_id, location: location.to_owned(), lines, at: at() };
        let refused = paid_with(vec![]).when(OrderCommand::CreateFulfilment(new));
        refused.then_expect_error(OrderError::LocationInvalid);
    }
}

#[test]
fn a_cancellation_stops_what_is_being_packed() {
    let events = paid_with(vec![packed("one", 1)]).when(cancel()).inspect_result().unwrap();
    let [first, OrderEvent::CancellationRequested(_)] = &events[..] else { panic!("{events:?}") };
    assert_eq!(first, &stopped("one"));
    assert!(unpaid_with(vec![]).when(cancel()).inspect_result().is_ok());
}

#[test]
fn of_what_is_partly_shipped_the_rest_is_cancelled() {
    let left = || vec![packed("one", 1), shipped("one"), packed("two", 1)];
    let requested = OrderRefundRequested {
        refund_id: RefundId::derive(&[b"cancel"]),
        reference: None,
        // Two of three bars, less two thirds of the discount; the carriage was used.
        amount: gbp(2000 - 66),
        lines: vec![RefundLine { line_id: line_id(), quantity: 2, restock: Restock::Cancel }],
        reason: "no stock".to_owned(),
        at: at(),
    };
    let rest = vec![stopped("two"), OrderEvent::RefundRequested(requested)];
    paid_with(left()).when(cancel()).then_expect_events(rest);
    // The money is on its way: it is asked again when it has come.
    unpaid_with(left()).when(cancel()).then_expect_error(OrderError::NotPaidYet);
    let all = vec![packed("one", 3), shipped("one")];
    paid_with(all).when(cancel()).then_expect_error(OrderError::AlreadyShipped);
}

#[test]
fn units_are_treated_as_what_they_are() {
    let left = || vec![packed("one", 1), shipped("one"), packed("two", 1)];
    let exceeds = |available| OrderError::QuantityExceedsBought { line_id: line_id(), available };
    for restock in [Restock::Cancel, Restock::Return, Restock::None] {
        assert!(paid_with(left()).when(refund(1, restock)).inspect_result().is_ok());
        paid_with(left()).when(refund(2, restock)).then_expect_error(exceeds(1));
    }
    let refused = paid_with(vec![packed("one", 3)]).when(refund(1, Restock::Cancel));
    refused.then_expect_error(exceeds(0));
}
