use chrono::Duration;
use cqrs_es::Aggregate as _;
use cqrs_es::test::{AggregateTestExecutor, TestFramework};
use event_schemas::{
    checkout::{
        CheckoutActionRequired, CheckoutCompensationStarted, CheckoutEvent, CheckoutFailed,
        CheckoutHoldExtended, CheckoutPaymentAuthorised, CheckoutPaymentDeclined,
        CheckoutPaymentUnclear, CheckoutStockSecured, CheckoutStuck, PaymentStarted,
        ShippingChosen,
    },
    ids::{LineId, PersonId, ProductId, VariantId},
    money::Currency,
    order::ChargeKind,
    quote::{RateSource, ShippingOption},
    sealed::Sealed,
};

use super::*;

fn at() -> DateTime<Utc> {
    DateTime::UNIX_EPOCH
}

fn hold_until() -> DateTime<Utc> {
    at() + Duration::minutes(15)
}

fn gbp(amount_minor: i64) -> Money {
    Money { amount_minor, currency: Currency::GBP }
}

fn checkout_id() -> CheckoutId {
    CheckoutId::derive(&[b"checkout"])
}

fn new_checkout() -> BeginCheckout {
    BeginCheckout {
        checkout_id: checkout_id(),
        lines: vec![OrderLine {
            line_id: LineId::derive(&[b"line"]),
            product_id: ProductId::derive(&[b"product"]),
            variant_id: VariantId::derive(&[b"variant"]),
            sku: None,
            title: "Bar".to_owned(),
            quantity: 2,
            unit_price: gbp(1250),
        }],
        charges: vec![],
        customer_reference: None,
        country: None,
        cart_id: None,
        coupons: vec![],
        channel: Channel::Api,
        order_number: None,
        hold_until: hold_until(),
        backdated_to: None,
        payment_method: None,
        at: at(),
    }
}

fn begin(new: BeginCheckout) -> CheckoutCommand {
    CheckoutCommand::Begin(Box::new(new))
}

fn started() -> CheckoutEvent {
    Checkout::default().decide(begin(new_checkout())).unwrap().remove(0)
}

fn secured() -> CheckoutEvent {
    CheckoutEvent::StockSecured(CheckoutStockSecured { at: at() })
}

fn paying(attempt: u32) -> CheckoutEvent {
    let payment_id = payment_id(checkout_id(), attempt);
    let payment_method = "sbx_ok".to_owned();
    CheckoutEvent::PaymentStarted(PaymentStarted { attempt, payment_id, payment_method, at: at() })
}

fn declined(attempt: u32) -> CheckoutEvent {
    let (code, advice) = ("card_declined".to_owned(), DeclineAdvice::OtherMethod);
    CheckoutEvent::PaymentDeclined(CheckoutPaymentDeclined { attempt, code, advice, at: at() })
}

fn unclear() -> CheckoutEvent {
    CheckoutEvent::PaymentUnclear(CheckoutPaymentUnclear { attempt: 1, at: at() })
}

fn action() -> CheckoutEvent {
    let action = PaymentAction::ThreeDSecure;
    CheckoutEvent::ActionRequired(CheckoutActionRequired { attempt: 1, action, at: at() })
}

fn authorised() -> CheckoutEvent {
    CheckoutEvent::PaymentAuthorised(CheckoutPaymentAuthorised { attempt: 1, at: at() })
}

fn undoing() -> CheckoutEvent {
    let cause = FailureCause::Expired;
    CheckoutEvent::CompensationStarted(CheckoutCompensationStarted { cause, at: at() })
}

fn failed() -> CheckoutEvent {
    CheckoutEvent::Failed(CheckoutFailed { cause: FailureCause::Expired, at: at() })
}

fn stuck(step: &str) -> CheckoutEvent {
    let (step, detail) = (step.to_owned(), "no".to_owned());
    CheckoutEvent::Stuck(CheckoutStuck { step, detail, at: at() })
}

fn pay(now: DateTime<Utc>) -> CheckoutCommand {
    let payment_method = "sbx_ok".to_owned();
    let terms = Terms::default();
    CheckoutCommand::StartPayment {
        checkout_id: checkout_id(),
        payment_method,
        terms,
        now,
        at: at(),
    }
}

fn abandon() -> CheckoutCommand {
    CheckoutCommand::Abandon { at: at() }
}

fn given(history: Vec<CheckoutEvent>) -> AggregateTestExecutor<Checkout> {
    TestFramework::with(()).given(history)
}

#[test]
fn the_total_is_the_exact_sum() {
    let CheckoutEvent::Started(started) = started() else { panic!("begins with its beginning") };
    assert_eq!(started.total, gbp(2500));
    let mut negative = new_checkout();
    negative.lines[0].unit_price = gbp(-1);
    let error = CheckoutError::NegativeTotal { total: gbp(-2) };
    given(vec![]).when(begin(negative)).then_expect_error(error);
    let mut huge = new_checkout();
    huge.lines[0].unit_price = gbp(i64::MAX);
    given(vec![]).when(begin(huge)).then_expect_error(CheckoutError::NoTotal);
    // Fits in 64 bits, but the next ones of the day would not.
    let mut high = new_checkout();
    high.lines[0].unit_price = gbp(TOTAL_MINOR_MAX / 2 + 1);
    given(vec![]).when(begin(high.clone())).then_expect_error(CheckoutError::TotalTooHigh);
    high.charges.push(Charge {
        kind: ChargeKind::Discount,
        code: "D".to_owned(),
        title: "Discount".to_owned(),
        amount: gbp(-TOTAL_MINOR_MAX),
    });
    given(vec![]).when(begin(high)).then_expect_error(CheckoutError::TotalTooHigh);
    let mut highest = new_checkout();
    highest.lines[0].unit_price = gbp(TOTAL_MINOR_MAX / 2);
    assert!(Checkout::default().decide(begin(highest)).is_ok());
    let mut mixed = new_checkout();
    mixed.lines.push(mixed.lines[0].clone());
    mixed.lines[1].unit_price.currency = Currency::EUR;
    given(vec![]).when(begin(mixed)).then_expect_error(CheckoutError::NoTotal);
}

#[test]
fn a_checkout_has_something_to_buy_and_begins_once() {
    let empty = BeginCheckout { lines: vec![], ..new_checkout() };
    given(vec![]).when(begin(empty)).then_expect_error(CheckoutError::Empty);
    let mut none = new_checkout();
    none.lines[0].quantity = 0;
    given(vec![]).when(begin(none)).then_expect_error(CheckoutError::QuantityZero);
    let again = given(vec![started()]).when(begin(new_checkout()));
    again.then_expect_error(CheckoutError::AlreadyBegun);
    given(vec![]).when(pay(at())).then_expect_error(CheckoutError::NotFound);
}

#[test]
fn a_payment_given_at_the_beginning_waits_for_the_stock() {
    let new = BeginCheckout { payment_method: Some("sbx_ok".to_owned()), ..new_checkout() };
    given(vec![]).when(begin(new)).then_expect_events(vec![started(), paying(1)]);
    let mut checkout = Checkout::default();
    for (event, phase) in [
        (started(), Phase::Reserving),
        (paying(1), Phase::Reserving),
        (secured(), Phase::Paying { attempt: 1, waiting: Waiting::FirstAnswer }),
    ] {
        cqrs_es::Aggregate::apply(&mut checkout, event);
        assert_eq!(checkout.phase, phase);
    }
    let blank = BeginCheckout { payment_method: Some(String::new()), ..new_checkout() };
    given(vec![]).when(begin(blank)).then_expect_error(CheckoutError::BadPaymentMethod);
}

#[test]
fn a_payment_starts_while_the_stock_is_held() {
    let held = || given(vec![started(), secured()]);
    let last_moment = hold_until() - Duration::microseconds(1);
    held().when(pay(last_moment)).then_expect_events(vec![paying(1)]);
    held().when(pay(hold_until())).then_expect_error(CheckoutError::HoldEnded);
    given(vec![started()]).when(pay(at())).then_expect_error(CheckoutError::StillReserving);
}

#[test]
fn one_payment_at_a_time_and_ten_in_all() {
    let first = || vec![started(), secured(), paying(1)];
    given(first()).when(pay(at())).then_expect_error(CheckoutError::PaymentInProgress);
    let unclear = given(first()).and(vec![unclear()]);
    unclear.when(pay(at())).then_expect_error(CheckoutError::PaymentInProgress);
    let again = given(first()).and(vec![declined(1)]);
    again.when(pay(at())).then_expect_events(vec![paying(2)]);
    let tried = (1..=ATTEMPTS_MAX).flat_map(|attempt| [paying(attempt), declined(attempt)]);
    let tenth = given([started(), secured()].into_iter().chain(tried).collect());
    tenth.when(pay(at())).then_expect_error(CheckoutError::TooManyAttempts);
}

#[test]
fn a_checkout_that_is_changed_again_and_again_can_only_be_paid() {
    let set = || CheckoutCommand::SetAddress {
        destination: Box::new(Destination {
            address: Sealed { key: PersonId::derive(&[b"somebody"]), data: "c2VhbGVk".to_owned() },
            country: "GB".to_owned(),
            region: None,
            postcode_prefix: None,
        }),
        now: at(),
        at: at(),
    };
    let mut checkout = Checkout::default();
    for event in [started(), secured()] {
        checkout.apply(event);
    }
    for _ in 0..CHANGES_MAX {
        for event in checkout.decide(set()).unwrap() {
            checkout.apply(event);
        }
    }
    assert_eq!(checkout.decide(set()), Err(CheckoutError::TooManyChanges));
    assert!(checkout.decide(pay(at())).is_ok());
}

#[test]
fn a_checkout_is_given_up_unless_its_payment_is_open() {
    let held = vec![started(), secured()];
    assert!(given(vec![started()]).when(abandon()).inspect_result().is_ok());
    assert!(given(held.clone()).when(abandon()).inspect_result().is_ok());
    let asked = [held.clone(), vec![paying(1), action()]].concat();
    assert!(given(asked).when(abandon()).inspect_result().is_ok());
    for open in [vec![paying(1)], vec![paying(1), unclear()], vec![paying(1), authorised()]] {
        let history = [held.clone(), open].concat();
        given(history).when(abandon()).then_expect_error(CheckoutError::PaymentInProgress);
    }
    let history = [held, vec![undoing(), failed()]].concat();
    given(history).when(abandon()).then_expect_error(CheckoutError::AlreadyFailed);
}

#[test]
fn what_comes_late_or_twice_changes_nothing() {
    let paying_twice = || vec![started(), secured(), paying(1), declined(1), paying(2)];
    let late = CheckoutCommand::RecordAuthorised { attempt: 1, at: at() };
    given(paying_twice()).when(late).then_expect_events(vec![]);
    let secure = CheckoutCommand::SecureStock { at: at() };
    given(paying_twice()).when(secure).then_expect_events(vec![]);
    let fail = || CheckoutCommand::Fail { at: at() };
    given(paying_twice()).when(fail()).then_expect_events(vec![]);
    let ended = vec![started(), undoing(), failed()];
    given(ended.clone()).when(fail()).then_expect_events(vec![]);
    let cause = FailureCause::Abandoned;
    let undo = CheckoutCommand::StartCompensation { cause, at: at() };
    given(ended).when(undo).then_expect_events(vec![]);
}

#[test]
fn a_hold_is_extended_once_and_only_for_a_payment() {
    let until = hold_until() + Duration::minutes(15);
    let extend = || CheckoutCommand::ExtendHold { until, at: at() };
    let extended = CheckoutEvent::HoldExtended(CheckoutHoldExtended { until, at: at() });
    let paying = || vec![started(), secured(), paying(1), unclear()];
    given(paying()).when(extend()).then_expect_events(vec![extended.clone()]);
    given(paying()).and(vec![extended]).when(extend()).then_expect_events(vec![]);
    given(vec![started(), secured()]).when(extend()).then_expect_events(vec![]);
}

#[test]
fn being_stuck_shows_until_the_next_step() {
    let mark = |step: &str| CheckoutCommand::MarkStuck {
        step: step.to_owned(),
        detail: "no".to_owned(),
        at: at(),
    };
    given(vec![started()]).when(mark("reserve")).then_expect_events(vec![stuck("reserve")]);
    let already = given(vec![started(), stuck("reserve")]).when(mark("reserve"));
    already.then_expect_events(vec![]);
    let ended = given(vec![started(), undoing(), failed()]).when(mark("fail"));
    ended.then_expect_events(vec![]);
    let mut checkout = Checkout::default();
    for (event, rests) in [(started(), false), (stuck("reserve"), true), (secured(), true)] {
        cqrs_es::Aggregate::apply(&mut checkout, event);
        assert_eq!(checkout.rests(), rests);
    }
    assert_eq!(checkout.stuck, None);
}

#[test]
fn a_checkout_rests_when_it_waits_for_somebody_or_has_ended() {
    let rests = |events: Vec<CheckoutEvent>| {
        let mut checkout = Checkout::default();
        for event in events {
            cqrs_es::Aggregate::apply(&mut checkout, event);
        }
        checkout.rests()
    };
    assert!(!rests(vec![started()]));
    assert!(rests(vec![started(), secured()]));
    assert!(!rests(vec![started(), secured(), paying(1)]));
    assert!(rests(vec![started(), secured(), paying(1), action()]));
    assert!(rests(vec![started(), secured(), paying(1), unclear()]));
    assert!(rests(vec![started(), secured(), paying(1), declined(1)]));
    assert!(!rests(vec![started(), secured(), paying(1), authorised()]));
    assert!(!rests(vec![started(), undoing()]));
    assert!(rests(vec![started(), undoing(), failed()]));
}

fn set_address(now: DateTime<Utc>) -> CheckoutCommand {
    let address = Sealed { key: PersonId::derive(&[b"person"]), data: "c2VhbGVk".to_owned() };
    let (country, region, postcode_prefix) = ("US".to_owned(), Some("CA".to_owned()), None);
    let destination = Box::new(Destination { address, country, region, postcode_prefix });
    CheckoutCommand::SetAddress { destination, now, at: at() }
}

#[test]
fn an_address_is_set_while_it_is_the_shoppers_turn() {
    let set = Checkout::default()
        .after(&[started(), secured()])
        .decide(set_address(at()))
        .expect("it is the shopper's turn");
    let checkout = Checkout::default().after(&[started(), secured(), set[0].clone()]);
    assert_eq!(checkout.country(), Some("US"));
    let refused = |events: &[CheckoutEvent], now| {
        Checkout::default().after(events).decide(set_address(now)).unwrap_err()
    };
    assert_eq!(refused(&[], at()), CheckoutError::NotFound);
    assert_eq!(refused(&[started()], at()), CheckoutError::StillReserving);
    assert_eq!(refused(&[started(), secured()], hold_until()), CheckoutError::HoldEnded);
    let paying = [started(), secured(), paying(1)];
    assert_eq!(refused(&paying, at()), CheckoutError::PaymentInProgress);
}

#[test]
fn another_address_takes_back_carriage_and_quote() {
    let set = Checkout::default().after(&[started(), secured()]).decide(set_address(at()));
    let option = ShippingOption {
        code: "standard".to_owned(),
        title: "Standard".to_owned(),
        amount: gbp(395),
        source: RateSource::Table,
        expires_at: hold_until(),
    };
    let chosen = CheckoutEvent::ShippingChosen(ShippingChosen { option, at: at() });
    let address = set.unwrap().remove(0);
    let events = [started(), secured(), address.clone(), chosen];
    let checkout = Checkout::default().after(&events);
    assert!(checkout.shipping.is_some());
    assert_eq!(checkout.after(&[address]).shipping, None);
}

impl Checkout {
    fn after(mut self, events: &[CheckoutEvent]) -> Checkout {
        events.iter().cloned().for_each(|event| self.apply(event));
        self
    }
}
