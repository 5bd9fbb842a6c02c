//! Reports: sales by time, products, customers. Each currency stands for itself; nothing is
//! converted. Averages are rounded to the minor unit, half away from zero.

use api_kit::{Api, FieldError, Permission, Problem};
use chrono::NaiveDate;
use chrono_tz::Tz;
use event_schemas::money::Money;
use projections::analytics::RangeError;
use rust_decimal::prelude::ToPrimitive as _;
use rust_decimal::{Decimal, RoundingStrategy};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer};
use utoipa_axum::routes;

use crate::reads::Reads;
use crate::value::money;

mod customers;
mod products;
mod sales;

pub(crate) fn api() -> Api<Reads> {
    Api::new()
        .route(Permission::AnalyticsRead, routes!(sales::sales))
        .route(Permission::AnalyticsRead, routes!(products::products))
        .route(Permission::AnalyticsRead, routes!(customers::customers))
        .route(Permission::AnalyticsRead, routes!(customers::customer))
}

/// A day of a year that PostgreSQL and arithmetic on dates can take.
fn day<'de, D: Deserializer<'de>>(from: D) -> Result<NaiveDate, D::Error> {
    let date = api_kit::params::date(from)?;
    date.ok_or_else(|| D::Error::custom("must be a day such as 2010-12-01"))
}

fn utc() -> Tz {
    Tz::UTC
}

fn zone<'de, D: Deserializer<'de>>(from: D) -> Result<Tz, D::Error> {
    let name = String::deserialize(from)?;
    name.parse().map_err(|_| {
        D::Error::custom("must be a name of the IANA time zone database such as Europe/London")
    })
}

/// `None` if nothing was counted.
fn average(sum_minor: i64, count: i64, currency: &str) -> Option<Money> {
    let exact = Decimal::from(sum_minor).checked_div(Decimal::from(count))?;
    let rounded = exact.round_dp_with_strategy(0, RoundingStrategy::MidpointAwayFromZero);
    rounded.to_i64().map(|minor| money(minor, currency))
}

fn bad_range(error: RangeError) -> Problem {
    let code = match error {
        RangeError::Backwards => "before_date_from",
        RangeError::TooLong => "too_long",
    };
    Problem::new("validation_failed").error(FieldError::parameter(
        "dateTo",
        code,
        error.to_string(),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_average_is_exact_until_it_is_rounded_half_away_from_zero() {
        let of = |sum, count| average(sum, count, "GBP").map(|money| money.amount_minor);
        assert_eq!(of(100, 3), Some(33));
        assert_eq!(of(5, 2), Some(3));
        assert_eq!(of(-5, 2), Some(-3));
        assert_eq!(of(i64::MAX, 1), Some(i64::MAX));
        assert_eq!(of(7, 0), None);
    }
}
