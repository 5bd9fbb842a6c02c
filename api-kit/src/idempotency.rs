//! The id of a command: the same `Idempotency-Key` is the same command.

use axum::extract::{FromRequestParts, OriginalUri};
use axum::http::request::Parts;
use axum::http::{HeaderMap, Method, Uri};
use axum::response::{IntoResponseParts, ResponseParts};
use event_schemas::ids::CommandId;
use sha2::{Digest as _, Sha256};

use crate::auth::Caller;
use crate::edge::Edge;
use crate::problem::{FieldError, Problem};

const HEADER: &str = "idempotency-key";
const MAX_CHARS: usize = 255;

/// Which command a request is, with or without `Idempotency-Key`.
///
/// `400 malformed_header` unless the key is one header of 1 to 255 visible ASCII characters.
#[derive(Clone, Debug)]
pub struct Idempotency {
    command_id: CommandId,
    keyed: bool,
    method: Method,
    uri: Uri,
}

/// As [`Idempotency`]; `400 idempotency_key_required` without a key.
#[derive(Clone, Debug)]
pub struct RequiredIdempotency(pub Idempotency);

/// Header `Idempotent-Replayed: true`, if the answer is of an earlier request.
#[derive(Clone, Copy, Debug)]
pub struct Replayed(pub bool);

impl Idempotency {
    /// Follows from store, actor, method, path and key; random without a key.
    pub fn command_id(&self) -> CommandId {
        self.command_id
    }

    /// Whether the client can repeat the request.
    pub fn is_keyed(&self) -> bool {
        self.keyed
    }

    /// Tells whether the same key came with the same request: SHA-256 of method, path, query and
    /// the digest of the body ([`crate::Body::digest`] or [`crate::NoBody::digest`]).
    pub fn fingerprint(&self, body_digest: &[u8; 32]) -> [u8; 32] {
        let target = self.uri.path_and_query().map_or("", |target| target.as_str());
        let mut hash = Sha256::new();
        for part in [self.method.as_str(), target] {
            // The length keeps ("ab", "c") and ("a", "bc") apart.
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part);
        }
        hash.update(body_digest);
        hash.finalize().into()
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Idempotency {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Idempotency, Problem> {
        let caller = Caller::from_request_parts(parts, state).await?;
        let OriginalUri(uri) = OriginalUri::from_request_parts(parts, state)
            .await
            .unwrap_or_else(|never| match never {});
        let method = parts.method.clone();
        let key = key(&parts.headers)?;
        let command_id = match key {
            Some(key) => CommandId::derive(&[
                caller.store_id.0.as_bytes(),
                caller.actor_id.0.as_bytes(),
                method.as_str().as_bytes(),
                uri.path().as_bytes(),
                key.as_bytes(),
            ]),
            None => CommandId(Edge::of(&parts.extensions)?.new_id()),
        };
        Ok(Idempotency { command_id, keyed: key.is_some(), method, uri })
    }
}

impl<S: Send + Sync> FromRequestParts<S> for RequiredIdempotency {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let idempotency = Idempotency::from_request_parts(parts, state).await?;
        if !idempotency.keyed {
            return Err(Problem::new("idempotency_key_required"));
        }
        Ok(RequiredIdempotency(idempotency))
    }
}

fn key(headers: &HeaderMap) -> Result<Option<&str>, Problem> {
    let mut values = headers.get_all(HEADER).iter();
    let Some(value) = values.next() else { return Ok(None) };
    let key = value.to_str().unwrap_or_default();
    let visible = key.bytes().all(|byte| byte.is_ascii_graphic());
    if values.next().is_none() && visible && (1..=MAX_CHARS).contains(&key.len()) {
        return Ok(Some(key));
    }
    let detail = "one key of 1 to 255 visible ASCII characters";
    let error = FieldError::parameter("Idempotency-Key", "invalid", detail);
    Err(Problem::new("malformed_header").error(error))
}

impl IntoResponseParts for Replayed {
    type Error = std::convert::Infallible;

    fn into_response_parts(self, mut parts: ResponseParts) -> Result<ResponseParts, Self::Error> {
        if self.0 {
            let value = axum::http::HeaderValue::from_static("true");
            parts.headers_mut().insert("idempotent-replayed", value);
        }
        Ok(parts)
    }
}

#[cfg(test)]
mod tests;
