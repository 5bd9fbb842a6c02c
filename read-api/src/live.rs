//! Clients that hear of changes as they show in the read models (server-sent events).
//!
//! Nobody is told of a change, only that there may be one; then its feed reads what is there, after
//! what it has sent. So a client that was away goes on where it was (`Last-Event-ID` is a position
//! of the log), a slow one gets the newest state next instead of a queue, and one to whom nothing
//! happens costs no statement.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::time::Duration;

use api_kit::{Api, Caller, Expiry, FieldError, Path, Permission, Problem, Query};
use axum::extract::FromRequestParts;
use axum::http::header::CACHE_CONTROL;
use axum::http::request::Parts;
use axum::http::{HeaderName, HeaderValue};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use event_schemas::ids::{CheckoutId, OrderId, ProductId};
use futures::stream;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::routes;

use crate::reader::Reader;
use crate::reads::Reads;

mod availability;
mod feeds;
mod source;

pub(crate) use availability::Shelf;
pub(crate) use feeds::Feeds;

use feeds::Listener;
use source::Source;

/// How often a silent feed says that it is there, so that nothing on the way takes it for dead.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// Between two readings of one feed: what happens meanwhile comes at once.
const READ_AGAIN: Duration = Duration::from_millis(100);

/// What we ask of a client whose feed has ended before it asks again.
const RETRY: Duration = Duration::from_secs(2);

pub(crate) fn api() -> Api<Reads> {
    Api::new()
        .route(Permission::OrdersRead, routes!(order))
        .route(Permission::CheckoutsRead, routes!(checkout))
        .route(Permission::ProductsRead, routes!(availability))
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct FeedQuery {
    /// `X-Position` of the answer you have: changes after it. `Last-Event-ID` goes before.
    #[param(minimum = 0)]
    after: Option<u64>,
}

/// Who listens, and from where on.
struct Client {
    caller: Caller,
    expiry: Expiry,
    last_event_id: Option<i64>,
}

impl Client {
    fn after(&self, query: &FeedQuery) -> Option<i64> {
        let asked = query.after.map(|after| i64::try_from(after).unwrap_or(i64::MAX));
        self.last_event_id.or(asked)
    }
}

impl FromRequestParts<Reads> for Client {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, reads: &Reads) -> Result<Client, Problem> {
        let caller = Caller::from_request_parts(parts, reads).await?;
        let expiry = Expiry::from_request_parts(parts, reads).await?;
        let last_event_id = parts.headers.get("last-event-id");
        let last_event_id = last_event_id.map(|id| {
            let digits = id.to_str().ok().filter(|id| id.bytes().all(|byte| byte.is_ascii_digit()));
            digits.and_then(|digits| digits.parse().ok()).ok_or_else(|| {
                let detail = "the id of an event of this feed";
                let error = FieldError::parameter("Last-Event-ID", "invalid", detail);
                Problem::new("malformed_header").error(error)
            })
        });
        Ok(Client { caller, expiry, last_event_id: last_event_id.transpose()? })
    }
}

/// What happens to an order and its payments, as server-sent events.
///
/// First `open`, with the position it begins after; then an event per entry of the timeline, named
/// like it, with the entry as data and its position as id. `end` comes last and says why:
/// `token_expired`, `stopping`, `unavailable`. Reading the order then shows the change.
#[utoipa::path(get, path = "/api/v1/orders/{order_id}/events", tag = "orders",
    operation_id = "follow",
    params(("order_id" = OrderId, Path), FeedQuery, api_kit::headers::Feed),
    responses((status = 200, description = "Changes, for as long as the client listens.",
        body = String, content_type = "text/event-stream")))]
async fn order(
    reader: Reader,
    client: Client,
    Path(order_id): Path<OrderId>,
    Query(query): Query<FeedQuery>,
) -> Result<Response, Problem> {
    let listener = feeds::listen(reader.reads(), &client.caller)?;
    let source = Source::order(&reader, &listener, order_id, client.after(&query)).await?;
    Ok(feed(source, listener, client.expiry))
}

/// What happens to a checkout, as server-sent events.
///
/// First `open`, with the position it begins after; then an event per step, named by its type, such
/// as `CheckoutCompleted`, with the position as id. `end` comes last and says why: `token_expired`,
/// `stopping`, `unavailable`. Reading the checkout then shows the change.
#[utoipa::path(get, path = "/api/v1/checkouts/{checkout_id}/events", tag = "checkouts",
    operation_id = "follow",
    params(("checkout_id" = CheckoutId, Path), FeedQuery, api_kit::headers::Feed),
    responses((status = 200, description = "Changes, for as long as the client listens.",
        body = String, content_type = "text/event-stream")))]
async fn checkout(
    reader: Reader,
    client: Client,
    Path(checkout_id): Path<CheckoutId>,
    Query(query): Query<FeedQuery>,
) -> Result<Response, Problem> {
    let listener = feeds::listen(reader.reads(), &client.caller)?;
    let source = Source::checkout(&reader, &listener, checkout_id, client.after(&query)).await?;
    Ok(feed(source, listener, client.expiry))
}

/// How many of a product can be bought, as server-sent events.
///
/// Each event is named `availability` and has the whole state as data: the newest, so that several
/// changes in a row may show as one. The first comes at once, unless nothing has changed after
/// `Last-Event-ID`. `end` comes last and says why: `token_expired`, `stopping`, `unavailable`.
#[utoipa::path(get, path = "/api/v1/products/{product_id}/events", tag = "products",
    operation_id = "follow",
    params(("product_id" = ProductId, Path), FeedQuery, api_kit::headers::Feed),
    responses((status = 200, description = "States, for as long as the client listens.",
        body = String, content_type = "text/event-stream")))]
async fn availability(
    reader: Reader,
    client: Client,
    Path(product_id): Path<ProductId>,
    Query(query): Query<FeedQuery>,
) -> Result<Response, Problem> {
    let listener = feeds::listen(reader.reads(), &client.caller)?;
    let source = Source::availability(&reader, &listener, product_id, client.after(&query)).await?;
    Ok(feed(source, listener, client.expiry))
}

/// What a client gets, for as long as it listens.
struct Feed {
    source: Source,
    listener: Listener,
    ends_at: Instant,
    ended: watch::Receiver<bool>,
    /// Read and not sent yet: one reading at most.
    unsent: VecDeque<Event>,
    read_again: Instant,
    done: bool,
}

/// Last event of a feed.
#[derive(Debug, Serialize, ToSchema)]
struct End {
    reason: &'static str,
}

fn feed(source: Source, listener: Listener, Expiry(ends_at): Expiry) -> Response {
    let ended = listener.ended();
    let feed = Feed {
        unsent: source.open().into_iter().collect(),
        source,
        listener,
        ends_at,
        ended,
        read_again: Instant::now(),
        done: false,
    };
    let events = stream::unfold(feed, async |mut feed| {
        let event = feed.next().await?;
        Some((Ok::<Event, Infallible>(event), feed))
    });
    let feed = Sse::new(Box::pin(events));
    let mut response = feed.keep_alive(KeepAlive::new().interval(KEEP_ALIVE)).into_response();
    let headers = response.headers_mut();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("private, no-store"));
    // Proxies that gather answers would keep the changes to themselves.
    let unbuffered = HeaderName::from_static("x-accel-buffering");
    headers.insert(unbuffered, HeaderValue::from_static("no"));
    response
}

impl Feed {
    async fn next(&mut self) -> Option<Event> {
        loop {
            if let Some(event) = self.unsent.pop_front() {
                return Some(event);
            }
            if self.done {
                return None;
            }
            let changed = async {
                self.listener.changed().await;
                sleep_until(self.read_again).await;
            };
            let stopping = async { drop(self.ended.wait_for(|ended| *ended).await) };
            let end = tokio::select! {
                biased;
                () = stopping => Some("stopping"),
                () = sleep_until(self.ends_at) => Some("token_expired"),
                () = changed => None,
            };
            match end {
                Some(reason) => self.end(reason),
                None => self.read().await,
            }
        }
    }

    async fn read(&mut self) {
        self.read_again = Instant::now() + READ_AGAIN;
        match self.source.read(&self.listener).await {
            Ok(events) => self.unsent.extend(events),
            Err(error) => {
                tracing::warn!(%error, "a feed cannot be read");
                self.end("unavailable");
            }
        }
    }

    fn end(&mut self, reason: &'static str) {
        self.done = true;
        let end = Event::default().event("end").retry(RETRY).json_data(End { reason });
        self.unsent.push_back(end.expect("a word is JSON"));
    }
}
