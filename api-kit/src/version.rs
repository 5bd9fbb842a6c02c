//! Versions of resources: `ETag` out, `If-Match` in.

use std::convert::Infallible;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponseParts, ResponseParts};

use crate::problem::{FieldError, Problem};

/// Header `ETag: "v17"`: the version of the stream behind the answer.
#[derive(Clone, Copy, Debug)]
pub struct Etag(pub i64);

/// What the client wants to be unchanged.
///
/// Understood are `"v17"`, `*` and none. A weak `W/"v17"` counts as `"v17"`: it is ours, weakened
/// by a proxy that compresses. So does `"v17-…"`, which names an answer that shows more than the
/// resource: the version is what must be unchanged. Anything else is `400 malformed_header`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IfMatch {
    /// No `If-Match`.
    Absent,
    /// `*`: any version, as long as the resource exists.
    Any,
    /// `"v17"`.
    Version(i64),
}

impl IfMatch {
    /// The version to expect, for commands where the header is optional.
    pub fn expected(self) -> Option<i64> {
        match self {
            IfMatch::Absent | IfMatch::Any => None,
            IfMatch::Version(version) => Some(version),
        }
    }

    /// The version to expect, for commands that overwrite; `428` without the header.
    pub fn required(self) -> Result<Option<i64>, Problem> {
        match self {
            IfMatch::Absent => Err(Problem::new("precondition_required")),
            IfMatch::Any | IfMatch::Version(_) => Ok(self.expected()),
        }
    }
}

impl<S: Sync> FromRequestParts<S> for IfMatch {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<IfMatch, Problem> {
        let mut values = parts.headers.get_all(header::IF_MATCH).iter();
        let Some(value) = values.next() else { return Ok(IfMatch::Absent) };
        let condition = value.to_str().ok().and_then(condition);
        condition.filter(|_| values.next().is_none()).ok_or_else(|| {
            let detail = "one ETag of ours, such as \"v17\", or *";
            let error = FieldError::parameter("If-Match", "invalid", detail);
            Problem::new("malformed_header").error(error)
        })
    }
}

fn condition(text: &str) -> Option<IfMatch> {
    let text = text.trim();
    if text == "*" {
        return Some(IfMatch::Any);
    }
    let tag = text.strip_prefix("W/").unwrap_or(text);
    let version = tag.strip_prefix("\"v")?.strip_suffix('"')?;
    let (digits, answer) = version.split_once('-').unwrap_or((version, "-"));
    if answer.is_empty() || answer.contains('"') {
        return None;
    }
    number(digits).map(IfMatch::Version)
}

/// A whole number from 0, digits only: `i64::from_str` would also take a sign.
pub(crate) fn number(digits: &str) -> Option<i64> {
    if !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    digits.parse().ok()
}

impl IntoResponseParts for Etag {
    type Error = Infallible;

    fn into_response_parts(self, mut parts: ResponseParts) -> Result<ResponseParts, Infallible> {
        let tag = HeaderValue::try_from(format!("\"v{}\"", self.0));
        parts.headers_mut().insert(header::ETAG, tag.expect("a number is a header value"));
        Ok(parts)
    }
}

#[cfg(test)]
mod tests;
