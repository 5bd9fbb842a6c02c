//! What holds after any sequence of commands.

use cqrs_es::Aggregate as _;
use event_schemas::{
    fulfilment::FulfilmentLine,
    ids::{ProductId, VariantId},
    money::Currency,
    order::{AdjustmentLine, ChargeKind, Restock},
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

proptest! {
    #[test]
    fn no_unit_is_packed_cancelled_or_given_back_twice(commands in commands()) {
        let mut order = Order::default();
        for command in commands {
            for event in order.decide(command).unwrap_or_default() {
                order.apply(event);
                let Some(placed) = &order.placed else { continue };
                let paid = placed.paid.map_or(0, |paid| paid.amount_minor);
                prop_assert!((0..=paid).contains(&placed.refundable().amount_minor));
                for line in &placed.lines {
                    // Each of these would panic below zero.
                    let (open, away) = (placed.open_units(line), placed.away_units(line));
                    prop_assert!(open + away <= line.quantity);
                    prop_assert!(placed.shipped_units(line) <= line.quantity);
                }
                let stopped = matches!(
                    placed.status,
                    OrderStatus::Cancelling | OrderStatus::Cancelled
                );
                let pending = |parcel: &Fulfilment| parcel.state == FulfilmentState::Pending;
                // A cancellation stops the parcels first, in the same decision.
                prop_assert!(!stopped || !placed.fulfilments.values().any(pending));
                prop_assert!(!stopped || !placed.has_shipped());
            }
        }
    }

    #[test]
    fn all_units_together_come_to_what_was_charged(
        lines in proptest::collection::vec((1..9_u32, 0..5000_i64), 1..5),
        off in 0..9000_i64,
        postage in 0..700_i64,
        steps in proptest::collection::vec((0..5_usize, 1..4_u32), 1..60),
    ) {
        let mut order = priced(&lines, off, postage);
        let all = order.total.amount_minor;
        let mut back = 0;
        let (mut n, mut asked) = (0_u8, steps);
        // Whatever is left at last is given back in one go.
        asked.extend((0..lines.len()).map(|line| (line, u32::MAX)));
        for (line, units) in asked {
            let Some(line) = order.lines.get(line).cloned() else { continue };
            let units = units.min(order.open_units(&line));
            if units == 0 {
                continue;
            }
            let suggested = order.suggest_refund(&[(line.line_id, units)]).unwrap();
            prop_assert!(suggested.lines.iter().all(|line| line.amount.amount_minor >= 0));
            let sum: i64 = suggested.lines.iter().map(|line| line.amount.amount_minor).sum();
            prop_assert_eq!(sum + suggested.charges.amount_minor, suggested.amount.amount_minor);
            back += suggested.amount.amount_minor;
            n += 1;
            let refund_line =
                RefundLine { line_id: line.line_id, quantity: units, restock: Restock::Cancel };
            order.refunds.insert(RefundId::derive(&[&[n]]), Refund {
                reference: None,
                amount: suggested.amount,
                lines: vec![refund_line],
                reason: String::new(),
                at: DateTime::UNIX_EPOCH,
                state: RefundState::Recorded,
            });
        }
        prop_assert_eq!(back, all);
    }
}

/// A paid order of lines (units, price of one), a discount that is at most what they cost, and
/// carriage; in minor units.
fn priced(lines: &[(u32, i64)], off: i64, postage: i64) -> Placed {
    let line = |(n, &(quantity, price)): (u8, &(u32, i64))| OrderLine {
        line_id: line_id(n),
        product_id: ProductId::derive(&[&[n]]),
        variant_id: VariantId::derive(&[&[n]]),
        sku: None,
        title: "Bar".to_owned(),
        quantity,
        unit_price: gbp(price),
    };
    let lines: Vec<OrderLine> = (0..).zip(lines).map(line).collect();
    let gross: i64 = lines.iter().map(|line| line.total().unwrap().amount_minor).sum();
    let charge = |kind, minor| {
        let (code, title) = ("C".to_owned(), "C".to_owned());
        Charge { kind, code, title, amount: gbp(minor) }
    };
    let off = off.min(gross);
    let total = gbp(gross - off + postage);
    let mut order = Order::default();
    let place = OrderCommand::Place(Box::new(PlaceOrder {
        number: "1".to_owned(),
        checkout_id: CheckoutId::derive(&[b"checkout"]),
        payment_id: PaymentId::derive(&[b"payment"]),
        lines,
        charges: vec![charge(ChargeKind::Discount, -off), charge(ChargeKind::Postage, postage)],
        total,
        customer_reference: None,
        country: None,
        channel: Channel::Api,
        pricing: None,
        ship_to: None,
        at: DateTime::UNIX_EPOCH,
    }));
    let (capture, at) = (CaptureMoment::Immediately, DateTime::UNIX_EPOCH);
    let paid = OrderCommand::RecordPaid { amount: total, at };
    for command in [place, OrderCommand::Confirm { capture, at }, paid] {
        for event in order.decide(command).unwrap() {
            order.apply(event);
        }
    }
    order.placed.unwrap()
}

#[test]
fn the_commands_reach_every_event() {
    let types = reached::<Order>(&commands(), Order::decide);
    assert_eq!(types.len(), 12, "{types:?}");
    let commands = proptest::collection::vec(adjustment(), 1..4);
    let types = reached::<Adjustment>(&commands, Adjustment::decide);
    assert_eq!(types.len(), 1, "{types:?}");
}

/// An order, which everything else needs, and what may follow.
fn commands() -> impl Strategy<Value = Vec<OrderCommand>> {
    (place(), proptest::collection::vec(command(), 1..60)).prop_map(|(place, mut commands)| {
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
        3 => (capture(), moment()).prop_map(|(capture, at)| C::Confirm { capture, at }),
        6 => parcel(),
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

fn capture() -> impl Strategy<Value = CaptureMoment> {
    prop_oneof![Just(CaptureMoment::Immediately), Just(CaptureMoment::OnShipment)]
}

fn parcel() -> impl Strategy<Value = OrderCommand> {
    use OrderCommand as C;
    let id = || (0..4_u8).prop_map(|n| FulfilmentId::derive(&[&[n]]));
    let line = (0..2_u8, 1..3_u32)
        .prop_map(|(n, quantity)| FulfilmentLine { line_id: line_id(n), quantity });
    let tracking = || {
        proptest::option::of(proptest::option::of(Just("https://example.com".to_owned())).prop_map(
            |url| {
                let (carrier, number) = ("post".to_owned(), "é 客".to_owned());
                Tracking { carrier, number, url }
            },
        ))
    };
    prop_oneof![
        3 => (id(), proptest::collection::vec(line, 1..3), moment()).prop_map(
            |(fulfilment_id, lines, at)| {
                let location = "main".to_owned();
                C::CreateFulfilment(NewFulfilment { fulfilment_id, location, lines, at })
            }
        ),
        3 => (id(), tracking(), moment())
            .prop_map(|(fulfilment_id, tracking, at)| C::Ship { fulfilment_id, tracking, at }),
        1 => (id(), moment()).prop_map(|(fulfilment_id, at)| C::Deliver { fulfilment_id, at }),
        1 => (id(), words(), moment()).prop_map(|(fulfilment_id, reason, at)| {
            C::CancelFulfilment { fulfilment_id, reason, at }
        }),
    ]
}

fn refund() -> impl Strategy<Value = OrderCommand> {
    let restock = || prop_oneof![Just(Restock::Cancel), Just(Restock::Return), Just(Restock::None)];
    let line = (0..2_u8, 1..3_u32, restock()).prop_map(|(n, quantity, restock)| RefundLine {
        line_id: line_id(n),
        quantity,
        restock,
    });
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
