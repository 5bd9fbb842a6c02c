//! Values as clients write and read them.

use event_schemas::money::{Currency, Money};
use serde::de::value::StrDeserializer;
use serde::de::{DeserializeOwned, Error, IntoDeserializer as _};
use serde::{Deserialize, Deserializer};

/// Characters of a search text or of a filter's value; more is no question.
const TEXT_CHARS_MAX: usize = 200;

/// An amount as a read model stores it.
pub(crate) fn money(amount_minor: i64, currency: &str) -> Money {
    let currency = Currency::from_code(currency);
    let currency = currency.expect("the currency of an event is an ISO 4217 code");
    Money { amount_minor, currency }
}

/// For a parameter that takes several values with commas between: any of them.
pub(crate) fn listed<'de, T, D>(from: D) -> Result<Vec<T>, D::Error>
where
    T: DeserializeOwned,
    D: Deserializer<'de>,
{
    let text = String::deserialize(from)?;
    let parsed = text.split(',').map(|part| {
        let part: StrDeserializer<'_, D::Error> = part.trim().into_deserializer();
        T::deserialize(part)
    });
    parsed.collect()
}

/// For a parameter that is a text.
pub(crate) fn text<'de, D: Deserializer<'de>>(from: D) -> Result<Option<String>, D::Error> {
    let text = String::deserialize(from)?;
    if text.chars().count() > TEXT_CHARS_MAX {
        return Err(D::Error::custom(format!("at most {TEXT_CHARS_MAX} characters")));
    }
    Ok(Some(text))
}

/// For a parameter that takes several texts with commas between: any of them.
pub(crate) fn texts<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<String>, D::Error> {
    let text = text(from)?.unwrap_or_default();
    Ok(text.split(',').map(|part| part.trim().to_owned()).collect())
}
