//! What the tests of this crate share: a still clock, keys, and a way to ask a router.

use std::sync::LazyLock;

use axum::body::{Body, to_bytes};
use axum::http::{HeaderMap, Request, StatusCode, request};
use axum::response::Response;
use chrono::{DateTime, TimeDelta, Utc};
use event_schemas::ids::{ActorId, StoreId};
use serde_json::Value;
use tower::ServiceExt as _;
use uuid::Uuid;

use crate::auth::{Permission, TokenKeys, TokenRequest};
use crate::edge::Edge;
use crate::routes::Api;

mod example;

pub(crate) static KEYS: LazyLock<TokenKeys> =
    LazyLock::new(|| TokenKeys::generate().expect("the system has randomness").0);

pub(crate) fn noon() -> DateTime<Utc> {
    "2026-03-01T12:00:00Z".parse().unwrap()
}

pub(crate) fn store() -> StoreId {
    StoreId::of_slug("demo")
}

pub(crate) fn edge() -> Edge {
    Edge::new(KEYS.clone(), noon, || Uuid::from_u128(7))
}

pub(crate) fn token_of(store: &str, permissions: &[Permission]) -> String {
    let request = TokenRequest {
        actor_id: ActorId(Uuid::from_u128(2)),
        store_id: StoreId::of_slug(store),
        store_slug: store.to_owned(),
        permissions: permissions.to_vec(),
        lifetime: TimeDelta::hours(1),
    };
    KEYS.issue(&request, noon())
}

/// A request of someone who may do everything in the store `demo`.
pub(crate) fn ask(method: &str, path: &str) -> request::Builder {
    let token = token_of("demo", Permission::ALL);
    Request::builder().method(method).uri(path).header("authorization", format!("Bearer {token}"))
}

pub(crate) fn json(method: &str, path: &str, body: impl Into<Body>) -> Request<Body> {
    ask(method, path).header("content-type", "application/json").body(body.into()).unwrap()
}

/// What came back, with the body as JSON, or `null` if it is none.
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Value,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    pub(crate) fn code(&self) -> &str {
        assert_eq!(self.header("content-type"), Some("application/problem+json"), "{}", self.body);
        assert_eq!(self.body["status"], self.status.as_u16());
        assert_eq!(self.body["type"], format!("/problems/{}", self.body["code"].as_str().unwrap()));
        self.body["code"].as_str().unwrap()
    }

    /// Status, code and the first refused field.
    pub(crate) fn refusal(&self) -> (u16, &str, String) {
        let error = &self.body["errors"][0];
        let place = error["pointer"].as_str().or(error["parameter"].as_str());
        let place = place.map(|place| format!("{place} {}", error["code"].as_str().unwrap()));
        (self.status.as_u16(), self.code(), place.unwrap_or_default())
    }
}

pub(crate) async fn answer(response: Response) -> Answer {
    let (parts, body) = response.into_parts();
    let bytes = to_bytes(body, usize::MAX).await.unwrap();
    let body = serde_json::from_slice(&bytes).unwrap_or_default();
    Answer { status: parts.status, headers: parts.headers, body }
}

pub(crate) async fn send(api: Api, request: Request<Body>) -> Answer {
    let (router, _) = api.finish().unwrap();
    answer(edge().wrap(router).oneshot(request).await.unwrap()).await
}
