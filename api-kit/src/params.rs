//! Query and path parameters whose refusal is a problem.

use axum::extract::FromRequestParts;
use axum::extract::path::ErrorKind;
use axum::extract::rejection::PathRejection;
use axum::http::request::Parts;
use chrono::{DateTime, Datelike as _, NaiveDate, Utc};
use serde::de::{DeserializeOwned, Error as _};
use serde::{Deserialize, Deserializer};

use crate::body::{quoted, reason};
use crate::problem::{FieldError, Problem};

/// The query as `T`, which derives `Deserialize` with `deny_unknown_fields`.
///
/// `422 unknown_parameter` names those that exist; `422 validation_failed` names the one that has
/// a bad value. `#[serde(flatten)]` does not work in `T`: all values would be texts.
#[derive(Clone, Copy, Debug)]
pub struct Query<T>(pub T);

/// The parameters of the address as `T`.
///
/// `422 wrong_id_type` for an id of something else, `404` for anything that is no id.
#[derive(Clone, Copy, Debug)]
pub struct Path<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Query<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Query<T>, Problem> {
        let pairs = axum::extract::Query::<Vec<(String, String)>>::try_from_uri(&parts.uri);
        let axum::extract::Query(pairs) = pairs.map_err(Problem::internal)?;
        if let Some((name, _)) = pairs.iter().find(|(_, value)| value.contains('\0')) {
            let detail = "must not contain the character U+0000";
            let error = FieldError::parameter(name, "nul_character", detail);
            return Err(Problem::new("validation_failed").error(error));
        }
        match axum::extract::Query::<T>::try_from_uri(&parts.uri) {
            Ok(axum::extract::Query(value)) => Ok(Query(value)),
            Err(rejection) => Err(refused(&pairs, &rejection.body_text())),
        }
    }
}

/// `text` is `Failed to …: name: what serde says`; the name is missing if serde knows none.
fn refused(pairs: &[(String, String)], text: &str) -> Problem {
    let text = text.strip_prefix("Failed to deserialize query string: ").unwrap_or(text);
    let named = pairs.iter().find_map(|(name, _)| {
        let message = text.strip_prefix(name.as_str())?.strip_prefix(": ")?;
        Some((name.as_str(), message))
    });
    let (name, message) = named.unwrap_or_else(|| (quoted(text).unwrap_or_default(), text));
    let code = reason(message);
    let error = FieldError::parameter(name, code, message);
    match code {
        "unknown_field" => Problem::new("unknown_parameter").detail(message).error(error),
        _ => Problem::new("validation_failed").error(error),
    }
}

impl<T: DeserializeOwned + Send, S: Send + Sync> FromRequestParts<S> for Path<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Path<T>, Problem> {
        let path = axum::extract::Path::<T>::from_request_parts(parts, state).await;
        match path {
            Ok(axum::extract::Path(value)) => Ok(Path(value)),
            Err(PathRejection::FailedToDeserializePathParams(error)) => {
                Err(no_such_path(error.kind()))
            }
            Err(other) => Err(Problem::internal(other)),
        }
    }
}

fn no_such_path(kind: &ErrorKind) -> Problem {
    let message = match kind {
        ErrorKind::DeserializeError { message, .. } | ErrorKind::Message(message) => message,
        ErrorKind::UnsupportedType { .. } | ErrorKind::WrongNumberOfParameters { .. } => {
            return Problem::internal(format!("address and handler differ: {kind}"));
        }
        _ => return Problem::new("not_found"),
    };
    match reason(message) {
        "wrong_id_type" => Problem::new("wrong_id_type").detail(message.as_str()),
        _ => Problem::new("not_found"),
    }
}

/// Refuses years PostgreSQL or arithmetic on dates cannot take.
///
/// For `#[serde(default, deserialize_with = "api_kit::params::date")]` on an `Option<NaiveDate>`.
pub fn date<'de, D: Deserializer<'de>>(from: D) -> Result<Option<NaiveDate>, D::Error> {
    let date = Option::<NaiveDate>::deserialize(from)?;
    match date {
        Some(date) if !sane_year(date.year()) => Err(D::Error::custom("year is out of range")),
        date => Ok(date),
    }
}

/// As [`date`], for an `Option<DateTime<Utc>>`.
pub fn time<'de, D: Deserializer<'de>>(from: D) -> Result<Option<DateTime<Utc>>, D::Error> {
    let time = Option::<DateTime<Utc>>::deserialize(from)?;
    match time {
        Some(time) if !sane_year(time.year()) => Err(D::Error::custom("year is out of range")),
        time => Ok(time),
    }
}

/// Years a shop has business in, with room for "for ever".
pub fn sane_year(year: i32) -> bool {
    (1..=9999).contains(&year)
}

#[cfg(test)]
mod tests;
