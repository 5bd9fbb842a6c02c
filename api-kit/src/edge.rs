//! What every request passes: its id, its limits, its log line, and the promise that every error
//! is a problem document.

use std::any::Any;
use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::{Body, HttpBody as _};
use axum::extract::{DefaultBodyLimit, MatchedPath, Request, State};
use axum::http::{Extensions, HeaderName, HeaderValue, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use chrono::{DateTime, Utc};
use tokio::time::{Instant as Moment, timeout, timeout_at};
use tower_http::catch_panic::CatchPanicLayer;
use tracing::Instrument as _;
use uuid::Uuid;

use crate::auth::{RequestId, RequestIds, TokenKeys};
use crate::journal::Refused;
use crate::load::{Deadline, Limits, PATIENCE, Taken};
use crate::page::PageLinks;
use crate::problem::{Problem, codes};

/// Bytes of a request body. A product with 2,000 variants fits; imports have their own way.
pub const MAX_BODY_BYTES: usize = 1024 * 1024;

/// Bytes read and thrown away for a client that is refused before its body is read. A client that
/// still sends when the connection closes does not see the answer.
const MAX_DRAINED_BYTES: u64 = 16 * 1024 * 1024;

/// From the deadline of a request until it is ended in the middle of what it does: what reached the
/// database in time may end, and those time limits speak first and say more.
const GRACE: Duration = Duration::from_secs(5);

/// Bytes of a body that usually have arrived with the head, so that reading them costs no wait.
const SMALL_BODY_BYTES: u64 = 64 * 1024;

/// Longest wait for the body of a request that there is no place for.
const SHED_WAIT: Duration = Duration::from_millis(2);

/// What we ask of a client that there is no place for: places turn over within milliseconds.
const RETRY_AFTER: Duration = Duration::from_secs(1);

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Of API answers: nothing in them is to be shown as a page.
const API_POLICY: &str = "default-src 'none'; frame-ancestors 'none'";
/// Of the documentation pages, whose scripts and styles are our own files.
const PAGE_POLICY: &str = "default-src 'none'; script-src 'self'; \
    style-src 'self' 'unsafe-inline'; img-src 'self' data:; font-src 'self'; \
    connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// Keys, clock and ids of the HTTP edge. Cheap to clone.
#[derive(Clone)]
pub struct Edge(Arc<Parts>);

struct Parts {
    keys: TokenKeys,
    now: Box<dyn Fn() -> DateTime<Utc> + Send + Sync>,
    new_id: Box<dyn Fn() -> Uuid + Send + Sync>,
    limits: Limits,
    taken: Taken,
    journal: Box<dyn Fn(Refused) + Send + Sync>,
}

impl Edge {
    /// `now` and `new_id` are the program's clock and its source of ids.
    pub fn new(
        keys: TokenKeys,
        now: impl Fn() -> DateTime<Utc> + Send + Sync + 'static,
        new_id: impl Fn() -> Uuid + Send + Sync + 'static,
    ) -> Edge {
        Edge(Arc::new(Parts {
            keys,
            now: Box::new(now),
            new_id: Box::new(new_id),
            limits: Limits::default(),
            taken: Taken::default(),
            journal: Box::new(drop),
        }))
    }

    /// With other bounds than the default ones.
    pub fn limited(mut self, limits: Limits) -> Edge {
        self.parts().limits = limits;
        self
    }

    /// Tells `journal` of every refused command. It must neither wait nor fail.
    pub fn with_journal(mut self, journal: impl Fn(Refused) + Send + Sync + 'static) -> Edge {
        self.parts().journal = Box::new(journal);
        self
    }

    fn parts(&mut self) -> &mut Parts {
        Arc::get_mut(&mut self.0).expect("an edge is set up before it is shared")
    }

    /// Puts the edge in front of everything `router` serves. Call it once, last: `router` has all
    /// its routes and no fallback of its own.
    pub fn wrap(&self, router: Router) -> Router {
        router
            .fallback(no_route)
            .method_not_allowed_fallback(no_method)
            .layer(DefaultBodyLimit::max(MAX_BODY_BYTES))
            .layer(middleware::from_fn(limit))
            .layer(CatchPanicLayer::custom(panicked))
            .layer(middleware::from_fn_with_state(self.clone(), observe))
    }

    pub fn keys(&self) -> &TokenKeys {
        &self.0.keys
    }

    pub fn now(&self) -> DateTime<Utc> {
        (self.0.now)()
    }

    pub fn new_id(&self) -> Uuid {
        (self.0.new_id)()
    }

    pub(crate) fn limits(&self) -> Limits {
        self.0.limits
    }

    pub(crate) fn taken(&self) -> &Taken {
        &self.0.taken
    }

    pub(crate) fn note(&self, refused: Refused) {
        (self.0.journal)(refused);
    }

    pub(crate) fn of(extensions: &Extensions) -> Result<&Edge, Problem> {
        extensions.get::<Edge>().ok_or_else(missing)
    }
}

impl fmt::Debug for Edge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Edge").field("keys", &self.0.keys).finish_non_exhaustive()
    }
}

pub(crate) fn missing() -> Problem {
    Problem::internal("a route is served without `Edge::wrap`")
}

/// Outermost: gives the request its id and span, and finishes every answer.
async fn observe(State(edge): State<Edge>, mut request: Request, next: Next) -> Response {
    let started = Instant::now();
    let ids = request_ids(&edge, &request);
    if let Some(secret) = request.headers_mut().get_mut(header::AUTHORIZATION) {
        secret.set_sensitive(true);
    }
    let route = request.extensions().get::<MatchedPath>().cloned();
    let span = tracing::info_span!(
        "request",
        method = %request.method(),
        route = route.as_ref().map_or("none", MatchedPath::as_str),
        request_id = %ids.request_id,
        correlation_id = %ids.correlation_id,
        store = tracing::field::Empty,
    );
    let uri = request.uri().clone();
    let request_id = ids.request_id.clone();
    request.extensions_mut().insert(edge);
    request.extensions_mut().insert(ids);
    async {
        let mut response = as_problem(next.run(request).await, &request_id, uri.path());
        finish(&mut response, &request_id, &uri);
        let status = response.status().as_u16();
        tracing::info!(status, latency_us = started.elapsed().as_micros(), "answered");
        response
    }
    .instrument(span)
    .await
}

fn request_ids(edge: &Edge, request: &Request) -> RequestIds {
    let sent = request.headers().get(REQUEST_ID).and_then(|value| value.to_str().ok());
    let sent = sent.and_then(RequestId::of_client);
    let uuid = sent.as_ref().and_then(|id| Uuid::try_parse(id.as_str()).ok());
    let correlation_id = uuid.unwrap_or_else(|| edge.new_id());
    let request_id = sent.unwrap_or_else(|| RequestId::of_uuid(correlation_id));
    RequestIds { request_id, correlation_id }
}

/// Gives the request its deadline; refuses what is announced as too large, and ends what takes too
/// long.
async fn limit(mut request: Request, next: Next) -> Response {
    let deadline = Deadline::of(request.headers());
    let end = deadline.as_ref().map_or_else(|_| Moment::now() + PATIENCE, |deadline| deadline.0);
    let too_large = request.body().size_hint().lower() > MAX_BODY_BYTES as u64;
    let answer = async {
        match deadline {
            Err(problem) => refuse(request, problem).await,
            Ok(_) if too_large => refuse(request, Problem::new("body_too_large")).await,
            Ok(deadline) => {
                request.extensions_mut().insert(deadline);
                next.run(request).await
            }
        }
    };
    match timeout_at(end + GRACE, answer).await {
        Ok(response) => response,
        Err(_) => Problem::new("timeout").retry_after(RETRY_AFTER).into_response(),
    }
}

/// Answers without looking at the body, but reads it, so that the client gets to read the answer.
pub(crate) async fn refuse(request: Request, problem: Problem) -> Response {
    // Such a client waits for the answer before it sends.
    if !request.headers().contains_key(header::EXPECT) {
        throw_away(request.into_body()).await;
    }
    problem.into_response()
}

/// Answers, within milliseconds, that there is no place for the request. Nothing was done for it.
///
/// A body that is large or late is left unread. The connection then closes, which tells the client
/// as much.
pub(crate) async fn shed(request: Request) -> Response {
    let small = |bytes| bytes <= SMALL_BODY_BYTES;
    if request.body().size_hint().upper().is_some_and(small) {
        // The connection lives on if the body is read; whether it was does not matter here.
        let _ = timeout(SHED_WAIT, throw_away(request.into_body())).await;
    }
    Problem::new("overloaded").retry_after(RETRY_AFTER).into_response()
}

async fn throw_away(mut body: Body) {
    let mut left = MAX_DRAINED_BYTES;
    while 0 < left && body.size_hint().lower() <= left {
        let frame = poll_fn(|context| Pin::new(&mut body).poll_frame(context)).await;
        let Some(Ok(frame)) = frame else { break };
        left = left.saturating_sub(frame.data_ref().map_or(0, |data| data.len() as u64));
    }
}

fn panicked(panic: Box<dyn Any + Send>) -> Response {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("no message");
    Problem::internal(format!("panic: {text}")).into_response()
}

async fn no_route(request: Request) -> Response {
    refuse(request, Problem::new("route_not_found")).await
}

async fn no_method(request: Request) -> Response {
    refuse(request, Problem::new("method_not_allowed")).await
}

/// Adds the request id to a problem, and makes one of an error that is none.
fn as_problem(mut response: Response, request_id: &RequestId, path: &str) -> Response {
    let status = response.status();
    let problem = response.extensions_mut().remove::<Problem>();
    let problem = match problem {
        Some(problem) => problem,
        None if status.is_client_error() || status.is_server_error() => {
            Problem::new(codes::for_status(status.as_u16()))
        }
        None => return response,
    };
    let (mut parts, body) = problem.about(request_id.as_str(), path).into_response().into_parts();
    parts.extensions.remove::<Problem>();
    // Headers such as `Allow` stay; those of the old body do not.
    for name in [header::CONTENT_LENGTH, header::CONTENT_ENCODING, header::TRANSFER_ENCODING] {
        response.headers_mut().remove(name);
    }
    response.headers_mut().extend(parts.headers);
    *response.status_mut() = parts.status;
    *response.body_mut() = Body::new(body);
    response
}

fn finish(response: &mut Response, request_id: &RequestId, uri: &axum::http::Uri) {
    let links = response.extensions_mut().remove::<PageLinks>();
    let headers = response.headers_mut();
    if let Some(link) = links.and_then(|links| links.header(uri)) {
        headers.insert(header::LINK, link);
    }
    let id = HeaderValue::try_from(request_id.as_str()).expect("a request id is visible ASCII");
    headers.insert(REQUEST_ID, id);
    let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    let html = kind.is_some_and(|kind| kind.starts_with("text/html"));
    let policy = if html { PAGE_POLICY } else { API_POLICY };
    let defaults = [
        (header::CACHE_CONTROL, "no-store"),
        (header::CONTENT_SECURITY_POLICY, policy),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::STRICT_TRANSPORT_SECURITY, "max-age=31536000"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::X_FRAME_OPTIONS, "DENY"),
    ];
    for (name, value) in defaults {
        headers.entry(name).or_insert(HeaderValue::from_static(value));
    }
}

#[cfg(test)]
mod tests;
