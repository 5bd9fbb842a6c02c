//! From what is bought to what it costs: lines, less discounts, plus carriage, with tax.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use event_schemas::{
    coupon::CouponValue,
    ids::QuoteId,
    money::{Currency, Money},
    order::{Charge, ChargeKind, OrderLine},
    quote::{
        AppliedCoupon, LineTotal, PPM, Pricing, Quote, Rate, Rounding, RoundingLevel, RoundingMode,
        RuleVersions, ShippingOption, ShippingTotal, TaxLine,
    },
};

use super::arithmetic::{apportion, divide};
use super::tax::{Part, Taxation};
use super::{TOTAL_MINOR_MAX, are_bounded};

/// Coupons of one quote: more than a few are an attempt to find codes.
pub const COUPONS_MAX: usize = 5;

/// Highest tax rate: 100 %. Also keeps tax on top within twice the amount.
const RATE_MAX: Rate = Rate(PPM);

/// Rounding where a store has no tax policy: there is nothing to round.
const NO_ROUNDING: Rounding = Rounding { level: RoundingLevel::Line, mode: RoundingMode::HalfUp };

/// What a quote is made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Basket {
    /// The quote.
    pub quote_id: QuoteId,
    /// What is bought; at least one, all in one currency.
    pub lines: Vec<BasketLine>,
    /// How it is sent; none if the store has no shipping profile.
    pub shipping: Option<ShippingOption>,
    /// What is taken off. The order does not matter: shares of what is left come before amounts,
    /// and of either kind the first by code.
    pub discounts: Vec<Discount>,
    /// None if the store has no tax policy.
    pub taxation: Option<Taxation>,
    /// Versions of the rules.
    pub rules: RuleVersions,
    /// Until when it is good.
    pub expires_at: DateTime<Utc>,
}

/// A line and how it is taxed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BasketLine {
    /// The line; its price is zero or more.
    pub line: OrderLine,
    /// Its tax class.
    pub tax_class: String,
}

/// What a coupon takes off.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Discount {
    /// The coupon's code.
    pub code: String,
    /// Its name for people.
    pub title: String,
    /// How much.
    pub value: CouponValue,
}

/// Why a basket has no price.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PricingError {
    /// Nothing to buy, or a line without units.
    #[error("there is nothing to price")]
    Empty,
    /// Amounts in different currencies.
    #[error("amounts are in different currencies")]
    OtherCurrency,
    /// More than any shop sells at once, or an amount below zero.
    #[error("amounts must lie between zero and {TOTAL_MINOR_MAX} minor units together")]
    OutOfRange,
}

/// Prices a basket. The same basket has the same price.
///
/// Coupons take off lines and not carriage, and never more than there is; what one takes off is
/// spread over the lines in proportion to what is left of them, by largest remainder.
pub fn price(basket: Basket) -> Result<Quote, PricingError> {
    let (currency, gross) = checked(&basket)?;
    let (coupons, discounts) = take_off(&basket.discounts, &gross, currency);
    let items = Items::new(&basket, &gross, &discounts);
    let money = |amount_minor| Money { amount_minor, currency };
    let Items { nets, taxes, rates } = items;
    let on_top = basket.taxation.as_ref().is_some_and(|taxation| !taxation.prices_include_tax);
    let total = |index: usize| nets[index] + if on_top { taxes[index] } else { 0 };
    let line_totals = basket.lines.iter().enumerate().map(|(index, line)| LineTotal {
        line_id: line.line.line_id,
        gross: money(gross[index]),
        discount: money(discounts[index]),
        tax: money(taxes[index]),
        total: money(total(index)),
        rate: rates[index],
    });
    let last = basket.lines.len();
    let shipping = basket.shipping.as_ref().map(|option| ShippingTotal {
        code: option.code.clone(),
        title: option.title.clone(),
        source: option.source,
        gross: option.amount,
        tax: money(taxes[last]),
        total: money(total(last)),
        rate: rates[last],
    });
    let pricing = Pricing {
        quote_id: basket.quote_id,
        line_totals: line_totals.collect(),
        shipping,
        tax: tax_lines(&basket, (&nets, &taxes), currency),
        prices_include_tax: !on_top,
        rounding: basket.taxation.as_ref().map_or(NO_ROUNDING, |taxation| taxation.rounding),
        coupons,
        rules: basket.rules,
    };
    finish(basket, pricing, currency)
}

/// The currency, and price times quantity of each line.
fn checked(basket: &Basket) -> Result<(Currency, Vec<i64>), PricingError> {
    let lines = || basket.lines.iter().map(|line| &line.line);
    let first = lines().next().ok_or(PricingError::Empty)?;
    let currency = first.unit_price.currency;
    if lines().any(|line| line.quantity == 0) {
        return Err(PricingError::Empty);
    }
    let fixed = basket.discounts.iter().filter_map(|discount| match discount.value {
        CouponValue::Amount { amount } => Some(amount),
        CouponValue::Percent { .. } => None,
    });
    let carriage = basket.shipping.as_ref().map(|option| option.amount);
    let amounts = lines().map(|line| line.unit_price).chain(fixed).chain(carriage);
    for amount in amounts {
        if amount.currency != currency {
            return Err(PricingError::OtherCurrency);
        }
        if amount.amount_minor < 0 {
            return Err(PricingError::OutOfRange);
        }
    }
    let totals: Option<Vec<Money>> = lines().map(OrderLine::total).collect();
    let totals = totals.ok_or(PricingError::OutOfRange)?;
    let rates = basket.taxation.iter().flat_map(|taxation| taxation.rates.values());
    if !are_bounded(totals.iter().copied().chain(carriage)) || rates.clone().any(|r| *r > RATE_MAX)
    {
        return Err(PricingError::OutOfRange);
    }
    Ok((currency, totals.into_iter().map(|total| total.amount_minor).collect()))
}

/// What each coupon takes off, and what is taken off each line.
fn take_off(
    discounts: &[Discount],
    gross: &[i64],
    currency: Currency,
) -> (Vec<AppliedCoupon>, Vec<i64>) {
    let mut sorted: Vec<&Discount> = discounts.iter().collect();
    let is_amount = |value: &CouponValue| matches!(value, CouponValue::Amount { .. });
    sorted.sort_by_key(|discount| (is_amount(&discount.value), &discount.code));
    sorted.dedup_by_key(|discount| &discount.code);
    let mut left = gross.to_vec();
    let mut applied = vec![];
    for Discount { code, value, .. } in sorted {
        let all: i64 = left.iter().sum();
        let off = match value {
            CouponValue::Percent { rate: Rate(rate) } => {
                let exact = i128::from(all) * i128::from(*rate);
                divide(exact, i128::from(PPM), RoundingMode::HalfUp).min(all)
            }
            CouponValue::Amount { amount } => amount.amount_minor.min(all),
        };
        if off == 0 {
            continue;
        }
        let shares = apportion(off, &left);
        for (left, share) in left.iter_mut().zip(shares) {
            *left -= share;
        }
        let amount = Money { amount_minor: off, currency };
        applied.push(AppliedCoupon { code: code.clone(), amount });
    }
    let taken = gross.iter().zip(left).map(|(gross, left)| gross - left).collect();
    (applied, taken)
}

/// Lines and carriage, in this order, in minor units.
struct Items {
    nets: Vec<i64>,
    taxes: Vec<i64>,
    rates: Vec<Rate>,
}

impl Items {
    fn new(basket: &Basket, gross: &[i64], discounts: &[i64]) -> Items {
        let carriage = basket.shipping.iter().map(|option| option.amount.amount_minor);
        let lines = gross.iter().zip(discounts).map(|(gross, discount)| gross - discount);
        let nets: Vec<i64> = lines.chain(carriage).collect();
        let Some(taxation) = &basket.taxation else {
            let (taxes, rates) = (vec![0; nets.len()], vec![Rate::default(); nets.len()]);
            return Items { nets, taxes, rates };
        };
        let parts: Vec<Part<'_>> = parts(basket, &nets, taxation);
        let rates = parts.iter().map(|part| taxation.rate(part.class)).collect();
        let taxes = taxation.taxes(&parts);
        Items { nets, taxes, rates }
    }
}

fn parts<'a>(basket: &'a Basket, nets: &[i64], taxation: &'a Taxation) -> Vec<Part<'a>> {
    let lines = basket.lines.iter().map(|line| (line.line.quantity, line.tax_class.as_str()));
    let carriage = basket.shipping.iter().map(|_| (1, taxation.shipping_class.as_str()));
    let what = lines.chain(carriage).zip(nets);
    what.map(|((quantity, class), amount)| Part { amount: *amount, quantity, class }).collect()
}

/// The taxes of all parts, summed by class.
fn tax_lines(basket: &Basket, (nets, taxes): (&[i64], &[i64]), currency: Currency) -> Vec<TaxLine> {
    let Some(taxation) = &basket.taxation else { return vec![] };
    let mut sums: BTreeMap<&str, (i64, i64)> = BTreeMap::new();
    for (part, tax) in parts(basket, nets, taxation).into_iter().zip(taxes) {
        let within = if taxation.prices_include_tax { *tax } else { 0 };
        let sum = sums.entry(part.class).or_default();
        *sum = (sum.0 + part.amount - within, sum.1 + tax);
    }
    let money = |amount_minor| Money { amount_minor, currency };
    let line = |(class, (base, tax)): (&str, (i64, i64))| TaxLine {
        zone: taxation.zone.clone(),
        class: class.to_owned(),
        rate: taxation.rate(class),
        base: money(base),
        amount: money(tax),
    };
    let rated = sums.into_iter().filter(|(class, _)| taxation.rate(class) > Rate::default());
    rated.map(line).collect()
}

fn finish(basket: Basket, pricing: Pricing, currency: Currency) -> Result<Quote, PricingError> {
    let charges = charges(&basket, &pricing);
    let lines: Vec<OrderLine> = basket.lines.into_iter().map(|line| line.line).collect();
    let amounts = lines.iter().filter_map(OrderLine::total);
    let amounts = amounts.chain(charges.iter().map(|charge| charge.amount));
    if !are_bounded(amounts.clone()) {
        return Err(PricingError::OutOfRange);
    }
    let total = Money::sum(currency, amounts).ok_or(PricingError::OutOfRange)?;
    Ok(Quote { lines, charges, total, pricing, expires_at: basket.expires_at })
}

/// What is taken off or added to the lines.
fn charges(basket: &Basket, pricing: &Pricing) -> Vec<Charge> {
    let title_of = |code: &str| {
        let found = basket.discounts.iter().find(|discount| discount.code == code);
        found.map_or_else(|| code.to_owned(), |discount| discount.title.clone())
    };
    let coupons = pricing.coupons.iter().map(|coupon| Charge {
        kind: ChargeKind::Discount,
        code: coupon.code.clone(),
        title: title_of(&coupon.code),
        amount: Money { amount_minor: -coupon.amount.amount_minor, ..coupon.amount },
    });
    let carriage = pricing.shipping.iter().map(|shipping| Charge {
        kind: ChargeKind::Postage,
        code: shipping.code.clone(),
        title: shipping.title.clone(),
        amount: shipping.gross,
    });
    let on_top =
        pricing.tax.iter().filter(|tax| !pricing.prices_include_tax && tax.amount.amount_minor > 0);
    let tax = on_top.map(|tax| Charge {
        kind: ChargeKind::Tax,
        code: tax.class.clone(),
        title: format!("Tax {} {}", tax.zone, tax.rate),
        amount: tax.amount,
    });
    coupons.chain(carriage).chain(tax).collect()
}
