//! Tax of the parts of a purchase.

use std::collections::BTreeMap;

use event_schemas::quote::{PPM, Rate, Rounding, RoundingLevel};

use super::arithmetic::{apportion, divide};

/// Class of products that name none.
pub const STANDARD_CLASS: &str = "standard";

/// Characters of a tax class.
pub const TAX_CLASS_CHARS_MAX: usize = 40;

/// Whether a text is written as tax classes are: lower-case letters, digits, `-` and `_`.
pub fn is_tax_class(text: &str) -> bool {
    let fits = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-_".contains(&b);
    (1..=TAX_CLASS_CHARS_MAX).contains(&text.len()) && text.bytes().all(fits)
}

/// The tax rules of one place at one time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Taxation {
    /// Code of the zone the place is in; empty if it is in none, and nothing is taxed.
    pub zone: String,
    /// Whether prices come with the tax in them.
    pub prices_include_tax: bool,
    /// How tax is rounded.
    pub rounding: Rounding,
    /// Rate by class. A class that is not in it is not taxed.
    pub rates: BTreeMap<String, Rate>,
    /// Class of the carriage.
    pub shipping_class: String,
}

/// Something that is taxed: a line or the carriage.
pub(super) struct Part<'a> {
    /// What it costs after discounts, in minor units. Zero or more.
    pub(super) amount: i64,
    /// Units of it, at least one.
    pub(super) quantity: u32,
    /// Its class.
    pub(super) class: &'a str,
}

impl Taxation {
    /// The rate of a class.
    pub(super) fn rate(&self, class: &str) -> Rate {
        self.rates.get(class).copied().unwrap_or_default()
    }

    /// The tax of each part, in minor units: within its amount, or on top of it.
    pub(super) fn taxes(&self, parts: &[Part<'_>]) -> Vec<i64> {
        match self.rounding.level {
            RoundingLevel::Line => {
                parts.iter().map(|part| self.of(part.amount, self.rate(part.class))).collect()
            }
            RoundingLevel::Unit => parts.iter().map(|part| self.of_units(part)).collect(),
            RoundingLevel::Order => self.of_order(parts),
        }
    }

    /// The rounded tax of an amount.
    fn of(&self, amount: i64, Rate(rate): Rate) -> i64 {
        let whole = i128::from(PPM) + i128::from(if self.prices_include_tax { rate } else { 0 });
        divide(i128::from(amount) * i128::from(rate), whole, self.rounding.mode)
    }

    /// A discount need not come out even: some units then cost a minor unit more than others.
    fn of_units(&self, part: &Part<'_>) -> i64 {
        let (rate, quantity) = (self.rate(part.class), i64::from(part.quantity));
        let (each, dearer) = (part.amount / quantity, part.amount % quantity);
        self.of(each + 1, rate) * dearer + self.of(each, rate) * (quantity - dearer)
    }

    fn of_order(&self, parts: &[Part<'_>]) -> Vec<i64> {
        let mut taxes = vec![0; parts.len()];
        let mut classes: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
        for (index, part) in parts.iter().enumerate() {
            classes.entry(part.class).or_default().push(index);
        }
        for (class, members) in classes {
            let amounts: Vec<i64> = members.iter().map(|index| parts[*index].amount).collect();
            let tax = self.of(amounts.iter().sum(), self.rate(class));
            for (index, share) in members.into_iter().zip(apportion(tax, &amounts)) {
                taxes[index] = share;
            }
        }
        taxes
    }
}
