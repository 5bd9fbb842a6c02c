//! Answers about the catalogue, kept for as long as nothing they depend on changes, and validators
//! for clients that keep them.
//!
//! What is kept is the answer as it goes over the wire. It holds until the follower has seen a
//! change of what it depends on, so it is as old as the read model and a look of the follower at
//! most, and its `X-Position` says how far that is. Many who ask for the same at once wait for one.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use api_kit::page::PageLinks;
use api_kit::{Caller, Deadline, MinPosition, Position, Problem};
use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{FromRequestParts as _, Request};
use axum::http::request::Parts;
use axum::http::uri::PathAndQuery;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use event_schemas::ids::StoreId;
use projections::catalog::PROJECTION;
use quick_cache::Weighter;
use quick_cache::sync::Cache as Entries;
use sha2::{Digest as _, Sha256};
use tokio::time::{Instant, timeout_at};
use utoipa_axum::router::UtoipaMethodRouter;

use crate::changes::Depends;
use crate::reader::AsOf;
use crate::reads::Reads;

mod document;

/// Bytes of all answers together with what is around them.
const BYTES_MAX: u64 = 64 * 1024 * 1024;

/// Answers. Each counts for its share of [`BYTES_MAX`] at least, so there are never more.
const ENTRIES_MAX: u64 = 16_384;

/// Bytes of one answer: a page of 100 usual products. What is larger is made each time.
const ENTRY_BYTES_MAX: usize = 1024 * 1024;

/// Characters of address and query of an answer that is kept. Those of people are shorter.
const KEY_CHARS_MAX: usize = 1_024;

/// Bytes of an entry beside its body: key, headers, ids it depends on.
const ENTRY_OVERHEAD: usize = 512;

/// Bytes of the digest in an `ETag`: two answers of one address that share it are met once in a
/// hundred million years of a changed page a millisecond.
const DIGEST_BYTES: usize = 12;

/// Times a request waits for somebody else's answer that then turns out to be too old.
const TRIES: u32 = 3;

/// Longest wait for somebody else's answer: well above one that goes well. A crowd behind a read
/// that fails must not fail one after the other.
const WAIT_MAX: Duration = Duration::from_secs(1);

/// Clients may keep it but have to ask each time whether it still holds.
const REVALIDATE: HeaderValue = HeaderValue::from_static("private, no-cache");

/// Answers by store and address with its query.
#[derive(Debug)]
pub(crate) struct Cache {
    entries: Entries<Key, Arc<Entry>, Weigh>,
    counts: Counts,
}

/// How often the cache was asked, since the process began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CacheCounts {
    /// Answered from it.
    pub hits: u64,
    /// Answered from the database, and kept if that is possible.
    pub misses: u64,
}

#[derive(Debug, Default)]
struct Counts {
    hits: AtomicU64,
    misses: AtomicU64,
}

type Key = (StoreId, String);

#[derive(Clone, Debug)]
struct Weigh;

/// An answer, as it was made.
#[derive(Debug)]
struct Entry {
    body: Bytes,
    content_type: HeaderValue,
    etag: HeaderValue,
    links: Option<PageLinks>,
    depends: Depends,
    /// What [`crate::changes::Changes::unchanged`] wants to know of it.
    read: (u64, i64),
}

impl Weighter<Key, Arc<Entry>> for Weigh {
    fn weight(&self, key: &Key, entry: &Arc<Entry>) -> u64 {
        let ids = entry.depends.ids() * size_of::<uuid::Uuid>();
        let bytes = entry.body.len() + key.1.len() + ids + ENTRY_OVERHEAD;
        (bytes as u64).max(BYTES_MAX / ENTRIES_MAX)
    }
}

impl Cache {
    pub(crate) fn new() -> Cache {
        let capacity = usize::try_from(ENTRIES_MAX).expect("a constant");
        let entries = Entries::with_weighter(capacity, BYTES_MAX, Weigh);
        Cache { entries, counts: Counts::default() }
    }

    pub(crate) fn counts(&self) -> CacheCounts {
        CacheCounts {
            hits: self.counts.hits.load(Ordering::Relaxed),
            misses: self.counts.misses.load(Ordering::Relaxed),
        }
    }
}

/// Handlers whose answers are kept, under the permission of their route: all who may ask get the
/// same. A handler says with [`Depends`] what its answer depends on.
pub(crate) fn cached(routes: UtoipaMethodRouter<Reads>) -> UtoipaMethodRouter<Reads> {
    let (schemas, mut paths, handlers) = routes;
    for item in paths.paths.values_mut() {
        item.get.iter_mut().for_each(document::validators);
    }
    (schemas, paths, handlers.layer(middleware::from_fn(answer)))
}

/// Stands around the handler.
async fn answer(request: Request, next: Next) -> Result<Response, Problem> {
    let (mut parts, body) = request.into_parts();
    let asked = Asked::of(&mut parts).await?;
    let request = Request::from_parts(parts, body);
    let Some(cache) = asked.reads.cache() else {
        return Ok(asked.uncached(next.run(request).await).await);
    };
    let Some((key, position)) = asked.key() else {
        cache.counts.misses.fetch_add(1, Ordering::Relaxed);
        return Ok(asked.uncached(next.run(request).await).await);
    };
    let end = Instant::now() + asked.deadline.within(WAIT_MAX);
    for _ in 0..TRIES {
        let found = timeout_at(end, cache.entries.get_value_or_guard_async(&key));
        let Ok(found) = found.await else { break };
        let guard = match found {
            Ok(entry) if asked.holds(&entry) => {
                cache.counts.hits.fetch_add(1, Ordering::Relaxed);
                return Ok(asked.respond(&entry, position));
            }
            Ok(old) => {
                // Unless somebody has put a newer one there.
                cache.entries.remove_if(&key, |entry| Arc::ptr_eq(entry, &old));
                continue;
            }
            Err(guard) => guard,
        };
        cache.counts.misses.fetch_add(1, Ordering::Relaxed);
        let epoch = asked.reads.following().changes.epoch();
        return Ok(match Entry::of(next.run(request).await, epoch).await {
            Ok(entry) => {
                let entry = Arc::new(entry);
                // Refused only if the entry was taken out meanwhile.
                let _ = guard.insert(Arc::clone(&entry));
                asked.respond(&entry, entry.read.1)
            }
            Err(response) => response,
        });
    }
    cache.counts.misses.fetch_add(1, Ordering::Relaxed);
    Ok(asked.uncached(next.run(request).await).await)
}

/// What decides how a request is answered.
struct Asked {
    reads: Reads,
    store_id: StoreId,
    deadline: Deadline,
    min_position: Option<i64>,
    /// Address and query; `None` if the answer is not to be kept.
    address: Option<String>,
    known: Vec<HeaderValue>,
}

impl Asked {
    async fn of(parts: &mut Parts) -> Result<Asked, Problem> {
        let reads = parts.extensions.get::<Reads>().cloned();
        let reads = reads.ok_or_else(|| Problem::internal("queries without `read_api::router`"))?;
        let Caller { store_id, .. } = Caller::from_request_parts(parts, &()).await?;
        let MinPosition(min_position) = MinPosition::from_request_parts(parts, &()).await?;
        let deadline = Deadline::from_request_parts(parts, &()).await?;
        let address = parts.uri.path_and_query().map(PathAndQuery::as_str);
        // The answer to a HEAD has lost its body.
        let address = address
            .filter(|address| parts.method == Method::GET && address.len() <= KEY_CHARS_MAX)
            .map(str::to_owned);
        let known = parts.headers.get_all(header::IF_NONE_MATCH).iter().cloned().collect();
        Ok(Asked { reads, store_id, deadline, min_position, address, known })
    }

    /// The key and how far entries are known to hold, unless the request has to see the database.
    fn key(&self) -> Option<(Key, i64)> {
        let reach = self.reads.following().reach(&PROJECTION)?;
        if self.min_position.is_some_and(|min| reach.position < min) {
            return None;
        }
        Some(((self.store_id, self.address.clone()?), reach.position))
    }

    fn holds(&self, entry: &Entry) -> bool {
        let changes = &self.reads.following().changes;
        changes.unchanged(self.store_id, &entry.depends, entry.read)
    }

    async fn uncached(&self, response: Response) -> Response {
        match Entry::of(response, 0).await {
            Ok(entry) => self.respond(&entry, entry.read.1),
            Err(response) => response,
        }
    }

    /// The whole answer, or that the client has it.
    fn respond(&self, entry: &Entry, position: i64) -> Response {
        let mut response = Response::new(Body::empty());
        let length = HeaderValue::from(entry.body.len());
        let headers = response.headers_mut();
        // Also of a body that is not sent.
        headers.insert(header::CONTENT_LENGTH, length);
        headers.insert(header::CONTENT_TYPE, entry.content_type.clone());
        headers.insert(header::ETAG, entry.etag.clone());
        headers.insert(header::CACHE_CONTROL, REVALIDATE);
        headers.insert(header::VARY, HeaderValue::from_static("authorization"));
        if self.has(&entry.etag) {
            *response.status_mut() = StatusCode::NOT_MODIFIED;
        } else {
            *response.body_mut() = Body::from(entry.body.clone());
        }
        if let Some(links) = &entry.links {
            // For the edge.
            response.extensions_mut().insert(links.clone());
        }
        let position = Position(position.max(entry.read.1));
        (position, response).into_response()
    }

    /// Whether the client named the answer in `If-None-Match`.
    fn has(&self, etag: &HeaderValue) -> bool {
        let ours = etag.as_bytes();
        self.known.iter().any(|known| {
            known
                .as_bytes()
                .split(|byte| *byte == b',')
                .map(<[u8]>::trim_ascii)
                .any(|tag| tag == b"*" || tag.strip_prefix(b"W/").unwrap_or(tag) == ours)
        })
    }
}

impl Entry {
    /// Of a whole and fresh answer; any other is given back as it is.
    async fn of(response: Response, epoch: u64) -> Result<Entry, Response> {
        let as_of = response.extensions().get::<AsOf>().copied();
        let (StatusCode::OK, Some(AsOf(as_of))) = (response.status(), as_of) else {
            return Err(response);
        };
        let (mut parts, body) = response.into_parts();
        let size = axum::body::HttpBody::size_hint(&body).upper();
        if size.is_none_or(|size| ENTRY_BYTES_MAX as u64 <= size) {
            return Err(Response::from_parts(parts, body));
        }
        let body = match to_bytes(body, ENTRY_BYTES_MAX).await {
            Ok(body) => body,
            Err(error) => return Err(Problem::internal(error).into_response()),
        };
        let unknown = HeaderValue::from_static("application/octet-stream");
        Ok(Entry {
            etag: etag(&parts.headers, &body),
            content_type: parts.headers.remove(header::CONTENT_TYPE).unwrap_or(unknown),
            body,
            links: parts.extensions.remove::<PageLinks>(),
            depends: parts.extensions.remove::<Depends>().unwrap_or_default(),
            read: (epoch, as_of),
        })
    }
}

/// Of the version, if the answer has one, and the bytes: what is shown beside the resource itself,
/// such as stock, changes without it.
fn etag(headers: &HeaderMap, body: &[u8]) -> HeaderValue {
    let digest = URL_SAFE_NO_PAD.encode(&Sha256::digest(body)[..DIGEST_BYTES]);
    let version = headers.get(header::ETAG).and_then(|etag| etag.to_str().ok());
    let version = version.and_then(|etag| etag.strip_suffix('"'));
    let etag = match version {
        Some(version) => format!("{version}-{digest}\""),
        None => format!("\"{digest}\""),
    };
    HeaderValue::try_from(etag).expect("base 64 is visible ASCII")
}
