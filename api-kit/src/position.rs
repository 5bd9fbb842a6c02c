//! Reading one's own writes: a write says its position, a read can ask to be that far.

use std::convert::Infallible;

use axum::extract::FromRequestParts;
use axum::http::HeaderValue;
use axum::http::request::Parts;
use axum::response::{IntoResponseParts, ResponseParts};

use crate::problem::{FieldError, Problem};
use crate::version::number;

/// Header `X-Position`: of the last event of a write, or how far a read model is.
#[derive(Clone, Copy, Debug)]
pub struct Position(pub i64);

/// Header `X-Min-Position`: the read must be at least this far. `None` without the header,
/// `400 malformed_header` unless it is a whole number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MinPosition(pub Option<i64>);

impl IntoResponseParts for Position {
    type Error = Infallible;

    fn into_response_parts(self, mut parts: ResponseParts) -> Result<ResponseParts, Infallible> {
        parts.headers_mut().insert("x-position", HeaderValue::from(self.0));
        Ok(parts)
    }
}

impl<S: Sync> FromRequestParts<S> for MinPosition {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<MinPosition, Problem> {
        let mut values = parts.headers.get_all("x-min-position").iter();
        let Some(value) = values.next() else { return Ok(MinPosition(None)) };
        let position = value.to_str().ok().and_then(number);
        if let (Some(position), None) = (position, values.next()) {
            return Ok(MinPosition(Some(position)));
        }
        let detail = "one whole number, as in X-Position";
        let error = FieldError::parameter("X-Min-Position", "invalid", detail);
        Err(Problem::new("malformed_header").error(error))
    }
}
