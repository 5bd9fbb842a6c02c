//! What holds after any sequence of commands.

use event_schemas::money::Currency;
use proptest::prelude::*;

use super::*;
use crate::stored::{HISTORIES, moment, reached, survives, words};

proptest! {
    #![proptest_config(ProptestConfig::with_cases(HISTORIES))]
    #[test]
    fn a_state_that_was_stored_decides_as_before(commands in commands()) {
        survives(commands, Payment::decide);
    }
}

#[test]
fn the_commands_reach_every_event() {
    let reached = reached::<Payment>(&commands(), Payment::decide);
    assert_eq!(reached.len(), 18, "{reached:?}");
}

/// A request, which everything else needs, and what may follow.
fn commands() -> impl Strategy<Value = Vec<PaymentCommand>> {
    (intent(), proptest::collection::vec(command(), 1..40)).prop_map(|(intent, mut commands)| {
        commands.insert(0, intent);
        commands
    })
}

/// Nearly always the same, so that what follows fits.
fn amount() -> impl Strategy<Value = Money> {
    let minor = prop_oneof![9 => Just(1250), 1 => 0..3000_i64];
    minor.prop_map(|amount_minor| Money { amount_minor, currency: Currency::GBP })
}

fn intent() -> impl Strategy<Value = PaymentCommand> {
    (1..3_u32, amount(), words(), moment()).prop_map(|(attempt, amount, payment_method, at)| {
        PaymentCommand::RequestIntent(Box::new(RequestIntent {
            checkout_id: CheckoutId::derive(&[b"checkout"]),
            attempt,
            amount,
            provider: "sandbox".to_owned(),
            payment_method,
            at,
        }))
    })
}

fn command() -> impl Strategy<Value = PaymentCommand> {
    use PaymentCommand as C;
    prop_oneof![1 => intent(), 18 => authorisation(), 12 => money_in(), 18 => refund(), 6 => unknown(),
        3 => (words(), moment()).prop_map(|(cause, at)| C::RequestVoid { cause, at }),
        1 => moment().prop_map(|at| C::RecordVoided { at })]
}

fn authorisation() -> impl Strategy<Value = PaymentCommand> {
    use PaymentCommand as C;
    let advice = prop_oneof![
        Just(DeclineAdvice::Retry),
        Just(DeclineAdvice::OtherMethod),
        Just(DeclineAdvice::Stop)
    ];
    prop_oneof![
        2 => (words(), moment()).prop_map(|(provider_reference, at)| {
            C::RequireAction { action: PaymentAction::ThreeDSecure, provider_reference, at }
        }),
        2 => (words(), moment()).prop_map(|(provider_reference, at)| {
            C::RecordProcessing { provider_reference, at }
        }),
        6 => (words(), moment()).prop_map(|(answer, at)| C::AnswerAction { answer, at }),
        3 => (words(), amount(), moment()).prop_map(|(provider_reference, amount, at)| {
            C::RecordAuthorised { provider_reference, amount, expires_at: Some(at), at }
        }),
        1 => (words(), advice, moment())
            .prop_map(|(code, advice, at)| C::RecordDeclined { code, advice, at }),
    ]
}

fn money_in() -> impl Strategy<Value = PaymentCommand> {
    use PaymentCommand as C;
    prop_oneof![
        3 => moment().prop_map(|at| C::RequestCapture { at }),
        3 => (words(), amount(), moment()).prop_map(|(provider_reference, amount, at)| {
            C::RecordCaptured { provider_reference, amount, at }
        }),
        1 => (words(), moment()).prop_map(|(code, at)| C::RecordCaptureFailed { code, at }),
    ]
}

fn refund() -> impl Strategy<Value = PaymentCommand> {
    use PaymentCommand as C;
    let id = || (0..4_u8).prop_map(|n| RefundId::derive(&[&[n]]));
    prop_oneof![
        2 => (id(), 1..700_i64, words(), moment()).prop_map(|(refund_id, minor, reason, at)| {
            let amount = Money { amount_minor: minor, currency: Currency::GBP };
            C::RequestRefund { refund_id, amount, reason, at }
        }),
        1 => (id(), words(), moment()).prop_map(|(refund_id, provider_reference, at)| {
            C::RecordRefundSucceeded { refund_id, provider_reference, at }
        }),
        1 => (id(), words(), moment()).prop_map(|(refund_id, provider_reference, at)| {
            C::RecordRefundPending { refund_id, provider_reference, at }
        }),
        1 => (id(), words(), moment())
            .prop_map(|(refund_id, code, at)| C::RecordRefundFailed { refund_id, code, at }),
    ]
}

fn unknown() -> impl Strategy<Value = PaymentCommand> {
    let call = prop_oneof![
        Just(ProviderCall::Authorise),
        Just(ProviderCall::Capture),
        Just(ProviderCall::Void),
        Just(ProviderCall::Refund),
    ];
    (call, moment()).prop_map(|(call, at)| PaymentCommand::RecordUnknown { call, at })
}
