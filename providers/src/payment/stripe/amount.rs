//! Amounts as Stripe counts them: docs.stripe.com/currencies.

use event_schemas::money::{Currency, Money};

/// Currencies whose smallest unit at Stripe is not that of ISO 4217, or of which its documentation
/// says both: charging a hundredfold by mistake is worse than not charging at all.
const OTHER_UNITS: [Currency; 3] = [Currency::ISK, Currency::MGA, Currency::UGX];

/// What Stripe is told; none if it cannot take exactly this.
pub(super) fn to_stripe(money: Money) -> Option<i64> {
    let whole = money.currency.exponent() != Some(3) || money.amount_minor % 10 == 0;
    (whole && money.amount_minor > 0 && !OTHER_UNITS.contains(&money.currency))
        .then_some(money.amount_minor)
}

/// The code as Stripe writes it.
pub(super) fn code(currency: Currency) -> String {
    currency.code().to_lowercase()
}

/// What Stripe says; none if we know no such currency.
pub(super) fn of_stripe(amount: i64, currency: &str) -> Option<Money> {
    let currency = Currency::from_code(&currency.to_uppercase())?;
    Some(Money { amount_minor: amount, currency })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_that_stripe_counts_otherwise_are_not_charged() {
        let of = |amount_minor, currency| to_stripe(Money { amount_minor, currency });
        assert_eq!(of(1299, Currency::GBP), Some(1299));
        assert_eq!(of(500, Currency::JPY), Some(500));
        assert_eq!(of(1290, Currency::KWD), Some(1290));
        assert_eq!(of(1299, Currency::KWD), None, "the last digit of three must be 0");
        assert_eq!(of(500, Currency::ISK), None);
        assert_eq!(of(0, Currency::GBP), None);
        assert_eq!(of(-5, Currency::GBP), None);
    }
}
