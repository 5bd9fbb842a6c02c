//! Who is asking, for which store, and whether they may.
//!
//! A route is declared with the permission it needs ([`crate::routes::Api`]); the gate in front of
//! it verifies the token and leaves a [`Caller`] for the handler. A handler that forgets to ask is
//! still behind the gate.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use axum::extract::{FromRequestParts, Request};
use axum::http::request::Parts;
use axum::http::{Extensions, HeaderMap, Method, header};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use chrono::{DateTime, Utc};
use event_schemas::ids::{ActorId, StoreId};
use tokio::time::Instant;
use uuid::Uuid;

use crate::edge::Edge;
use crate::journal::Attempt;
use crate::load::{Class, Place};
use crate::problem::{FieldError, Problem};

pub use token::{BadKey, Claims, TokenError, TokenKeys, TokenRequest};

mod token;

/// What a token can allow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Permission {
    ProductsRead,
    ProductsWrite,
    StockRead,
    StockWrite,
    CheckoutsRead,
    CheckoutsWrite,
    OrdersRead,
    OrdersWrite,
    PricingRead,
    PricingWrite,
    FulfilmentsWrite,
    PaymentsRead,
    AnalyticsRead,
    AuditRead,
    EventsRead,
    StoreRead,
    StoreWrite,
}

impl Permission {
    /// Every permission, for tokens of developers.
    pub const ALL: &[Permission] = &[
        Permission::ProductsRead,
        Permission::ProductsWrite,
        Permission::StockRead,
        Permission::StockWrite,
        Permission::CheckoutsRead,
        Permission::CheckoutsWrite,
        Permission::OrdersRead,
        Permission::OrdersWrite,
        Permission::PricingRead,
        Permission::PricingWrite,
        Permission::FulfilmentsWrite,
        Permission::PaymentsRead,
        Permission::AnalyticsRead,
        Permission::AuditRead,
        Permission::EventsRead,
        Permission::StoreRead,
        Permission::StoreWrite,
    ];

    /// As in the `scope` of a token and `x-permission` of the document.
    pub fn as_str(self) -> &'static str {
        match self {
            Permission::ProductsRead => "products:read",
            Permission::ProductsWrite => "products:write",
            Permission::StockRead => "stock:read",
            Permission::StockWrite => "stock:write",
            Permission::CheckoutsRead => "checkouts:read",
            Permission::CheckoutsWrite => "checkouts:write",
            Permission::OrdersRead => "orders:read",
            Permission::OrdersWrite => "orders:write",
            Permission::PricingRead => "pricing:read",
            Permission::PricingWrite => "pricing:write",
            Permission::FulfilmentsWrite => "fulfilments:write",
            Permission::PaymentsRead => "payments:read",
            Permission::AnalyticsRead => "analytics:read",
            Permission::AuditRead => "audit:read",
            Permission::EventsRead => "events:read",
            Permission::StoreRead => "store:read",
            Permission::StoreWrite => "store:write",
        }
    }
}

impl fmt::Display for Permission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The text names no permission.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a permission")]
pub struct UnknownPermission;

impl FromStr for Permission {
    type Err = UnknownPermission;

    fn from_str(text: &str) -> Result<Permission, UnknownPermission> {
        let found = Permission::ALL.iter().find(|permission| permission.as_str() == text);
        found.copied().ok_or(UnknownPermission)
    }
}

/// Id of one request: the client's `X-Request-Id` if it is sane, else one of ours. At most 128
/// characters, letters, digits and `._:-` only, so that it is safe in headers and logs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestId(Arc<str>);

impl RequestId {
    const MAX_CHARS: usize = 128;

    /// The client's id, unless it is too long or has characters that do not belong into a log.
    pub(crate) fn of_client(text: &str) -> Option<RequestId> {
        let sane = |byte: u8| byte.is_ascii_alphanumeric() || b"._:-".contains(&byte);
        let fits = !text.is_empty() && text.len() <= RequestId::MAX_CHARS;
        (fits && text.bytes().all(sane)).then(|| RequestId(text.into()))
    }

    pub(crate) fn of_uuid(id: Uuid) -> RequestId {
        RequestId(id.to_string().into())
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The two names of one request.
#[derive(Clone, Debug)]
pub(crate) struct RequestIds {
    /// What the client knows.
    pub(crate) request_id: RequestId,
    /// What everything caused by the request carries. Equals `request_id` if that is a UUID.
    pub(crate) correlation_id: Uuid,
}

/// Someone whose identity is verified and whose permission is not.
///
/// Handlers need a [`Caller`], and [`Visitor::may`] is the only way to one.
#[derive(Clone, Debug)]
pub struct Visitor {
    pub actor_id: ActorId,
    pub store_id: StoreId,
    pub store_slug: String,
    pub request_id: RequestId,
    pub correlation_id: Uuid,
    pub permissions: Vec<Permission>,
    /// When the token ends.
    pub expires_at: DateTime<Utc>,
}

/// Someone allowed to do what the handler is about to do, in this one store.
///
/// As an extractor it is what the gate of the route left; it never fails behind
/// [`crate::routes::Api::route`].
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Caller {
    pub actor_id: ActorId,
    pub store_id: StoreId,
    /// Of the token, for people; `store_id` is what counts.
    pub store_slug: String,
    pub request_id: RequestId,
    pub correlation_id: Uuid,
    /// When the token ends: for answers that go on.
    pub expires_at: DateTime<Utc>,
}

impl Visitor {
    /// `403` unless the token allows it.
    pub fn may(self, permission: Permission) -> Result<Caller, Problem> {
        if !self.permissions.contains(&permission) {
            let detail = format!("the token lacks the permission {permission}");
            return Err(Problem::new("forbidden")
                .detail(detail)
                .extra("permission", permission.as_str()));
        }
        let Visitor { actor_id, store_id, store_slug, request_id, correlation_id, .. } = self;
        let expires_at = self.expires_at;
        Ok(Caller { actor_id, store_id, store_slug, request_id, correlation_id, expires_at })
    }

    /// `403` for a client that names a store and has a token of another one.
    fn in_store(self, headers: &HeaderMap) -> Result<Visitor, Problem> {
        let own = [self.store_id.to_string(), self.store_slug.clone()];
        let same = |value: &str| own.iter().any(|name| name == value);
        let mut named = headers.get_all("x-store-id").iter();
        if named.all(|value| value.to_str().is_ok_and(same)) {
            return Ok(self);
        }
        Err(Problem::new("wrong_store"))
    }

    /// Verifies the token of a request. `401` without a valid one.
    fn of(headers: &HeaderMap, extensions: &Extensions) -> Result<Visitor, Problem> {
        let edge = Edge::of(extensions)?;
        let ids = extensions.get::<RequestIds>().ok_or_else(crate::edge::missing)?;
        let token = bearer(headers).ok_or_else(|| Problem::new("unauthenticated"))?;
        let claims = edge.keys().verify(token, edge.now()).map_err(refusal)?;
        let Claims { actor_id, store_id, store_slug, permissions, expires_at } = claims;
        let RequestIds { request_id, correlation_id } = ids.clone();
        Ok(Visitor {
            actor_id,
            store_id,
            store_slug,
            request_id,
            correlation_id,
            permissions,
            expires_at,
        })
    }
}

/// The one token of the request; two `Authorization` headers are none.
fn bearer(headers: &HeaderMap) -> Option<&str> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let (value, None) = (values.next()?, values.next()) else { return None };
    let (scheme, token) = value.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

fn refusal(error: TokenError) -> Problem {
    // Never which check failed: that helps only those who forge.
    tracing::info!(%error, "token refused");
    match error {
        TokenError::Expired => Problem::new("token_expired"),
        TokenError::Invalid | TokenError::NotYetValid => Problem::new("unauthenticated"),
    }
}

/// What stands in front of the handlers of one address.
#[derive(Debug)]
pub(crate) struct Gate {
    pub(crate) permission: Permission,
    pub(crate) class: Class,
    /// Id of each operation behind it, by method.
    pub(crate) operations: Vec<(Method, String)>,
    /// Whether a read of it takes parameters beside those in its path.
    pub(crate) takes_query: bool,
}

impl Gate {
    /// Lets those through whose token allows it, as long as there is a place for them.
    pub(crate) async fn admit(&self, request: Request, next: Next) -> Response {
        let edge = match Edge::of(request.extensions()) {
            Ok(edge) => edge.clone(),
            Err(problem) => return problem.into_response(),
        };
        // The place comes first: in a crowd, verifying tokens would be what there is no time for.
        let Some(place) = Place::take(&edge, self.class) else {
            return crate::edge::shed(request).await;
        };
        let visitor = match Visitor::of(request.headers(), request.extensions()) {
            Ok(visitor) => visitor,
            Err(problem) => {
                drop(place);
                return crate::edge::refuse(request, problem).await;
            }
        };
        let attempt = Attempt::of(&visitor, &request);
        let response = self.pass(visitor, place, request, next).await;
        let refused = attempt.and_then(|attempt| attempt.refused(&response, &self.operations));
        if let Some(refused) = refused {
            edge.note(refused);
        }
        response
    }

    /// A parameter that nobody would look at: the client believes that it has an effect.
    fn ignores(&self, request: &Request) -> bool {
        let asks = request.uri().query().is_some_and(|query| !query.is_empty());
        asks && request.method().is_safe() && !self.takes_query
    }

    async fn pass(
        &self,
        visitor: Visitor,
        place: Place,
        mut request: Request,
        next: Next,
    ) -> Response {
        let visitor = visitor.in_store(request.headers());
        match visitor.and_then(|visitor| visitor.may(self.permission)) {
            Ok(_) if self.ignores(&request) => {
                drop(place);
                let detail = "nothing but the address is asked for here";
                let name = request.uri().query().unwrap_or_default();
                let name = name.split(['=', '&']).next().unwrap_or_default();
                let error = FieldError::parameter(name, "unknown_field", detail);
                let problem = Problem::new("unknown_parameter").detail(detail).error(error);
                crate::edge::refuse(request, problem).await
            }
            Ok(caller) => {
                tracing::Span::current().record("store", caller.store_slug.as_str());
                request.extensions_mut().insert(caller);
                request.extensions_mut().insert(self.class);
                let response = next.run(request).await;
                drop(place);
                response
            }
            Err(problem) => {
                drop(place);
                crate::edge::refuse(request, problem).await
            }
        }
    }
}

impl<S: Sync> FromRequestParts<S> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Caller, Problem> {
        let caller = parts.extensions.get::<Caller>().cloned();
        caller.ok_or_else(|| Problem::internal("a route without a permission asks for a caller"))
    }
}

/// When the token of the request ends, for answers that go on.
#[derive(Clone, Copy, Debug)]
pub struct Expiry(pub Instant);

impl<S: Sync> FromRequestParts<S> for Expiry {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Expiry, Problem> {
        let caller = Caller::from_request_parts(parts, state).await?;
        let now = Edge::of(&parts.extensions)?.now();
        let left = (caller.expires_at - now).to_std().unwrap_or_default();
        Ok(Expiry(Instant::now() + left))
    }
}

#[cfg(test)]
mod tests;
