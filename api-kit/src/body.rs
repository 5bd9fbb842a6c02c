//! JSON bodies whose refusal is a problem that names the field.

use axum::RequestExt as _;
use axum::body::Bytes;
use axum::extract::{FromRequest, Request};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::IntoResponse as _;
use serde::de::DeserializeOwned;
use serde_json::Value;
use serde_json::error::Category;
use serde_path_to_error::{Path, Segment};
use sha2::{Digest as _, Sha256};

use crate::problem::{FieldError, Problem};

/// A body read as `T`, with the SHA-256 of its bytes for [`crate::Idempotency::fingerprint`].
///
/// `T` derives `Deserialize` with `deny_unknown_fields`. `400` if the bytes are not one JSON value
/// in UTF-8 or nested too deep, `413` too large, `415` not declared as JSON, `422` with a pointer
/// to the field if they are no `T` (wrong type, missing, unknown or repeated field, NUL).
#[derive(Clone, Debug)]
pub struct Body<T> {
    pub value: T,
    pub digest: [u8; 32],
}

/// No body, or `{}`: for commands that need none.
#[derive(Clone, Copy, Debug)]
pub struct NoBody {
    pub digest: [u8; 32],
}

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Body<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &S) -> Result<Body<T>, Problem> {
        let json = is_json(request.headers());
        let bytes = read(request).await?;
        if bytes.is_empty() {
            return Err(Problem::new("empty_body"));
        }
        if !json {
            return Err(Problem::new("unsupported_media_type"));
        }
        Ok(Body { value: parse(&bytes)?, digest: Sha256::digest(&bytes).into() })
    }
}

impl<S: Send + Sync> FromRequest<S> for NoBody {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &S) -> Result<NoBody, Problem> {
        let bytes = read(request).await?;
        let blank = bytes.trim_ascii();
        let none = blank.is_empty()
            || blank
                .strip_prefix(b"{")
                .and_then(|rest| rest.strip_suffix(b"}"))
                .is_some_and(|inside| inside.trim_ascii().is_empty());
        if !none {
            return Err(Problem::new("unexpected_body"));
        }
        // One digest for all ways to say nothing.
        Ok(NoBody { digest: Sha256::digest(b"").into() })
    }
}

/// The whole body, within the limit of the edge.
async fn read(request: Request) -> Result<Bytes, Problem> {
    request.extract::<Bytes, _>().await.map_err(|rejection| {
        match rejection.into_response().status() {
            StatusCode::PAYLOAD_TOO_LARGE => Problem::new("body_too_large"),
            _ => Problem::new("bad_request").detail("the body ended early"),
        }
    })
}

/// `application/json` and `application/<anything>+json`, with or without parameters.
fn is_json(headers: &HeaderMap) -> bool {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let kind = kind.and_then(|kind| kind.split(';').next()).unwrap_or_default();
    let kind = kind.trim().to_ascii_lowercase();
    let subtype = kind.strip_prefix("application/").unwrap_or_default();
    subtype == "json" || subtype.ends_with("+json")
}

/// Reads JSON as `T`; see [`Body`] for the refusals.
pub fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Problem> {
    // As any JSON first: a malformed text is `400` wherever its first wrong field is, and every
    // string is checked, also in parts `T` skips.
    let any: Value = serde_json::from_slice(bytes).map_err(malformed)?;
    if let Some(pointer) = nul(&any) {
        let detail = "text must not contain the character U+0000";
        return Err(Problem::invalid(&pointer, "nul_character", detail));
    }
    drop(any);
    // From the bytes again, not from the value, which has lost repeated fields.
    let mut json = serde_json::Deserializer::from_slice(bytes);
    serde_path_to_error::deserialize(&mut json).map_err(|error| {
        let path = error.path().clone();
        let cause = error.into_inner();
        if cause.classify() == Category::Data {
            let error = refused(&path, &cause.to_string());
            return Problem::new("validation_failed").error(error);
        }
        malformed(cause)
    })
}

fn malformed(error: serde_json::Error) -> Problem {
    Problem::new("malformed_json").detail(error.to_string())
}

/// Where a string or name has U+0000, which PostgreSQL cannot store.
fn nul(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => text.contains('\0').then(String::new),
        Value::Array(items) => items
            .iter()
            .enumerate()
            .find_map(|(index, item)| Some(format!("/{index}{}", nul(item)?))),
        Value::Object(members) => members.iter().find_map(|(name, member)| {
            if name.contains('\0') {
                return Some(String::new());
            }
            Some(format!("/{}{}", escape(name), nul(member)?))
        }),
        Value::Null | Value::Bool(_) | Value::Number(_) => None,
    }
}

/// A name as part of a JSON pointer.
fn escape(name: &str) -> String {
    name.replace('~', "~0").replace('/', "~1")
}

fn refused(path: &Path, message: &str) -> FieldError {
    // The position is of no use beside the pointer.
    let message = message.rsplit_once(" at line ").map_or(message, |(text, _)| text);
    let code = reason(message);
    // These errors are raised by the object around the field.
    let raised_outside = matches!(code, "missing" | "duplicate_field");
    let inner = quoted(message).filter(|_| raised_outside);
    let parts = path.iter().filter_map(|segment| match segment {
        Segment::Seq { index } => Some(index.to_string()),
        Segment::Map { key } => Some(escape(key)),
        Segment::Enum { .. } | Segment::Unknown => None,
    });
    let pointer: String =
        parts.chain(inner.map(escape)).flat_map(|part| ["/".to_owned(), part]).collect();
    FieldError::field(pointer, code, message)
}

/// The stable name for what serde says.
pub(crate) fn reason(message: &str) -> &'static str {
    let starts = |text| message.starts_with(text);
    if starts("missing field") {
        "missing"
    } else if starts("unknown field") {
        "unknown_field"
    } else if starts("duplicate field") {
        "duplicate_field"
    } else if starts("unknown variant") {
        "unknown_value"
    } else if starts("invalid type") {
        "wrong_type"
    } else if starts("expected an id that starts with") {
        "wrong_id_type"
    } else {
        "invalid"
    }
}

/// What stands between the first two backticks.
pub(crate) fn quoted(message: &str) -> Option<&str> {
    message.split('`').nth(1)
}

#[cfg(test)]
mod tests;
