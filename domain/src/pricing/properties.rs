//! What holds for every basket.

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
use proptest::prelude::*;
use proptest::test_runner::{Config, TestCaseResult, TestRunner};

use super::*;

/// Baskets of an ordinary run; `CONCHE_BASKETS` asks for more, in a release build.
const BASKETS: u32 = 20_000;

const CLASSES: [&str; 4] = ["standard", "food", "books", "untaxed"];

fn money(currency: Currency) -> impl Strategy<Value = Money> {
    let amounts = prop_oneof![3 => 0..20_000_i64, 1 => 0..20_i64, 1 => 0..1_000_000_000_i64];
    amounts.prop_map(move |amount_minor| Money { amount_minor, currency })
}

fn lines(currency: Currency) -> impl Strategy<Value = Vec<BasketLine>> {
    let line = (money(currency), 1..1_000_u32, 0..CLASSES.len());
    prop::collection::vec(line, 1..8).prop_map(|lines| {
        let lines = lines.into_iter().zip(1_u128..);
        let basket_line =
            |((unit_price, quantity, class), number): ((Money, u32, usize), u128)| BasketLine {
                line: OrderLine {
                    line_id: LineId::derive(&[&number.to_be_bytes()]),
                    product_id: ProductId::derive(&[&[1]]),
                    variant_id: VariantId::derive(&[&number.to_be_bytes()]),
                    sku: None,
                    title: String::new(),
                    quantity,
                    unit_price,
                },
                tax_class: CLASSES[class].to_owned(),
            };
        lines.map(basket_line).collect()
    })
}

fn discounts(currency: Currency) -> impl Strategy<Value = Vec<Discount>> {
    let value = prop_oneof![
        (0..1_200_000_u32).prop_map(|rate| CouponValue::Percent { rate: Rate(rate) }),
        money(currency).prop_map(|amount| CouponValue::Amount { amount }),
    ];
    prop::collection::vec(value, 0..3).prop_map(|values| {
        let discount =
            |(value, number)| Discount { code: format!("C{number}"), title: String::new(), value };
        values.into_iter().zip(0..).map(discount).collect()
    })
}

fn taxation() -> impl Strategy<Value = Taxation> {
    let level =
        prop::sample::select(&[RoundingLevel::Unit, RoundingLevel::Line, RoundingLevel::Order]);
    let mode = prop::sample::select(&[
        RoundingMode::HalfEven,
        RoundingMode::HalfUp,
        RoundingMode::HalfDown,
    ]);
    let rate = prop_oneof![Just(200_000), Just(81_250), Just(PPM_MAX), 0..=PPM_MAX];
    let rates = prop::collection::vec(rate, 3);
    (any::<bool>(), level, mode, rates).prop_map(|(prices_include_tax, level, mode, rates)| {
        let rates =
            CLASSES.iter().zip(rates).map(|(class, rate)| ((*class).to_owned(), Rate(rate)));
        Taxation {
            zone: "here".to_owned(),
            prices_include_tax,
            rounding: Rounding { level, mode },
            rates: rates.collect(),
            shipping_class: "standard".to_owned(),
        }
    })
}

const PPM_MAX: u32 = event_schemas::quote::PPM;

/// In currencies without decimals, with two and with three.
fn baskets() -> impl Strategy<Value = Basket> {
    let currency = prop::sample::select(&[Currency::JPY, Currency::GBP, Currency::KWD]);
    currency.prop_flat_map(|currency| {
        let shipping = prop::option::of(money(currency).prop_map(|amount| ShippingOption {
            code: "standard".to_owned(),
            title: String::new(),
            amount,
            source: RateSource::Table,
            expires_at: DateTime::UNIX_EPOCH,
        }));
        let parts = (lines(currency), shipping, discounts(currency), prop::option::of(taxation()));
        parts.prop_map(|(lines, shipping, discounts, taxation)| Basket {
            quote_id: QuoteId::derive(&[&[1]]),
            lines,
            shipping,
            discounts,
            taxation,
            rules: RuleVersions::default(),
            expires_at: DateTime::UNIX_EPOCH,
        })
    })
}

fn minor(amounts: impl IntoIterator<Item = Money>) -> i64 {
    amounts.into_iter().map(|amount| amount.amount_minor).sum()
}

/// Σ lines and charges = total; Σ totals of lines and carriage = total.
fn adds_up(quote: &Quote) -> TestCaseResult {
    let total = quote.total.amount_minor;
    let lines = minor(quote.lines.iter().map(|line| line.total().unwrap()));
    prop_assert_eq!(lines + minor(quote.charges.iter().map(|charge| charge.amount)), total);
    let carriage = quote.pricing.shipping.iter().map(|shipping| shipping.total);
    let totals = quote.pricing.line_totals.iter().map(|line| line.total);
    prop_assert_eq!(minor(totals.chain(carriage)), total);
    prop_assert!(0 <= total);
    Ok(())
}

/// Tax by rate = tax by part; on top it is charged, within it is not.
fn taxes_add_up(quote: &Quote) -> TestCaseResult {
    let pricing = &quote.pricing;
    let parts = pricing.line_totals.iter().map(|line| line.tax);
    let parts = minor(parts.chain(pricing.shipping.iter().map(|shipping| shipping.tax)));
    let tax = minor(pricing.tax.iter().map(|tax| tax.amount));
    prop_assert_eq!(tax, parts);
    let charged = quote.charges.iter().filter(|charge| charge.kind == ChargeKind::Tax);
    let charged = minor(charged.map(|charge| charge.amount));
    prop_assert_eq!(charged, if pricing.prices_include_tax { 0 } else { tax });
    // Net and tax together are what is paid for what is taxed, and at most all of it.
    let taxed = minor(pricing.tax.iter().flat_map(|tax| [tax.base, tax.amount]));
    prop_assert!(taxed <= quote.total.amount_minor);
    Ok(())
}

/// What a line is discounted is between nothing and its price, and all of it is a coupon's.
fn discounts_add_up(quote: &Quote) -> TestCaseResult {
    for line in &quote.pricing.line_totals {
        prop_assert!((0..=line.gross.amount_minor).contains(&line.discount.amount_minor));
        prop_assert!(0 <= line.total.amount_minor && 0 <= line.tax.amount_minor);
    }
    let lines = minor(quote.pricing.line_totals.iter().map(|line| line.discount));
    prop_assert_eq!(lines, minor(quote.pricing.coupons.iter().map(|coupon| coupon.amount)));
    Ok(())
}

/// Every unit sent back by itself, then the carriage: all that was captured, and not more.
fn refunds_add_up(quote: &Quote, step: u32) -> TestCaseResult {
    let mut left = quote.total.amount_minor;
    for (line, total) in quote.lines.iter().zip(&quote.pricing.line_totals) {
        let mut before = 0;
        while before < line.quantity {
            let units = step.min(line.quantity - before);
            let share = share_of(total.total.amount_minor, line.quantity, before, units);
            prop_assert!((0..=left).contains(&share));
            left -= share;
            before += units;
        }
    }
    left -= minor(quote.pricing.shipping.iter().map(|shipping| shipping.total));
    prop_assert_eq!(left, 0);
    Ok(())
}

/// At the level of the order, each rate's tax is its exact tax, rounded once.
fn is_rounded_once(basket: &Basket, quote: &Quote) -> TestCaseResult {
    let Some(taxation) = &basket.taxation else { return Ok(()) };
    let within = taxation.prices_include_tax;
    for tax in &quote.pricing.tax {
        let (base, amount) =
            (i128::from(tax.base.amount_minor), i128::from(tax.amount.amount_minor));
        let (whole, rate) = (i128::from(PPM_MAX), i128::from(tax.rate.0));
        let (numerator, denominator) =
            if within { ((base + amount) * rate, whole + rate) } else { (base * rate, whole) };
        // Within half a unit, as integers.
        let off_by = (numerator - amount * denominator).abs() * 2;
        let parts = i128::try_from(quote.lines.len() + 1).unwrap();
        let rounded = match taxation.rounding.level {
            RoundingLevel::Order => 1,
            RoundingLevel::Line => parts,
            RoundingLevel::Unit => parts * 1_000,
        };
        prop_assert!(off_by <= denominator * rounded);
    }
    Ok(())
}

#[test]
#[expect(clippy::disallowed_methods, reason = "a test's own setting")]
fn every_basket_adds_up_to_the_minor_unit() {
    let asked = std::env::var("CONCHE_BASKETS").ok();
    let cases = asked.map_or(BASKETS, |cases| cases.parse().expect("a number of baskets"));
    let mut runner =
        TestRunner::new(Config { cases, failure_persistence: None, ..Config::default() });
    let strategy = (baskets(), 1..400_u32);
    let outcome = runner.run(&strategy, |(basket, step)| {
        let quote = price(basket.clone()).expect("every one of these has a price");
        adds_up(&quote)?;
        taxes_add_up(&quote)?;
        discounts_add_up(&quote)?;
        refunds_add_up(&quote, step)?;
        is_rounded_once(&basket, &quote)?;
        prop_assert_eq!(price(basket), Ok(quote));
        Ok(())
    });
    outcome.unwrap();
}
