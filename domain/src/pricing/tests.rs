//! Figures worked out by hand.

use chrono::DateTime;
use event_schemas::{
    coupon::CouponValue,
    ids::{LineId, ProductId, QuoteId, VariantId},
    money::{Currency, Money},
    order::{ChargeKind, OrderLine},
    quote::{
        Quote, Rate, RateSource, Rounding, RoundingLevel, RoundingMode, RuleVersions,
        ShippingOption,
    },
};

use super::*;

fn gbp(amount_minor: i64) -> Money {
    Money { amount_minor, currency: Currency::GBP }
}

fn line(quantity: u32, unit_price: Money, tax_class: &str) -> BasketLine {
    let line = OrderLine {
        line_id: LineId::derive(&[&quantity.to_be_bytes()]),
        product_id: ProductId::derive(&[&[1]]),
        variant_id: VariantId::derive(&[&[2]]),
        sku: None,
        title: "Bar".to_owned(),
        quantity,
        unit_price,
    };
    BasketLine { line, tax_class: tax_class.to_owned() }
}

fn taxation(prices_include_tax: bool, level: RoundingLevel, mode: RoundingMode) -> Taxation {
    let rates = [("standard", 200_000), ("food", 50_000)];
    Taxation {
        zone: "uk".to_owned(),
        prices_include_tax,
        rounding: Rounding { level, mode },
        rates: rates.into_iter().map(|(class, rate)| (class.to_owned(), Rate(rate))).collect(),
        shipping_class: "standard".to_owned(),
    }
}

fn basket(lines: Vec<BasketLine>) -> Basket {
    Basket {
        quote_id: QuoteId::derive(&[&[9]]),
        lines,
        shipping: None,
        discounts: vec![],
        taxation: None,
        rules: RuleVersions::default(),
        expires_at: DateTime::UNIX_EPOCH,
    }
}

fn standard(amount: Money) -> ShippingOption {
    ShippingOption {
        code: "standard".to_owned(),
        title: "Standard".to_owned(),
        amount,
        source: RateSource::Table,
        expires_at: DateTime::UNIX_EPOCH,
    }
}

fn off(code: &str, value: CouponValue) -> Discount {
    Discount { code: code.to_owned(), title: format!("Coupon {code}"), value }
}

fn totals(quote: &Quote) -> Vec<(i64, i64, i64)> {
    let lines = quote.pricing.line_totals.iter();
    lines.map(|l| (l.discount.amount_minor, l.tax.amount_minor, l.total.amount_minor)).collect()
}

#[test]
fn without_rules_a_purchase_costs_what_its_lines_do() {
    let quote = price(basket(vec![line(2, gbp(450), ""), line(1, gbp(100), "")])).unwrap();
    assert_eq!(quote.total, gbp(1_000));
    assert_eq!(quote.charges, []);
    assert_eq!(totals(&quote), [(0, 0, 900), (0, 0, 100)]);
}

#[test]
fn tax_within_the_price_changes_no_total() {
    let quote = price(Basket {
        shipping: Some(standard(gbp(395))),
        taxation: Some(taxation(true, RoundingLevel::Line, RoundingMode::HalfUp)),
        ..basket(vec![line(3, gbp(999), "standard"), line(1, gbp(210), "food")])
    });
    let quote = quote.unwrap();
    // 2997 / 6 = 499.5; 210 / 21 = 10; 395 / 6 = 65.83…
    assert_eq!(totals(&quote), [(0, 500, 2_997), (0, 10, 210)]);
    assert_eq!(quote.pricing.shipping.as_ref().unwrap().tax, gbp(66));
    assert_eq!(quote.total, gbp(2_997 + 210 + 395));
    let tax: Vec<_> = quote.pricing.tax.iter().map(|tax| (tax.base, tax.amount)).collect();
    assert_eq!(tax, [(gbp(200), gbp(10)), (gbp(2_497 + 329), gbp(566))]);
    assert!(quote.charges.iter().all(|charge| charge.kind != ChargeKind::Tax));
}

#[test]
fn tax_on_top_is_a_charge_per_rate() {
    let quote = price(Basket {
        shipping: Some(standard(gbp(400))),
        taxation: Some(taxation(false, RoundingLevel::Line, RoundingMode::HalfUp)),
        ..basket(vec![line(1, gbp(1_000), "standard"), line(1, gbp(210), "food")])
    });
    let quote = quote.unwrap();
    // 200 + 80 of the carriage; 10.5 is rounded up.
    let charges: Vec<_> =
        quote.charges.iter().map(|c| (c.code.as_str(), c.title.as_str(), c.amount)).collect();
    let expected = [
        ("standard", "Standard", gbp(400)),
        ("food", "Tax uk 5 %", gbp(11)),
        ("standard", "Tax uk 20 %", gbp(280)),
    ];
    assert_eq!(charges, expected);
    assert_eq!(quote.total, gbp(1_901));
}

#[test]
fn a_half_goes_where_the_policy_says() {
    let tax = |mode, cents: i64| {
        let taxation = Some(taxation(false, RoundingLevel::Line, mode));
        let quote = price(Basket { taxation, ..basket(vec![line(1, gbp(cents), "food")]) });
        quote.unwrap().pricing.line_totals[0].tax.amount_minor
    };
    // 5 % of 10, 30 and 50: 0.5, 1.5 and 2.5.
    let of = |mode| [10, 30, 50].map(|cents| tax(mode, cents));
    assert_eq!(of(RoundingMode::HalfUp), [1, 2, 3]);
    assert_eq!(of(RoundingMode::HalfDown), [0, 1, 2]);
    assert_eq!(of(RoundingMode::HalfEven), [0, 2, 2]);
}

#[test]
fn the_level_decides_what_is_rounded() {
    let taxes = |level| {
        let taxation = Some(taxation(false, level, RoundingMode::HalfUp));
        let lines = vec![line(3, gbp(7), "standard"), line(2, gbp(7), "standard")];
        let quote = price(Basket { taxation, ..basket(lines) }).unwrap();
        let taxes = quote.pricing.line_totals.iter().map(|line| line.tax.amount_minor);
        taxes.collect::<Vec<_>>()
    };
    // A unit: 1.4. The lines: 4.2 and 2.8. All of it: 7.
    assert_eq!(taxes(RoundingLevel::Unit), [3, 2]);
    assert_eq!(taxes(RoundingLevel::Line), [4, 3]);
    assert_eq!(taxes(RoundingLevel::Order), [4, 3]);
    let pennies = |level| {
        let taxation = Some(taxation(false, level, RoundingMode::HalfUp));
        let lines = (1..=4).map(|_| line(1, gbp(2), "standard")).collect();
        let quote = price(Basket { taxation, ..basket(lines) }).unwrap();
        quote.pricing.tax[0].amount.amount_minor
    };
    // Four times 0.4 is 1.6, and four times nothing is nothing.
    assert_eq!((pennies(RoundingLevel::Line), pennies(RoundingLevel::Order)), (0, 2));
}

#[test]
fn coupons_take_off_shares_first_and_never_more_than_there_is() {
    let ten = off("TEN", CouponValue::Percent { rate: Rate(100_000) });
    let five = off("FIVE", CouponValue::Amount { amount: gbp(500) });
    let lines = || vec![line(1, gbp(2_000), ""), line(1, gbp(1_001), "")];
    let both = Basket { discounts: vec![five.clone(), ten.clone()], ..basket(lines()) };
    let quote = price(both).unwrap();
    let taken: Vec<_> = quote.pricing.coupons.iter().map(|c| (c.code.as_str(), c.amount)).collect();
    assert_eq!(taken, [("TEN", gbp(300)), ("FIVE", gbp(500))]);
    assert_eq!(quote.total, gbp(3_001 - 800));
    // Twice is once.
    let twice = Basket { discounts: vec![ten.clone(), ten], ..basket(lines()) };
    assert_eq!(price(twice).unwrap().total, gbp(2_701));
    let much = Basket {
        discounts: vec![five],
        shipping: Some(standard(gbp(395))),
        ..basket(vec![line(1, gbp(499), "")])
    };
    let quote = price(much).unwrap();
    assert_eq!(quote.pricing.coupons[0].amount, gbp(499));
    // Carriage is not what coupons are for.
    assert_eq!(quote.total, gbp(395));
}

#[test]
fn what_does_not_add_up_has_no_price() {
    let yen = Money { amount_minor: 5, currency: Currency::JPY };
    let five = || vec![line(1, gbp(5), "")];
    let table = [
        (basket(vec![]), PricingError::Empty),
        (basket(vec![line(0, gbp(5), "")]), PricingError::Empty),
        (basket(vec![line(1, gbp(5), ""), line(1, yen, "")]), PricingError::OtherCurrency),
        (Basket { shipping: Some(standard(yen)), ..basket(five()) }, PricingError::OtherCurrency),
        (
            Basket {
                discounts: vec![off("YEN", CouponValue::Amount { amount: yen })],
                ..basket(five())
            },
            PricingError::OtherCurrency,
        ),
        (basket(vec![line(1, gbp(-1), "")]), PricingError::OutOfRange),
        (basket(vec![line(2, gbp(TOTAL_MINOR_MAX), "")]), PricingError::OutOfRange),
        (basket(vec![line(u32::MAX, gbp(i64::MAX), "")]), PricingError::OutOfRange),
    ];
    for (basket, error) in table {
        assert_eq!(price(basket), Err(error));
    }
}

#[test]
fn units_that_go_one_by_one_are_worth_what_they_are_together() {
    let shares: Vec<i64> = (0..3).map(|before| share_of(1_000, 3, before, 1)).collect();
    assert_eq!(shares, [333, 333, 334]);
    assert_eq!(share_of(1_000, 3, 0, 3), 1_000);
    assert_eq!(apportion(10, &[0, 0]), [0, 0]);
    assert_eq!(apportion(10, &[1, 1, 1]), [4, 3, 3]);
}
