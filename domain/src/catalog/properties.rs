//! What holds after any sequence of commands.

use event_schemas::money::Currency;
use proptest::prelude::*;

use super::*;
use crate::stored::{HISTORIES, moment, reached, survives, words};

proptest! {
    #![proptest_config(ProptestConfig::with_cases(HISTORIES))]
    #[test]
    fn a_state_that_was_stored_decides_as_before(commands in commands()) {
        survives(commands, Product::decide);
    }
}

#[test]
fn the_commands_reach_every_event() {
    let reached = reached::<Product>(&commands(), Product::decide);
    assert_eq!(reached.len(), 8, "{reached:?}");
}

/// A product, which everything else needs, and what may follow.
fn commands() -> impl Strategy<Value = Vec<ProductCommand>> {
    (create(), proptest::collection::vec(command(), 1..24)).prop_map(|(create, mut commands)| {
        commands.insert(0, create);
        commands
    })
}

fn price() -> impl Strategy<Value = Money> {
    (0..5000_i64).prop_map(|amount_minor| Money { amount_minor, currency: Currency::GBP })
}

fn variant_id() -> impl Strategy<Value = VariantId> {
    (0..6_u8).prop_map(|n| VariantId::derive(&[&[n]]))
}

fn variant() -> impl Strategy<Value = NewVariant> {
    let texts = (proptest::option::of("[A-Z]{3}-[0-9]{3}"), proptest::option::of("[0-9]{8}"));
    let costs = proptest::option::of((price(), proptest::option::of(0..900_i64)));
    let weight = proptest::option::of(0..9_000_u32);
    (0..6_u8, texts, costs, weight).prop_map(|(n, (sku, barcode), costs, weight_g)| {
        let price = costs.map(|(price, _)| price);
        let compare_at = costs.and_then(|(price, more)| {
            more.map(|more| Money { amount_minor: price.amount_minor + more, ..price })
        });
        NewVariant {
            variant_id: VariantId::derive(&[&[n]]),
            sku,
            barcode,
            option_values: vec![format!("{n} g")],
            weight_g,
            price,
            compare_at,
        }
    })
}

fn create() -> impl Strategy<Value = ProductCommand> {
    let tags = proptest::collection::vec("[a-z]{1,4}", 0..4);
    let variants = proptest::option::of(variant());
    (words(), words(), tags, variants, moment()).prop_map(|(title, text, tags, variant, at)| {
        let product = NewProduct {
            handle: "truffles".to_owned(),
            title: title.trim().to_owned(),
            description: text,
            tags,
            options: vec!["Weight".to_owned()],
            variants: variant.into_iter().collect(),
            ..NewProduct::default()
        };
        ProductCommand::Create { product: Box::new(product), at }
    })
}

fn command() -> impl Strategy<Value = ProductCommand> {
    use ProductCommand as C;
    let some = || proptest::option::of(words());
    let tags = proptest::option::of(proptest::collection::vec("[a-z]{1,4}", 0..4));
    prop_oneof![
        2 => create(),
        8 => (variant(), moment()).prop_map(|(variant, at)| {
            C::AddVariant { variant: Box::new(variant), at }
        }),
        8 => (variant_id(), price(), moment()).prop_map(|(variant_id, price, at)| {
            C::SetPrice { variant_id, price, compare_at: None, at }
        }),
        6 => (some(), some(), some(), tags, moment()).prop_map(
            |(title, description, vendor, tags, at)| {
                let details =
                    NewDetails { title, description, vendor, tags, ..NewDetails::default() };
                C::Describe { details: Box::new(details), at }
            }
        ),
        3 => ("[a-c]", moment()).prop_map(|(tax_class, at)| C::SetTaxClass { tax_class, at }),
        4 => moment().prop_map(|at| C::Publish { at }),
        3 => moment().prop_map(|at| C::Unpublish { at }),
        1 => moment().prop_map(|at| C::Archive { at }),
    ]
}
