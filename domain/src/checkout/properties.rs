//! What holds after any sequence of commands.

use event_schemas::{
    checkout::Shortage,
    ids::{LineId, PersonId, ProductId, VariantId},
    money::Currency,
    order::ChargeKind,
    sealed::Sealed,
};
use proptest::prelude::*;

use super::*;
use crate::stored::{HISTORIES, moment, reached, survives, words};

proptest! {
    #![proptest_config(ProptestConfig::with_cases(HISTORIES))]
    #[test]
    fn a_state_that_was_stored_decides_as_before(commands in commands()) {
        survives(commands, Checkout::decide);
    }
}

#[test]
fn the_commands_reach_every_event() {
    let reached = reached::<Checkout>(&commands(), Checkout::decide);
    assert_eq!(reached.len(), 13, "{reached:?}");
}

/// A beginning, which everything else needs, and what may follow.
fn commands() -> impl Strategy<Value = Vec<CheckoutCommand>> {
    (begin(), proptest::collection::vec(command(), 1..24)).prop_map(|(begin, mut commands)| {
        commands.insert(0, begin);
        commands
    })
}

fn id() -> CheckoutId {
    CheckoutId::derive(&[b"checkout"])
}

fn gbp(amount_minor: i64) -> Money {
    Money { amount_minor, currency: Currency::GBP }
}

fn maybe(text: impl Strategy<Value = String>) -> impl Strategy<Value = Option<String>> {
    proptest::option::of(text)
}

fn begin() -> impl Strategy<Value = CheckoutCommand> {
    let line = (words(), maybe(words()), 1..5_u32, 0..5000_i64).prop_map(
        |(title, sku, quantity, minor)| OrderLine {
            line_id: LineId::derive(&[b"line"]),
            product_id: ProductId::derive(&[b"product"]),
            variant_id: VariantId::derive(&[b"variant"]),
            sku,
            title,
            quantity,
            unit_price: gbp(minor),
        },
    );
    let charge = (words(), 0..500_i64).prop_map(|(title, minor)| Charge {
        kind: ChargeKind::Postage,
        code: "POST".to_owned(),
        title,
        amount: gbp(minor),
    });
    let channel = prop_oneof![Just(Channel::Api), Just(Channel::Import)];
    let goods =
        (proptest::collection::vec(line, 1..4), proptest::collection::vec(charge, 0..3), channel);
    let texts = (maybe(words()), maybe(words()), maybe(words()), maybe(words()));
    let times = (moment(), proptest::option::of(moment()), moment());
    (goods, texts, times).prop_map(|((lines, charges, channel), texts, times)| {
        let (customer_reference, country, order_number, payment_method) = texts;
        let (hold_until, backdated_to, at) = times;
        CheckoutCommand::Begin(Box::new(BeginCheckout {
            checkout_id: id(),
            lines,
            charges,
            customer_reference,
            country,
            cart_id: None,
            coupons: vec![],
            channel,
            order_number,
            hold_until,
            backdated_to,
            payment_method,
            at,
        }))
    })
}

fn command() -> impl Strategy<Value = CheckoutCommand> {
    use CheckoutCommand as C;
    prop_oneof![
        1 => begin(),
        16 => payment(),
        4 => (words(), moment(), moment()).prop_map(|(payment_method, now, at)| {
            let terms = Terms::default();
            C::StartPayment { checkout_id: id(), payment_method, terms, now, at }
        }),
        2 => (destination(), moment(), moment())
            .prop_map(|(to, now, at)| C::SetAddress { destination: Box::new(to), now, at }),
        1 => moment().prop_map(|at| C::Abandon { at }),
        3 => moment().prop_map(|at| C::SecureStock { at }),
        2 => (moment(), moment()).prop_map(|(until, at)| C::ExtendHold { until, at }),
        3 => (words(), moment()).prop_map(|(order_number, at)| {
            C::Complete { order_id: OrderId::derive(&[b"order"]), order_number, at }
        }),
        1 => (cause(), moment()).prop_map(|(cause, at)| C::StartCompensation { cause, at }),
        2 => moment().prop_map(|at| C::Fail { at }),
        2 => (words(), words(), moment())
            .prop_map(|(step, detail, at)| C::MarkStuck { step, detail, at }),
    ]
}

fn destination() -> impl Strategy<Value = Destination> {
    (words(), words(), maybe(words()), maybe(words())).prop_map(
        |(data, country, region, postcode_prefix)| {
            let address = Sealed { key: PersonId::derive(&[b"person"]), data };
            Destination { address, country, region, postcode_prefix }
        },
    )
}

fn payment() -> impl Strategy<Value = CheckoutCommand> {
    use CheckoutCommand as C;
    let advice = prop_oneof![
        Just(DeclineAdvice::Retry),
        Just(DeclineAdvice::OtherMethod),
        Just(DeclineAdvice::Stop)
    ];
    let attempt = || prop_oneof![3 => Just(1), 1 => 2..4_u32];
    prop_oneof![
        1 => (attempt(), moment()).prop_map(|(attempt, at)| {
            C::RequireAction { attempt, action: PaymentAction::ThreeDSecure, at }
        }),
        2 => (attempt(), moment()).prop_map(|(attempt, at)| C::RecordUnclear { attempt, at }),
        3 => (attempt(), words(), advice, moment()).prop_map(|(attempt, code, advice, at)| {
            C::RecordDeclined { attempt, code, advice, at }
        }),
        2 => (attempt(), moment()).prop_map(|(attempt, at)| C::RecordAuthorised { attempt, at }),
    ]
}

fn cause() -> impl Strategy<Value = FailureCause> {
    let shortage = (0..9_u32, 0..9_u32).prop_map(|(requested, available)| Shortage {
        variant_id: VariantId::derive(&[b"variant"]),
        requested,
        available,
    });
    prop_oneof![
        proptest::collection::vec(shortage, 0..3)
            .prop_map(|lines| FailureCause::InsufficientStock { lines }),
        Just(FailureCause::Expired),
        Just(FailureCause::Abandoned),
        words().prop_map(|detail| FailureCause::OrderRefused { detail }),
        words().prop_map(|provider_code| FailureCause::CaptureFailed { provider_code }),
    ]
}
