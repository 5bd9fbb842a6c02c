//! Numbers, prices, truth values and dates as files write them.

use chrono::{DateTime, Datelike as _, NaiveDate, NaiveDateTime, NaiveTime, Utc};
use event_schemas::money::{Currency, Money, MoneyError};
use rust_decimal::{Decimal, RoundingStrategy, prelude::ToPrimitive as _};

use super::{
    problem::{Problem, shown},
    table::Row,
};

/// Years an event of a shop may lie in; others are typing errors.
const YEARS: std::ops::RangeInclusive<i32> = 1970..=2100;

/// A currency by its ISO 4217 code.
pub(super) fn currency(code: &str) -> Result<Currency, Problem> {
    let known = Currency::from_code(code).filter(|currency| currency.exponent().is_some());
    known.ok_or_else(|| {
        let message = format!(
            "`{}` is no ISO 4217 currency; name one with --currency, such as GBP or EUR",
            shown(code)
        );
        Problem::of_file(message)
    })
}

/// A price: zero or more, with no more decimals than the currency has.
pub(super) fn price(row: &Row<'_>, column: &str, currency: Currency) -> Result<Money, Problem> {
    let text = row.get(column);
    let wrong = |what: &str| {
        let example = Money { amount_minor: 1250, currency };
        let example = example.to_decimal();
        row.problem(column, format!("`{}` {what}; write it like {example}", shown(text)))
    };
    if text.is_empty() {
        return Err(row.problem(column, "is empty; write a price, or 0 if it costs nothing"));
    }
    let money = Money::parse(text, currency).map_err(|error| match error {
        MoneyError::NotANumber => wrong("is not a number"),
        MoneyError::TooPrecise => wrong(&format!("has more decimals than {} has", currency.code())),
        MoneyError::TooLarge => wrong("is too large"),
    })?;
    if money.amount_minor < 0 {
        return Err(
            row.problem(column, format!("`{}` is negative; a price is 0 or more", shown(text)))
        );
    }
    if money.amount_minor > domain::catalog::PRICE_MINOR_MAX {
        return Err(wrong("is too large"));
    }
    Ok(money)
}

/// A whole number, with a sign or without.
pub(super) fn whole(row: &Row<'_>, column: &str) -> Result<i64, Problem> {
    let text = row.get(column);
    text.parse().map_err(|_| {
        let message = match text {
            "" => "is empty; write a whole number".to_owned(),
            _ => format!("`{}` is not a whole number; write it like 12", shown(text)),
        };
        row.problem(column, message)
    })
}

/// A weight in grams, rounded to whole ones; none if it is empty or 0, which is how Shopify writes
/// that nobody weighed it.
pub(super) fn grams(row: &Row<'_>, column: &str) -> Result<Option<u32>, Problem> {
    let text = row.get(column);
    if text.is_empty() {
        return Ok(None);
    }
    let weight = Decimal::from_str_exact(text).ok().filter(|weight| !weight.is_sign_negative());
    let rounded =
        weight.map(|it| it.round_dp_with_strategy(0, RoundingStrategy::MidpointAwayFromZero));
    match rounded.and_then(|weight| weight.to_u32()) {
        Some(0) => Ok(None),
        Some(grams) => Ok(Some(grams)),
        None => {
            let message = format!("`{}` is not a weight in grams; write it like 250", shown(text));
            Err(row.problem(column, message))
        }
    }
}

/// `true` or `false` in the spellings of spreadsheets; `empty` for an empty field.
pub(super) fn truth(row: &Row<'_>, column: &str, empty: bool) -> Result<bool, Problem> {
    match row.get(column).to_ascii_lowercase().as_str() {
        "" => Ok(empty),
        "true" | "yes" | "1" => Ok(true),
        "false" | "no" | "0" => Ok(false),
        other => Err(row.problem(column, format!("`{}` is neither true nor false", shown(other)))),
    }
}

/// A day like `1/12/2010` (day first), or with a time like `1/12/2010 8:26`, as UTC.
pub(super) fn moment(row: &Row<'_>, column: &str) -> Result<DateTime<Utc>, Problem> {
    let text = row.get(column);
    let day = || Some(NaiveDate::parse_from_str(text, "%d/%m/%Y").ok()?.and_time(NaiveTime::MIN));
    let minute = || NaiveDateTime::parse_from_str(text, "%d/%m/%Y %H:%M").ok();
    let moment = day().or_else(minute).filter(|moment| YEARS.contains(&moment.year()));
    moment.map(|moment| moment.and_utc()).ok_or_else(|| {
        let message = format!(
            "`{}` is not a date; write it like 1/12/2010 or 1/12/2010 8:26, day first",
            shown(text)
        );
        row.problem(column, message)
    })
}
