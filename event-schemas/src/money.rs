//! Amounts of money: integers of the smallest unit, never floats.

pub use iso_currency::Currency;
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};

/// An amount in the currency's smallest unit: `1250` EUR is 12.50 €, `1250` JPY is 1250 ¥.
///
/// Negative amounts are refunds, discounts and corrections. There are no fractions of a minor
/// unit: whoever divides decides, at the place of division, where the remainder goes (see
/// [`Money::split`]).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Money {
    /// Count of minor units.
    #[schema(example = 1299)]
    pub amount_minor: i64,
    /// Currency of `amount_minor`, an ISO 4217 code.
    #[schema(value_type = String, example = "GBP")]
    pub currency: Currency,
}

/// Why a text or a decimal is not an amount.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MoneyError {
    /// Not a decimal number such as `12.50`.
    #[error("not a decimal number")]
    NotANumber,
    /// More decimals than the currency has: `1.234` EUR.
    #[error("more decimals than the currency has")]
    TooPrecise,
    /// Does not fit in 64 bits of minor units.
    #[error("amount is too large")]
    TooLarge,
}

impl Money {
    /// Nothing, in a currency.
    pub fn zero(currency: Currency) -> Money {
        Money { amount_minor: 0, currency }
    }

    /// Reads `12.50` exactly: an amount with more decimals than the currency has is refused, not
    /// rounded. Accepts a sign and at most 28 digits; no exponent, no thousands separator.
    pub fn parse(text: &str, currency: Currency) -> Result<Money, MoneyError> {
        let amount = Decimal::from_str_exact(text).map_err(|_| MoneyError::NotANumber)?;
        let scale = decimals(currency);
        let amount = amount.normalize();
        if amount.scale() > scale {
            return Err(MoneyError::TooPrecise);
        }
        let factor = Decimal::from(10_u64.pow(scale));
        let minor = amount.checked_mul(factor).ok_or(MoneyError::TooLarge)?;
        let amount_minor = i64::try_from(minor).map_err(|_| MoneyError::TooLarge)?;
        Ok(Money { amount_minor, currency })
    }

    /// The amount in major units, with the currency's decimals: `12.50`.
    pub fn to_decimal(self) -> Decimal {
        Decimal::new(self.amount_minor, decimals(self.currency))
    }

    /// Adds two amounts. `None` if the currencies differ or the sum does not fit.
    pub fn checked_add(self, other: Money) -> Option<Money> {
        if self.currency != other.currency {
            return None;
        }
        let amount_minor = self.amount_minor.checked_add(other.amount_minor)?;
        Some(Money { amount_minor, ..self })
    }

    /// Subtracts an amount. `None` if the currencies differ or the difference does not fit.
    pub fn checked_sub(self, other: Money) -> Option<Money> {
        self.checked_add(other.checked_neg()?)
    }

    /// The same amount the other way. `None` if it does not fit.
    pub fn checked_neg(self) -> Option<Money> {
        Some(Money { amount_minor: self.amount_minor.checked_neg()?, ..self })
    }

    /// `count` times the amount. `None` if it does not fit.
    pub fn checked_mul(self, count: i64) -> Option<Money> {
        Some(Money { amount_minor: self.amount_minor.checked_mul(count)?, ..self })
    }

    /// Adds up amounts of one currency; `None` if one differs or the sum does not fit.
    pub fn sum(currency: Currency, amounts: impl IntoIterator<Item = Money>) -> Option<Money> {
        amounts.into_iter().try_fold(Money::zero(currency), Money::checked_add)
    }

    /// Splits an amount in proportion to `weights`, losing nothing.
    ///
    /// `amount_minor` must be `>= 0` and `weights` must hold at least one value above zero;
    /// otherwise `None`. One part per weight, in the same order; the parts add up to the whole.
    /// Units that rounding leaves over go to the first parts with a weight above zero, one each.
    pub fn split(self, weights: &[u32]) -> Option<Vec<Money>> {
        let total: i128 = weights.iter().map(|&weight| i128::from(weight)).sum();
        if total == 0 || self.amount_minor < 0 {
            return None;
        }
        let whole = i128::from(self.amount_minor);
        let floors = weights.iter().map(|&weight| whole * i128::from(weight) / total);
        let mut parts: Vec<i64> = floors.map(i64::try_from).collect::<Result<_, _>>().ok()?;
        let left = usize::try_from(self.amount_minor - parts.iter().sum::<i64>()).ok()?;
        let weighted = parts.iter_mut().zip(weights).filter(|(_, weight)| **weight > 0);
        for (part, _) in weighted.take(left) {
            *part += 1;
        }
        Some(parts.into_iter().map(|amount_minor| Money { amount_minor, ..self }).collect())
    }
}

impl std::fmt::Display for Money {
    /// `12.50 GBP`.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.to_decimal(), self.currency.code())
    }
}

/// Decimals of a currency: 2 for GBP, 0 for JPY, 3 for KWD. Units without any (gold) have none.
fn decimals(currency: Currency) -> u32 {
    currency.exponent().map_or(0, u32::from)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_price_is_read_exactly_or_not_at_all() {
        let read = |text, currency| Money::parse(text, currency).map(|money| money.amount_minor);
        assert_eq!(read("2.55", Currency::GBP), Ok(255));
        assert_eq!(read("18", Currency::GBP), Ok(1800));
        assert_eq!(read("2.550", Currency::GBP), Ok(255));
        assert_eq!(read("-27.5", Currency::GBP), Ok(-2750));
        assert_eq!(read("1250", Currency::JPY), Ok(1250));
        assert_eq!(read("1.234", Currency::KWD), Ok(1234));
        assert_eq!(read("2.555", Currency::GBP), Err(MoneyError::TooPrecise));
        assert_eq!(read("1.5", Currency::JPY), Err(MoneyError::TooPrecise));
        assert_eq!(read("1e5", Currency::GBP), Err(MoneyError::NotANumber));
        assert_eq!(read("abc", Currency::GBP), Err(MoneyError::NotANumber));
        assert_eq!(read("", Currency::GBP), Err(MoneyError::NotANumber));
        assert_eq!(read("99999999999999999999", Currency::GBP), Err(MoneyError::TooLarge));
    }

    proptest! {
        #[test]
        fn an_amount_survives_its_decimal_form(amount_minor: i64) {
            let money = Money { amount_minor, currency: Currency::GBP };
            prop_assert_eq!(Money::parse(&money.to_decimal().to_string(), Currency::GBP), Ok(money));
        }

        #[test]
        fn parts_add_up_to_the_whole(amount_minor in 0..i64::MAX, weights: Vec<u32>) {
            let whole = Money { amount_minor, currency: Currency::GBP };
            if let Some(parts) = whole.split(&weights) {
                prop_assert_eq!(Money::sum(Currency::GBP, parts), Some(whole));
            } else {
                prop_assert_eq!(weights.iter().map(|&w| u64::from(w)).sum::<u64>(), 0);
            }
        }

        #[test]
        fn no_text_makes_the_parser_panic(text in ".*") {
            let _ = Money::parse(&text, Currency::GBP);
        }
    }
}
