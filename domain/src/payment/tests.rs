use cqrs_es::test::{AggregateTestExecutor, TestFramework};
use event_schemas::{
    money::Currency,
    payment::{
        CaptureRequested, LatePaymentFound, PaymentActionAnswered, PaymentActionRequired,
        PaymentAuthorised, PaymentCaptured, PaymentDeclined, PaymentIntegrityViolated,
        PaymentIntentRequested, PaymentProcessing, PaymentVoided, ProviderOutcomeUnknown,
        RefundRequested, RefundSucceeded, VoidRequested,
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

fn request() -> PaymentCommand {
    PaymentCommand::RequestIntent(Box::new(RequestIntent {
        checkout_id: checkout_id(),
        attempt: 1,
        amount: gbp(1250),
        provider: "sandbox".to_owned(),
        payment_method: "sbx_ok".to_owned(),
        at: at(),
    }))
}

fn requested() -> PaymentEvent {
    PaymentEvent::IntentRequested(PaymentIntentRequested {
        checkout_id: checkout_id(),
        attempt: 1,
        amount: gbp(1250),
        provider: "sandbox".to_owned(),
        payment_method: "sbx_ok".to_owned(),
        at: at(),
    })
}

fn authorise(amount: Money) -> PaymentCommand {
    let (provider_reference, expires_at) = ("ref".to_owned(), None);
    PaymentCommand::RecordAuthorised { provider_reference, amount, expires_at, at: at() }
}

fn capture_of(amount: Money) -> PaymentCommand {
    let provider_reference = "ref".to_owned();
    PaymentCommand::RecordCaptured { provider_reference, amount, at: at() }
}

fn authorised() -> PaymentEvent {
    let (provider_reference, amount) = ("ref".to_owned(), gbp(1250));
    let expires_at = None;
    PaymentEvent::Authorised(PaymentAuthorised { provider_reference, amount, expires_at, at: at() })
}

fn decline() -> PaymentCommand {
    let (code, advice) = ("card_declined".to_owned(), DeclineAdvice::OtherMethod);
    PaymentCommand::RecordDeclined { code, advice, at: at() }
}

fn declined() -> PaymentEvent {
    let (code, advice) = ("card_declined".to_owned(), DeclineAdvice::OtherMethod);
    PaymentEvent::Declined(PaymentDeclined { code, advice, at: at() })
}

fn capturing() -> PaymentEvent {
    PaymentEvent::CaptureRequested(CaptureRequested { amount: gbp(1250), at: at() })
}

fn captured() -> PaymentEvent {
    PaymentEvent::Captured(PaymentCaptured { amount: gbp(1250), at: at() })
}

fn unknown() -> PaymentEvent {
    let call = ProviderCall::Authorise;
    PaymentEvent::OutcomeUnknown(ProviderOutcomeUnknown { call, at: at() })
}

fn refund(name: &str, amount_minor: i64) -> PaymentCommand {
    let (refund_id, reason) = (RefundId::derive(&[name.as_bytes()]), "broken".to_owned());
    PaymentCommand::RequestRefund { refund_id, amount: gbp(amount_minor), reason, at: at() }
}

fn refunding(name: &str, amount_minor: i64) -> PaymentEvent {
    let (refund_id, reason) = (RefundId::derive(&[name.as_bytes()]), "broken".to_owned());
    let amount = gbp(amount_minor);
    PaymentEvent::RefundRequested(RefundRequested { refund_id, amount, reason, at: at() })
}

fn given(history: Vec<PaymentEvent>) -> AggregateTestExecutor<Payment> {
    TestFramework::with(()).given(history)
}

#[test]
fn a_payment_is_requested_authorised_and_captured() {
    given(vec![]).when(request()).then_expect_events(vec![requested()]);
    given(vec![requested()]).when(authorise(gbp(1250))).then_expect_events(vec![authorised()]);
    let capture = PaymentCommand::RequestCapture { at: at() };
    let history = vec![requested(), authorised()];
    given(history).when(capture).then_expect_events(vec![capturing()]);
    let history = vec![requested(), authorised(), capturing()];
    given(history).when(capture_of(gbp(1250))).then_expect_events(vec![captured()]);
}

#[test]
fn money_that_does_not_match_is_not_counted_and_goes_back() {
    let violated = |actual, captured| {
        PaymentEvent::IntegrityViolated(PaymentIntegrityViolated {
            provider_reference: "ref".to_owned(),
            expected: gbp(1250),
            actual,
            captured,
            at: at(),
        })
    };
    let euros = Money { amount_minor: 1250, currency: Currency::EUR };
    for actual in [gbp(1249), gbp(1251), euros] {
        let reserved = given(vec![requested()]).when(authorise(actual));
        reserved.then_expect_events(vec![violated(actual, false)]);
        let taken = given(vec![requested(), authorised(), capturing()]).when(capture_of(actual));
        taken.then_expect_events(vec![violated(actual, true)]);
        let stray = || given(vec![requested(), violated(actual, false)]);
        let from = PaymentStatus::Authorised;
        let capture = PaymentError::IllegalTransition { from, command: "be captured" };
        stray().when(PaymentCommand::RequestCapture { at: at() }).then_expect_error(capture);
        let void = PaymentCommand::RequestVoid { cause: "stray".to_owned(), at: at() };
        assert!(matches!(stray().when(void).inspect_result().as_deref(), Ok([_])));
    }
    // What was taken can go back, however much it was.
    let (refund_id, reason) = (RefundId::derive(&[b"all"]), "not ours".to_owned());
    let all = RefundRequested { refund_id, amount: euros, reason: reason.clone(), at: at() };
    let back = PaymentCommand::RequestRefund { refund_id, amount: euros, reason, at: at() };
    let history = vec![requested(), violated(euros, true)];
    given(history).when(back).then_expect_events(vec![PaymentEvent::RefundRequested(all)]);
}

#[test]
fn money_for_a_payment_that_is_over_is_found_once() {
    let late = |captured| {
        let (provider_reference, amount) = ("ref".to_owned(), gbp(1250));
        let late = LatePaymentFound { provider_reference, amount, captured, at: at() };
        PaymentEvent::LateFound(late)
    };
    let voided = || PaymentEvent::Voided(PaymentVoided { at: at() });
    for over in [declined(), voided()] {
        let history = || vec![requested(), over.clone()];
        given(history()).when(authorise(gbp(1250))).then_expect_events(vec![late(false)]);
        given(history()).when(capture_of(gbp(1250))).then_expect_events(vec![late(true)]);
        let again = given(history()).and(vec![late(false)]).when(authorise(gbp(1250)));
        again.then_expect_events(vec![]);
        // Given up once more, and found once more: it goes on until the provider has nothing.
        let again = given(history()).and(vec![late(false), voided()]).when(authorise(gbp(1250)));
        again.then_expect_events(vec![late(false)]);
    }
}

#[test]
fn a_slow_method_is_processed_and_then_said_yes_or_no() {
    let processing = || {
        let provider_reference = "ref".to_owned();
        PaymentEvent::Processing(PaymentProcessing { provider_reference, at: at() })
    };
    let record = || {
        let provider_reference = "ref".to_owned();
        PaymentCommand::RecordProcessing { provider_reference, at: at() }
    };
    given(vec![requested()]).when(record()).then_expect_events(vec![processing()]);
    let history = || vec![requested(), processing()];
    given(history()).when(record()).then_expect_events(vec![]);
    given(history()).when(decline()).then_expect_events(vec![declined()]);
    given(history()).when(authorise(gbp(1250))).then_expect_events(vec![authorised()]);
    let taken = given(history()).when(capture_of(gbp(1250)));
    taken.then_expect_events(vec![authorised(), captured()]);
    given(vec![requested(), authorised()]).when(record()).then_expect_events(vec![]);
}

#[test]
fn a_card_refused_on_the_providers_form_can_be_replaced_there() {
    let required = |action| {
        let provider_reference = "ref".to_owned();
        let required = PaymentActionRequired { action, provider_reference, at: at() };
        vec![requested(), PaymentEvent::ActionRequired(required)]
    };
    given(required(PaymentAction::Confirm)).when(decline()).then_expect_events(vec![]);
    let refused = given(required(PaymentAction::ThreeDSecure)).when(decline());
    refused.then_expect_events(vec![declined()]);
    let paid = given(required(PaymentAction::Confirm)).when(authorise(gbp(1250)));
    paid.then_expect_events(vec![authorised()]);
}

#[test]
fn what_was_taken_while_it_was_being_given_up_is_known_as_taken() {
    let voiding = PaymentEvent::VoidRequested(VoidRequested { cause: "c".to_owned(), at: at() });
    let history = vec![requested(), authorised(), voiding];
    given(history).when(capture_of(gbp(1250))).then_expect_events(vec![captured()]);
}

#[test]
fn late_and_repeated_facts_change_nothing() {
    given(vec![requested()]).when(request()).then_expect_events(vec![]);
    given(vec![requested(), declined()]).when(decline()).then_expect_events(vec![]);
    given(vec![requested(), authorised()]).when(decline()).then_expect_events(vec![]);
    given(vec![requested(), authorised()]).when(authorise(gbp(1250))).then_expect_events(vec![]);
    let capture = PaymentCommand::RequestCapture { at: at() };
    let history = vec![requested(), authorised(), capturing(), captured()];
    given(history.clone()).when(capture).then_expect_events(vec![]);
    let failed = PaymentCommand::RecordCaptureFailed { code: "no".to_owned(), at: at() };
    given(history).when(failed).then_expect_events(vec![]);
}

#[test]
fn an_unknown_outcome_is_recorded_once_and_stays_open() {
    let record = || PaymentCommand::RecordUnknown { call: ProviderCall::Authorise, at: at() };
    given(vec![requested()]).when(record()).then_expect_events(vec![unknown()]);
    given(vec![requested(), unknown()]).when(record()).then_expect_events(vec![]);
    given(vec![requested(), authorised()]).when(record()).then_expect_events(vec![]);
    let late = given(vec![requested(), unknown()]).when(authorise(gbp(1250)));
    late.then_expect_events(vec![authorised()]);
    given(vec![requested(), unknown()]).when(decline()).then_expect_events(vec![declined()]);
}

#[test]
fn a_reservation_is_not_given_up_before_it_is_known() {
    let void = || PaymentCommand::RequestVoid { cause: "expired".to_owned(), at: at() };
    let from = PaymentStatus::Requested;
    let blind = PaymentError::IllegalTransition { from, command: "be voided" };
    given(vec![requested(), unknown()]).when(void()).then_expect_error(blind);
    let cause = "expired".to_owned();
    let voiding = PaymentEvent::VoidRequested(VoidRequested { cause, at: at() });
    given(vec![requested(), authorised()]).when(void()).then_expect_events(vec![voiding]);
    given(vec![requested(), declined()]).when(void()).then_expect_events(vec![]);
    let from = PaymentStatus::Captured;
    let taken = PaymentError::IllegalTransition { from, command: "be voided" };
    let history = vec![requested(), authorised(), capturing(), captured()];
    given(history).when(void()).then_expect_error(taken);
}

#[test]
fn only_what_is_authorised_is_captured() {
    let capture = || PaymentCommand::RequestCapture { at: at() };
    for (history, from) in [
        (vec![requested()], PaymentStatus::Requested),
        (vec![requested(), declined()], PaymentStatus::Declined),
    ] {
        let error = PaymentError::IllegalTransition { from, command: "be captured" };
        given(history).when(capture()).then_expect_error(error);
    }
    given(vec![]).when(capture()).then_expect_error(PaymentError::NotFound);
}

#[test]
fn an_action_is_answered_once() {
    let action = PaymentAction::ThreeDSecure;
    let provider_reference = "ref".to_owned();
    let required = PaymentActionRequired { action, provider_reference, at: at() };
    let required = PaymentEvent::ActionRequired(required);
    let answer = |text: &str| PaymentCommand::AnswerAction { answer: text.to_owned(), at: at() };
    let answered =
        PaymentEvent::ActionAnswered(PaymentActionAnswered { answer: "pass".to_owned(), at: at() });
    let waiting = || given(vec![requested(), required.clone()]);
    waiting().when(answer("pass")).then_expect_events(vec![answered.clone()]);
    waiting().when(answer("")).then_expect_error(PaymentError::BadAnswer);
    waiting().when(answer(&"x".repeat(501))).then_expect_error(PaymentError::BadAnswer);
    let twice = waiting().and(vec![answered]).when(answer("pass"));
    twice.then_expect_error(PaymentError::ActionNotExpected);
    given(vec![requested()])
        .when(answer("pass"))
        .then_expect_error(PaymentError::ActionNotExpected);
}

#[test]
fn refunds_never_exceed_what_was_captured() {
    let history = || vec![requested(), authorised(), capturing(), captured()];
    given(history()).when(refund("one", 1250)).then_expect_events(vec![refunding("one", 1250)]);
    let over = given(history()).when(refund("one", 1251));
    over.then_expect_error(PaymentError::RefundExceedsCaptured { available: gbp(1250) });
    let second = given(history()).and(vec![refunding("one", 1000)]).when(refund("two", 251));
    second.then_expect_error(PaymentError::RefundExceedsCaptured { available: gbp(250) });
    let again = given(history()).and(vec![refunding("one", 1000)]).when(refund("one", 1000));
    again.then_expect_events(vec![]);
    let from = PaymentStatus::Authorised;
    let early = PaymentError::IllegalTransition { from, command: "be refunded" };
    given(vec![requested(), authorised()]).when(refund("one", 1)).then_expect_error(early);
}

#[test]
fn a_refund_succeeds_once() {
    let refund_id = RefundId::derive(&[b"one"]);
    let provider_reference = "ref".to_owned();
    let record = || PaymentCommand::RecordRefundSucceeded {
        refund_id,
        provider_reference: provider_reference.clone(),
        at: at(),
    };
    let succeeded = RefundSucceeded { refund_id, provider_reference: "ref".to_owned(), at: at() };
    let succeeded = PaymentEvent::RefundSucceeded(succeeded);
    let history =
        || vec![requested(), authorised(), capturing(), captured(), refunding("one", 1000)];
    given(history()).when(record()).then_expect_events(vec![succeeded.clone()]);
    given(history()).and(vec![succeeded]).when(record()).then_expect_events(vec![]);
    let code = "late".to_owned();
    let fail = PaymentCommand::RecordRefundFailed { refund_id, code, at: at() };
    assert!(given(history()).when(fail).inspect_result().is_ok());
    let unknown = given(vec![requested(), authorised()]).when(record());
    unknown.then_expect_error(PaymentError::UnknownRefund);
}
