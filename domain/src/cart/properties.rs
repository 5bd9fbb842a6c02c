//! What holds after any sequence of commands.

use event_schemas::{cart::SeenPrice, money::Currency};
use proptest::prelude::*;

use super::*;
use crate::stored::{HISTORIES, moment, reached, survives, words};

proptest! {
    #![proptest_config(ProptestConfig::with_cases(HISTORIES))]
    #[test]
    fn a_state_that_was_stored_decides_as_before(commands in commands()) {
        survives(commands, Cart::decide);
    }

    #[test]
    fn a_cart_stays_within_its_bounds(commands in commands()) {
        let cart = after(commands);
        prop_assert!(cart.lines.len() <= LINES_MERGED_MAX);
        prop_assert!(cart.lines.iter().all(|line| (1..=QUANTITY_MAX).contains(&line.quantity)));
    }

    #[test]
    fn merging_loses_no_line_and_merging_again_changes_nothing(a in commands(), b in commands()) {
        let (a, mut b) = (after(a), after(b));
        prop_assume!(b.standing == Standing::Open);
        let merge = CartCommand::Merge {
            from: CartId::derive(&[b"other"]),
            lines: a.lines.clone(),
            coupons: a.coupons.clone(),
            at: DateTime::UNIX_EPOCH,
        };
        let before = b.lines.clone();
        for event in b.decide(merge.clone()).unwrap() {
            b.apply(event);
        }
        for line in a.lines.iter().chain(&before) {
            let merged = b.line(line.variant_id).expect("no line is lost");
            prop_assert!(line.quantity <= merged.quantity);
        }
        prop_assert_eq!(b.decide(merge), Ok(vec![]));
    }

    #[test]
    fn adding_two_variants_commutes(commands in commands(), a in 0..5_u8, b in 0..5_u8) {
        prop_assume!(a != b);
        let cart = after(commands);
        let both = |first, second| {
            let mut cart = cart.clone();
            for key in [first, second] {
                for event in cart.decide(add(key, 1)).unwrap_or_default() {
                    cart.apply(event);
                }
            }
            cart.lines.sort_by_key(|line| line.variant_id);
            cart
        };
        prop_assert_eq!(both(a, b), both(b, a));
    }
}

#[test]
fn the_commands_reach_every_event() {
    let reached = reached::<Cart>(&commands(), Cart::decide);
    assert_eq!(reached.len(), 13, "{reached:?}");
}

fn after(commands: Vec<CartCommand>) -> Cart {
    let mut cart = Cart::default();
    for command in commands {
        for event in cart.decide(command).unwrap_or_default() {
            cart.apply(event);
        }
    }
    cart
}

fn commands() -> impl Strategy<Value = Vec<CartCommand>> {
    let start = (proptest::option::of(words()), moment())
        .prop_map(|(customer_reference, at)| CartCommand::Start { customer_reference, at });
    (start, proptest::collection::vec(command(), 1..24)).prop_map(|(start, mut commands)| {
        commands.insert(0, start);
        commands
    })
}

fn variant(key: u8) -> VariantId {
    VariantId::derive(&[&[key]])
}

fn gbp(amount_minor: i64) -> Money {
    Money { amount_minor, currency: Currency::GBP }
}

fn add(key: u8, quantity: u32) -> CartCommand {
    let (variant_id, unit_price) = (variant(key), gbp(i64::from(key)));
    CartCommand::Add { variant_id, quantity, unit_price, at: DateTime::UNIX_EPOCH }
}

fn line() -> impl Strategy<Value = CartLine> {
    (0..5_u8, 1..=QUANTITY_MAX).prop_map(|(key, quantity)| CartLine {
        variant_id: variant(key),
        quantity,
        unit_price: gbp(i64::from(key)),
    })
}

fn code() -> impl Strategy<Value = String> {
    prop_oneof![Just("xmas10"), Just("SPRING "), Just("é"), Just("")].prop_map(str::to_owned)
}

fn checkout() -> impl Strategy<Value = CheckoutId> {
    (0..2_u8).prop_map(|key| CheckoutId::derive(&[&[key]]))
}

fn command() -> impl Strategy<Value = CartCommand> {
    use CartCommand as C;
    let other = || Just(CartId::derive(&[b"other"]));
    let quantity = || prop_oneof![5 => 1..9_u32, 1 => Just(0), 1 => 990..1_005_u32];
    prop_oneof![
        6 => (0..5_u8, quantity()).prop_map(|(key, quantity)| add(key, quantity)),
        3 => (0..5_u8, quantity(), moment()).prop_map(|(key, quantity, at)| {
            C::ChangeQuantity { variant_id: variant(key), quantity, at }
        }),
        2 => (0..5_u8, moment()).prop_map(|(key, at)| C::Remove { variant_id: variant(key), at }),
        2 => (0..5_u8, 0..9_i64, moment()).prop_map(|(key, minor, at)| {
            let prices = vec![SeenPrice { variant_id: variant(key), unit_price: gbp(minor) }];
            C::SeePrices { prices, at }
        }),
        2 => (code(), moment()).prop_map(|(code, at)| C::ApplyCoupon { code, at }),
        2 => (code(), moment()).prop_map(|(code, at)| C::RemoveCoupon { code, at }),
        1 => (words(), moment())
            .prop_map(|(customer_reference, at)| C::Identify { customer_reference, at }),
        2 => (other(), proptest::collection::vec(line(), 0..4), moment()).prop_map(
            |(from, mut lines, at)| {
                lines.sort_by_key(|line| line.variant_id);
                lines.dedup_by_key(|line| line.variant_id);
                C::Merge { from, lines, coupons: vec![], at }
            }
        ),
        1 => (other(), moment()).prop_map(|(into, at)| C::MergeInto { into, at }),
        2 => (checkout(), moment())
            .prop_map(|(checkout_id, at)| C::BeginCheckout { checkout_id, at }),
        4 => (checkout(), moment()).prop_map(|(checkout_id, at)| C::Reopen { checkout_id, at }),
        1 => (checkout(), moment()).prop_map(|(checkout_id, at)| {
            let order_id = OrderId::derive(&[b"order"]);
            C::CheckOut { checkout_id, order_id, at }
        }),
    ]
}
