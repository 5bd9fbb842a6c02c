//! What holds after any sequence of commands.

use event_schemas::{
    ids::{ProductId, VariantId},
    money::Currency,
    order::{AdjustmentLine, ChargeKind},
};
use proptest::prelude::*;

use super::*;
use crate::stored::{HISTORIES, moment, reached, survives, words};

proptest! {
    #![proptest_config(ProptestConfig::with_cases(HISTORIES))]
    #[test]
    fn a_state_that_was_stored_decides_as_before(commands in commands()) {
        survives(commands, Order::decide);
    }

    #[test]
    fn an_adjustment_that_was_stored_decides_as_before(
        commands in proptest::collection::vec(adjustment(), 1..4)
    ) {
        survives(commands, Adjustment::decide);
    }
}

#[test]
fn the_commands_reach_every_event() {
    let types = reached::<Order>(&commands(), Order::decide);
    assert_eq!(types.len(), 8, "{types:?}");
    let commands = proptest::collection::vec(adjustment(), 1..4);
    let types = reached::<Adjustment>(&commands, Adjustment::decide);
    assert_eq!(types.len(), 1, "{types:?}");
}

/// An order, which everything else needs, and what may follow.
fn commands() -> impl Strategy<Value = Vec<OrderCommand>> {
    (place(), proptest::collection::vec(command(), 1..24)).prop_map(|(place, mut commands)| {
        commands.insert(0, place);
        commands
    })
}

fn gbp(amount_minor: i64) -> Money {
    Money { amount_minor, currency: Currency::GBP }
}

fn line_id(number: u8) -> LineId {
    LineId::derive(&[&[number]])
}

/// Two lines of three at 10.00, and 1.00 off.
fn total() -> Money {
    gbp(5900)
}

fn place() -> impl Strategy<Value = OrderCommand> {
    let channel = prop_oneof![Just(Channel::Api), Just(Channel::Import)];
    let texts = (words(), proptest::option::of(words()), proptest::option::of(words()));
    (channel, texts, moment()).prop_map(|(channel, texts, at)| {
        let (number, customer_reference, country) = texts;
        let line = |n: u8| OrderLine {
            line_id: line_id(n),
            product_id: ProductId::derive(&[&[n]]),
            variant_id: VariantId::derive(&[b"variant"]),
            sku: country.clone(),
            title: number.clone(),
            quantity: 3,
            unit_price: gbp(1000),
        };
        let discount = Charge {
            kind: ChargeKind::Discount,
            code: "D".to_owned(),
            title: number.clone(),
            amount: gbp(-100),
        };
        OrderCommand::Place(Box::new(PlaceOrder {
            lines: vec![line(0), line(1)],
            number,
            checkout_id: CheckoutId::derive(&[b"checkout"]),
            payment_id: PaymentId::derive(&[b"payment"]),
            charges: vec![discount],
            total: total(),
            customer_reference,
            country,
            channel,
            pricing: None,
            ship_to: None,
            at,
        }))
    })
}

fn refund_id() -> impl Strategy<Value = RefundId> {
    (0..5_u8).prop_map(|n| RefundId::derive(&[&[n]]))
}

fn command() -> impl Strategy<Value = OrderCommand> {
    use OrderCommand as C;
    prop_oneof![
        1 => place(),
        3 => moment().prop_map(|at| C::Confirm { at }),
        3 => moment().prop_map(|at| C::RecordPaid { amount: total(), at }),
        1 => (refund_id(), words(), moment())
            .prop_map(|(refund_id, reason, at)| C::RequestCancellation { refund_id, reason, at }),
        1 => (refund_id(), words(), moment())
            .prop_map(|(refund_id, reason, at)| C::CancelUnpaid { refund_id, reason, at }),
        2 => moment().prop_map(|at| C::RecordCancelled { at }),
        8 => refund(),
        4 => (refund_id(), moment()).prop_map(|(refund_id, at)| C::RecordRefund { refund_id, at }),
        2 => (refund_id(), words(), moment())
            .prop_map(|(refund_id, code, at)| C::FailRefund { refund_id, code, at }),
    ]
}

fn refund() -> impl Strategy<Value = OrderCommand> {
    let line =
        (0..2_u8, 1..3_u32).prop_map(|(n, quantity)| RefundLine { line_id: line_id(n), quantity });
    let texts = (proptest::option::of(words()), words());
    let lines = proptest::collection::vec(line, 0..3);
    (refund_id(), 1..2500_i64, lines, texts, moment()).prop_map(
        |(refund_id, minor, lines, (reference, reason), at)| {
            let amount = gbp(minor);
            let new = RequestRefund { refund_id, reference, amount, lines, reason, at };
            OrderCommand::RequestRefund(Box::new(new))
        },
    )
}

fn adjustment() -> impl Strategy<Value = AdjustmentCommand> {
    let texts = (words(), words(), proptest::option::of(words()));
    (texts, 0..5000_i64, 1..4_u32, moment()).prop_map(|(texts, minor, quantity, at)| {
        let (reference, reason, customer_reference) = texts;
        let (code, title) = (reason.clone(), reference.clone());
        let line = AdjustmentLine { code, title, quantity, unit_price: gbp(minor) };
        AdjustmentCommand::Record(Box::new(RecordAdjustment {
            reference,
            amount: gbp(minor),
            lines: vec![line],
            customer_reference,
            reason,
            at,
        }))
    })
}
