//! What commands answer.

use std::convert::Infallible;
use std::fmt::Display;

use api_kit::{Etag, Position, Replayed};
use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponseParts, ResponseParts};
use commands::Done;
use fail::fail_point;
use serde::Serialize;

/// What a command came to.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = Done, example = json!({ "id": "prd_01JD5Z7M2K0000000000000000", "version": 3, "position": 184_467 }))]
pub(crate) struct DoneBody {
    /// What was changed.
    id: String,
    /// Its version after the command, as in `ETag`.
    version: i64,
    /// Position of its last event, as in `X-Position`; send it as `X-Min-Position` to read it.
    position: i64,
}

impl DoneBody {
    pub(crate) fn new(id: impl Display, done: Done) -> DoneBody {
        DoneBody { id: id.to_string(), version: done.version, position: done.position }
    }
}

/// Headers of every answer to a command.
pub(crate) type Headers = (Etag, Position, Replayed);

pub(crate) fn headers(done: Done) -> Headers {
    fail_point!("write-api::before-reply");
    (Etag(done.version), Position(done.position), Replayed(done.replayed))
}

/// `200` with version and position of what was changed.
pub(crate) fn done(id: impl Display, done: Done) -> (Headers, Json<DoneBody>) {
    (headers(done), Json(DoneBody::new(id, done)))
}

/// Header `Location` of what was created.
pub(crate) struct Location(String);

/// `201` with the address of what was created in `collection`.
pub(crate) fn created<T: Serialize>(
    collection: &str,
    id: impl Display,
    done: Done,
    body: T,
) -> (StatusCode, Headers, Location, Json<T>) {
    let location = Location(format!("/api/v1/{collection}/{id}"));
    (StatusCode::CREATED, headers(done), location, Json(body))
}

impl IntoResponseParts for Location {
    type Error = Infallible;

    fn into_response_parts(self, mut parts: ResponseParts) -> Result<ResponseParts, Infallible> {
        let address = HeaderValue::try_from(self.0);
        parts.headers_mut().insert(header::LOCATION, address.expect("an address is visible ASCII"));
        Ok(parts)
    }
}
