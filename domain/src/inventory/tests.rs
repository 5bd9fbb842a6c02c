use chrono::Duration;
use cqrs_es::test::{AggregateTestExecutor, TestFramework};
use event_schemas::money::Currency;

use super::*;

mod shipping;

#[test]
fn units_arrive() {
    given(vec![]).when(receive("main", 10)).then_expect_events(vec![received("main", 10)]);
    assert_eq!(replay(vec![received("main", 10), received("main", 5)]).available(minute(0)), 15);
}

#[test]
fn a_receipt_has_bounds() {
    let refused = |location, quantity, error| {
        given(vec![]).when(receive(location, quantity)).then_expect_error(error);
    };
    refused("main", 0, StockItemError::QuantityOutOfRange);
    refused("main", QUANTITY_MAX + 1, StockItemError::QuantityOutOfRange);
    assert!(given(vec![]).when(receive("main", QUANTITY_MAX)).inspect_result().is_ok());
    for location in ["", "Main", "a b", "é", "a\0", &"x".repeat(LOCATION_CHARS_MAX + 1)] {
        refused(location, 1, StockItemError::LocationInvalid);
    }
    let receipt = |unit_cost, reference: Option<&str>| StockItemCommand::Receive {
        receipt: Receipt {
            unit_cost,
            reference: reference.map(str::to_owned),
            ..receipt("main", 1)
        },
        at: minute(0),
    };
    let cost = Money { amount_minor: -1, currency: Currency::GBP };
    given(vec![])
        .when(receipt(Some(cost), None))
        .then_expect_error(StockItemError::UnitCostOutOfRange);
    let at = "/reference";
    given(vec![])
        .when(receipt(None, Some("DN\0")))
        .then_expect_error(StockItemError::TextInvalid { at });
}

#[test]
fn a_place_holds_a_billion_units_at_most() {
    let full = || vec![adjusted("main", 999_999_999)];
    assert!(given(full()).when(receive("main", 1)).inspect_result().is_ok());
    let error = StockItemError::OnHandTooHigh { at: "/quantity" };
    given(full()).when(receive("main", 2)).then_expect_error(error);
    let error = StockItemError::OnHandTooHigh { at: "/delta" };
    given(full()).when(adjust("main", 2)).then_expect_error(error);
}

#[test]
fn a_variant_is_kept_at_200_places_at_most() {
    let history = || (0..LOCATIONS_MAX).map(|n| received(&format!("shelf-{n}"), 1)).collect();
    given(history())
        .when(receive("one-more", 1))
        .then_expect_error(StockItemError::TooManyLocations);
    assert!(given(history()).when(receive("shelf-7", 1)).inspect_result().is_ok());
}

#[test]
fn what_is_required_is_there_or_refused_and_nothing_happens() {
    let require = |quantity| StockItemCommand::Require { quantity, at: minute(0) };
    given(vec![received("main", 2)]).when(require(2)).then_expect_events(vec![]);
    given(vec![received("main", 2)])
        .when(require(3))
        .then_expect_error(StockItemError::InsufficientStock { requested: 3, available: 2 });
    given(vec![]).when(require(3)).then_expect_events(vec![]);
    given(vec![]).when(require(0)).then_expect_error(StockItemError::QuantityOutOfRange);
}

#[test]
fn a_count_is_corrected_with_a_reason() {
    given(vec![received("main", 10)])
        .when(adjust("main", -3))
        .then_expect_events(vec![adjusted("main", -3)]);
    let because = |reason: String| StockItemCommand::Adjust {
        correction: Correction { reason, ..correction("main", 1) },
        at: minute(0),
    };
    let at = "/reason";
    let refused = |reason: String, error| {
        given(vec![]).when(because(reason)).then_expect_error(error);
    };
    refused(" ".into(), StockItemError::TextMissing { at });
    refused("a\0b".into(), StockItemError::TextInvalid { at });
    let max = REASON_CHARS_MAX;
    refused("é".repeat(max + 1), StockItemError::TextTooLong { at, max });
    assert!(given(vec![]).when(because("é".repeat(max))).inspect_result().is_ok());
}

#[test]
fn a_correction_changes_something() {
    for delta in [0, i64::MIN, i64::MAX, 1_000_000_001] {
        given(vec![])
            .when(adjust("main", delta))
            .then_expect_error(StockItemError::DeltaOutOfRange);
    }
}

#[test]
fn a_correction_takes_no_unit_that_is_promised() {
    let history =
        || vec![received("main", 10), reserved(1, &[("main", 2)]), allocated(2, &[("main", 3)])];
    assert!(given(history()).when(adjust("main", -5)).inspect_result().is_ok());
    let error = StockItemError::BelowCommitted { on_hand: 10, committed: 5, delta: -6 };
    given(history()).when(adjust("main", -6)).then_expect_error(error);
    let error = StockItemError::BelowCommitted { on_hand: 0, committed: 0, delta: -1 };
    given(history()).when(adjust("back-room", -1)).then_expect_error(error);
}

#[test]
fn a_correction_may_take_units_whose_hold_is_over() {
    let history = || vec![received("main", 2), reserved(1, &[("main", 2)])];
    let command = |at| StockItemCommand::Adjust { correction: correction("main", -1), at };
    let error = StockItemError::BelowCommitted { on_hand: 2, committed: 2, delta: -1 };
    given(history()).when(command(minute(14))).then_expect_error(error);
    let adjusted = StockAdjusted { at: minute(15), ..adjustment("main", -1) };
    given(history()).when(command(minute(15))).then_expect_events(vec![
        released(1, &[("main", 2)], ReleaseCause::Expired, minute(15)),
        StockItemEvent::Adjusted(adjusted),
    ]);
}

#[test]
fn a_correction_can_be_bound_to_what_the_caller_saw() {
    let command = |expected| StockItemCommand::Adjust {
        correction: Correction { expected_on_hand: Some(expected), ..correction("main", 1) },
        at: minute(0),
    };
    let history = || vec![received("main", 10)];
    assert!(given(history()).when(command(10)).inspect_result().is_ok());
    let error = StockItemError::CompareFailed { expected: 9, actual: 10 };
    given(history()).when(command(9)).then_expect_error(error);
}

#[test]
fn a_hold_takes_one_place_if_one_can_serve_it_all() {
    let history = || vec![received("attic", 5), received("main", 3), received("shop", 9)];
    let parts = |quantity| match given(history()).when(reserve(1, quantity)).inspect_result() {
        Ok(events) => match events.as_slice() {
            [StockItemEvent::Reserved(reserved)] => reserved.parts.clone(),
            other => panic!("{other:?}"),
        },
        Err(error) => panic!("{error}"),
    };
    assert_eq!(parts(3), places(&[("main", 3)]));
    assert_eq!(parts(4), places(&[("attic", 4)]));
    assert_eq!(parts(6), places(&[("shop", 6)]));
    assert_eq!(parts(10), places(&[("shop", 9), ("attic", 1)]));
    assert_eq!(parts(16), places(&[("shop", 9), ("attic", 5), ("main", 2)]));
}

#[test]
fn nobody_holds_more_than_there_is() {
    let error = |available| StockItemError::InsufficientStock { requested: 2, available };
    given(vec![]).when(reserve(1, 2)).then_expect_error(error(0));
    let history = || vec![received("main", 3), reserved(1, &[("main", 2)])];
    given(history()).when(reserve(2, 2)).then_expect_error(error(1));
    given(history()).when(reserve(2, 1)).then_expect_events(vec![reserved(2, &[("main", 1)])]);
    let history = vec![received("main", 3), allocated(1, &[("main", 2)])];
    given(history).when(reserve(2, 2)).then_expect_error(error(1));
}

#[test]
fn a_hold_asked_for_twice_is_held_once() {
    let history = || vec![received("main", 3), reserved(1, &[("main", 2)])];
    given(history()).when(reserve(1, 2)).then_expect_events(vec![]);
    let error = StockItemError::HoldDiffers { held: 2, requested: 3 };
    given(history()).when(reserve(1, 3)).then_expect_error(error);
}

#[test]
fn a_hold_counts_until_its_end_and_not_at_it() {
    let history = || vec![received("main", 2), reserved(1, &[("main", 2)])];
    let reserve = |at| StockItemCommand::Reserve {
        reservation_id: checkout(2),
        quantity: 2,
        until: at + Duration::minutes(15),
        at,
    };
    let just_before = minute(15) - Duration::nanoseconds(1);
    let error = StockItemError::InsufficientStock { requested: 2, available: 0 };
    given(history()).when(reserve(just_before)).then_expect_error(error);
    assert_eq!(replay(history()).available(just_before), 0);
    assert_eq!(replay(history()).available(minute(15)), 2);
    let mine = StockReserved { until: minute(30), at: minute(15), ..hold(2, &[("main", 2)]) };
    given(history()).when(reserve(minute(15))).then_expect_events(vec![
        released(1, &[("main", 2)], ReleaseCause::Expired, minute(15)),
        StockItemEvent::Reserved(mine),
    ]);
}

#[test]
fn a_checkout_whose_hold_is_over_can_hold_again() {
    let history = vec![received("main", 2), reserved(1, &[("main", 2)])];
    let command = StockItemCommand::Reserve {
        reservation_id: checkout(1),
        quantity: 1,
        until: minute(30),
        at: minute(15),
    };
    let again = StockReserved { until: minute(30), at: minute(15), ..hold(1, &[("main", 1)]) };
    given(history).when(command).then_expect_events(vec![
        released(1, &[("main", 2)], ReleaseCause::Expired, minute(15)),
        StockItemEvent::Reserved(again),
    ]);
}

#[test]
fn a_hold_ends_later_than_it_begins_and_within_a_week() {
    let command = |until| StockItemCommand::Reserve {
        reservation_id: checkout(1),
        quantity: 1,
        until,
        at: minute(0),
    };
    for until in [minute(0), minute(-1), minute(0) + HOLD_MAX + Duration::nanoseconds(1)] {
        given(vec![received("main", 1)])
            .when(command(until))
            .then_expect_error(StockItemError::HoldEndInvalid);
    }
    let week = given(vec![received("main", 1)]).when(command(minute(0) + HOLD_MAX));
    assert!(week.inspect_result().is_ok());
}

#[test]
fn a_hold_is_extended_once() {
    let history = || vec![received("main", 1), reserved(1, &[("main", 1)])];
    let extend =
        |until, at| StockItemCommand::ExtendHold { reservation_id: checkout(1), until, at };
    let extended = |until, at| {
        let extended = StockReservationExtended { reservation_id: checkout(1), until, at };
        StockItemEvent::ReservationExtended(extended)
    };
    let done = extended(minute(30), minute(14));
    given(history()).when(extend(minute(30), minute(14))).then_expect_events(vec![done.clone()]);
    let after = || [history(), vec![done.clone()]].concat();
    given(after()).when(extend(minute(30), minute(20))).then_expect_events(vec![]);
    given(after())
        .when(extend(minute(45), minute(20)))
        .then_expect_error(StockItemError::HoldAlreadyExtended);
    assert_eq!(replay(after()).available(minute(29)), 0);
    given(history())
        .when(extend(minute(15), minute(14)))
        .then_expect_error(StockItemError::HoldEndInvalid);
    given(history())
        .when(extend(minute(30), minute(15)))
        .then_expect_error(StockItemError::HoldNotFound);
    given(vec![])
        .when(extend(minute(30), minute(1)))
        .then_expect_error(StockItemError::HoldNotFound);
}

#[test]
fn a_hold_that_is_given_up_is_free_at_once_and_forgotten() {
    let history = || vec![received("main", 2), reserved(1, &[("main", 2)])];
    let freed = released(1, &[("main", 2)], ReleaseCause::Cancelled, minute(1));
    let release = || release(1, ReleaseCause::Cancelled, minute(1));
    given(history()).when(release()).then_expect_events(vec![freed.clone()]);
    given([history(), vec![freed]].concat()).when(release()).then_expect_events(vec![]);
}

#[test]
fn a_timer_releases_only_what_is_over() {
    let history = || vec![received("main", 2), reserved(1, &[("main", 2)])];
    let expire = |at| release(1, ReleaseCause::Expired, at);
    given(history()).when(expire(minute(14))).then_expect_events(vec![]);
    let freed = released(1, &[("main", 2)], ReleaseCause::Expired, minute(15));
    given(history()).when(expire(minute(15))).then_expect_events(vec![freed]);
}

#[test]
fn an_order_gets_what_its_checkout_held() {
    let history =
        || vec![received("main", 1), received("shop", 1), reserved(1, &[("shop", 1), ("main", 1)])];
    let event = allocated(1, &[("shop", 1), ("main", 1)]);
    given(history()).when(allocate(1, 2, minute(1))).then_expect_events(vec![event.clone()]);
    let after = || [history(), vec![event.clone()]].concat();
    given(after()).when(allocate(1, 2, minute(20))).then_expect_events(vec![]);
    given(after()).when(release(1, ReleaseCause::Cancelled, minute(2))).then_expect_events(vec![]);
    let item = replay(after());
    let reserved: u64 = item.levels(minute(1)).iter().map(|level| level.reserved).sum();
    assert_eq!((reserved, item.allocated_to(order(1)), item.available(minute(1))), (0, 2, 0));
    let error = StockItemError::HoldDiffers { held: 2, requested: 1 };
    given(history()).when(allocate(1, 1, minute(1))).then_expect_error(error);
}

#[test]
fn late_money_gets_stock_only_if_some_is_free() {
    let over = || vec![received("main", 2), reserved(1, &[("main", 2)])];
    let late = StockAllocated { at: minute(15), ..allocation(1, &[("main", 2)]) };
    let again = |at| {
        let held = StockReserved { until: at, at, ..hold(1, &[("main", 2)]) };
        StockItemEvent::Reserved(held)
    };
    given(over()).when(allocate(1, 2, minute(15))).then_expect_events(vec![
        released(1, &[("main", 2)], ReleaseCause::Expired, minute(15)),
        again(minute(15)),
        StockItemEvent::Allocated(late.clone()),
    ]);
    let later = StockAllocated { at: minute(20), ..late };
    let swept = released(1, &[("main", 2)], ReleaseCause::Expired, minute(15));
    given([over(), vec![swept.clone()]].concat())
        .when(allocate(1, 2, minute(20)))
        .then_expect_events(vec![again(minute(20)), StockItemEvent::Allocated(later)]);
    let faster = StockReserved { until: minute(31), at: minute(16), ..hold(2, &[("main", 1)]) };
    let error = StockItemError::InsufficientStock { requested: 2, available: 1 };
    given([over(), vec![swept, StockItemEvent::Reserved(faster)]].concat())
        .when(allocate(1, 2, minute(20)))
        .then_expect_error(error);
}

#[test]
fn an_order_gives_units_back_once_per_reference() {
    let history = || vec![received("main", 5), allocated(1, &[("main", 5)])];
    let back = |reference: &str, quantity| StockItemCommand::Deallocate {
        order_id: order(1),
        reference: reference.to_owned(),
        quantity,
        at: minute(1),
    };
    let two = deallocated("refund-1", &[("main", 2)]);
    given(history()).when(back("refund-1", Some(2))).then_expect_events(vec![two.clone()]);
    let after = || [history(), vec![two.clone()]].concat();
    given(after()).when(back("refund-1", Some(2))).then_expect_events(vec![]);
    let rest = deallocated("cancellation", &[("main", 3)]);
    given(after()).when(back("cancellation", None)).then_expect_events(vec![rest.clone()]);
    let error = StockItemError::NotAllocated { requested: 4, allocated: 3 };
    given(after()).when(back("refund-2", Some(4))).then_expect_error(error);
    let all = || [after(), vec![rest.clone()]].concat();
    assert_eq!(replay(all()).available(minute(1)), 5);
    given(all()).when(back("again", None)).then_expect_events(vec![]);
    given(vec![]).when(back("nothing", None)).then_expect_events(vec![]);
}

#[test]
fn units_come_back_from_several_places() {
    let history =
        vec![received("main", 2), received("shop", 2), allocated(1, &[("main", 2), ("shop", 2)])];
    let command = StockItemCommand::Deallocate {
        order_id: order(1),
        reference: "refund-1".into(),
        quantity: Some(3),
        at: minute(1),
    };
    let event = deallocated("refund-1", &[("main", 2), ("shop", 1)]);
    given(history).when(command).then_expect_events(vec![event]);
}

#[test]
fn a_decision_stays_within_500_events_after_an_outage() {
    let holds = (0..1000).map(|n| reserved(n, &[("main", 1)]));
    let history: Vec<_> = std::iter::once(received("main", 1000)).chain(holds).collect();
    let command = |n, quantity| StockItemCommand::Reserve {
        reservation_id: checkout(n),
        quantity,
        until: minute(75),
        at: minute(60),
    };
    // Even who would be the last to be swept gets a new hold in place of the old one.
    let last = (0..1000).max_by_key(|&n| checkout(n)).unwrap();
    for n in [0, last, 5000] {
        let mut item = replay(history.clone());
        let events = item.decide(command(n, 400)).unwrap();
        assert_eq!(events.len(), 401);
        for event in events {
            item.apply(event);
        }
        let reserved = |at| item.levels(at)[0].reserved;
        assert_eq!((reserved(minute(0)), reserved(minute(75))), (1000, 0));
    }
}

fn given(history: Vec<StockItemEvent>) -> AggregateTestExecutor<StockItem> {
    TestFramework::with(()).given(history)
}

fn replay(history: Vec<StockItemEvent>) -> StockItem {
    let mut item = StockItem::default();
    for event in history {
        item.apply(event);
    }
    item
}

fn minute(n: i64) -> DateTime<Utc> {
    DateTime::UNIX_EPOCH + Duration::minutes(n)
}

fn checkout(n: u64) -> CheckoutId {
    CheckoutId::derive(&[&n.to_be_bytes()])
}

fn order(n: u64) -> OrderId {
    OrderId::derive(&[&n.to_be_bytes()])
}

fn places(parts: &[(&str, u32)]) -> Vec<LocationQuantity> {
    let part = |&(location, quantity): &(&str, u32)| LocationQuantity {
        location: location.to_owned(),
        quantity,
    };
    parts.iter().map(part).collect()
}

fn receipt(location: &str, quantity: u32) -> Receipt {
    let source = StockSource::Purchase;
    Receipt { location: location.into(), quantity, source, unit_cost: None, reference: None }
}

fn receive(location: &str, quantity: u32) -> StockItemCommand {
    StockItemCommand::Receive { receipt: receipt(location, quantity), at: minute(0) }
}

fn received(location: &str, quantity: u32) -> StockItemEvent {
    let Receipt { location, quantity, source, unit_cost, reference } = receipt(location, quantity);
    let at = minute(0);
    StockItemEvent::Received(StockReceived { location, quantity, source, unit_cost, reference, at })
}

fn correction(location: &str, delta: i64) -> Correction {
    let StockAdjusted { location, delta, reason, reference, .. } = adjustment(location, delta);
    Correction { location, delta, reason, reference, expected_on_hand: None }
}

fn adjust(location: &str, delta: i64) -> StockItemCommand {
    StockItemCommand::Adjust { correction: correction(location, delta), at: minute(0) }
}

fn adjustment(location: &str, delta: i64) -> StockAdjusted {
    let (location, reason) = (location.to_owned(), "counted".to_owned());
    StockAdjusted { location, delta, reason, reference: None, at: minute(0) }
}

fn adjusted(location: &str, delta: i64) -> StockItemEvent {
    StockItemEvent::Adjusted(adjustment(location, delta))
}

fn reserve(n: u64, quantity: u32) -> StockItemCommand {
    let (reservation_id, until) = (checkout(n), minute(15));
    StockItemCommand::Reserve { reservation_id, quantity, until, at: minute(0) }
}

fn hold(n: u64, parts: &[(&str, u32)]) -> StockReserved {
    let (reservation_id, parts) = (checkout(n), places(parts));
    let reason = if parts.len() == 1 { PlaceChoice::FirstPlace } else { PlaceChoice::FewestPlaces };
    StockReserved { reservation_id, parts, reason, until: minute(15), at: minute(0) }
}

fn reserved(n: u64, parts: &[(&str, u32)]) -> StockItemEvent {
    StockItemEvent::Reserved(hold(n, parts))
}

fn release(n: u64, cause: ReleaseCause, at: DateTime<Utc>) -> StockItemCommand {
    StockItemCommand::Release { reservation_id: checkout(n), cause, at }
}

fn released(
    n: u64,
    parts: &[(&str, u32)],
    cause: ReleaseCause,
    at: DateTime<Utc>,
) -> StockItemEvent {
    let (reservation_id, parts) = (checkout(n), places(parts));
    let released = StockReservationReleased { reservation_id, parts, cause, at };
    StockItemEvent::ReservationReleased(released)
}

fn allocate(n: u64, quantity: u32, at: DateTime<Utc>) -> StockItemCommand {
    let (reservation_id, order_id) = (checkout(n), order(n));
    StockItemCommand::Allocate { reservation_id, order_id, quantity, at }
}

fn allocation(n: u64, parts: &[(&str, u32)]) -> StockAllocated {
    let (reservation_id, order_id) = (checkout(n), order(n));
    StockAllocated { reservation_id, order_id, parts: places(parts), at: minute(1) }
}

fn allocated(n: u64, parts: &[(&str, u32)]) -> StockItemEvent {
    StockItemEvent::Allocated(allocation(n, parts))
}

fn deallocated(reference: &str, parts: &[(&str, u32)]) -> StockItemEvent {
    let (reference, parts) = (reference.to_owned(), places(parts));
    let deallocated = StockDeallocated { order_id: order(1), reference, parts, at: minute(1) };
    StockItemEvent::Deallocated(deallocated)
}
