use axum::body::Body;
use axum::http::Request;
use axum::http::request::Builder;
use serde_json::Value;
use utoipa_axum::routes;
use uuid::Uuid;

use super::*;
use crate::auth::Permission;
use crate::body::NoBody;
use crate::routes::Api;
use crate::tests::{Answer, ask, send, token_of};

#[utoipa::path(post, path = "/orders", params(crate::headers::Command))]
async fn create(key: Idempotency, body: crate::Body<Value>) -> (Replayed, String) {
    let fingerprint = key.fingerprint(&body.digest);
    let (id, keyed) = (key.command_id(), key.is_keyed());
    (Replayed(keyed), serde_json::json!([id, keyed, fingerprint]).to_string())
}

#[utoipa::path(post, path = "/refunds", params(crate::headers::RequiredCommand))]
async fn refund(RequiredIdempotency(key): RequiredIdempotency, body: NoBody) -> String {
    serde_json::json!([key.command_id(), true, key.fingerprint(&body.digest)]).to_string()
}

async fn post(request: Builder, body: &str) -> Answer {
    let api = Api::new()
        .route(Permission::OrdersWrite, routes!(create))
        .route(Permission::OrdersWrite, routes!(refund));
    let request = request.header("content-type", "application/json");
    let nested = Api::new().nest("/api/v1", api);
    send(nested, request.body(Body::from(body.to_owned())).unwrap()).await
}

fn keyed(path: &str, key: &str) -> Builder {
    ask("POST", path).header("idempotency-key", key)
}

#[tokio::test]
async fn the_same_key_is_the_same_command() {
    let one = post(keyed("/api/v1/orders", "k1"), "{\"a\":1}").await;
    let two = post(keyed("/api/v1/orders", "k1"), "{\"a\":1}").await;
    assert_eq!(one.status, 200);
    assert_eq!(one.body, two.body);
    assert_eq!(one.header("idempotent-replayed"), Some("true"));
}

#[tokio::test]
async fn another_body_or_query_is_another_fingerprint_of_the_same_command() {
    let one = post(keyed("/api/v1/orders", "k1"), "{\"a\":1}").await;
    for (path, body) in [("/api/v1/orders", "{\"a\":2}"), ("/api/v1/orders?dry_run=1", "{\"a\":1}")]
    {
        let two = post(keyed(path, "k1"), body).await;
        assert_eq!(one.body[0], two.body[0]);
        assert_ne!(one.body[2], two.body[2]);
    }
}

#[tokio::test]
async fn key_address_and_store_each_make_another_command() {
    let one = post(keyed("/api/v1/orders", "k1"), "{}").await;
    let other_key = post(keyed("/api/v1/orders", "k2"), "{}").await;
    let other_path = post(keyed("/api/v1/refunds", "k1"), "{}").await;
    let token = token_of("other", Permission::ALL);
    let request = Request::post("/api/v1/orders").header("idempotency-key", "k1");
    let other_store = post(request.header("authorization", format!("Bearer {token}")), "{}").await;
    for other in [other_key, other_path, other_store] {
        assert_eq!(other.status, 200, "{}", other.body);
        assert_ne!(one.body[0], other.body[0]);
    }
}

#[tokio::test]
async fn without_a_key_the_command_is_new_or_refused() {
    let got = post(ask("POST", "/api/v1/orders"), "{}").await;
    let fresh = CommandId(Uuid::from_u128(7)).to_string();
    assert_eq!((&got.body[0], &got.body[1]), (&fresh.into(), &false.into()));
    assert_eq!(got.header("idempotent-replayed"), None);
    let got = post(ask("POST", "/api/v1/refunds"), "").await;
    assert_eq!((got.status.as_u16(), got.code()), (400, "idempotency_key_required"));
}

#[tokio::test]
async fn a_key_that_is_none_is_refused() {
    let (long, longest) = ("k".repeat(256), "k".repeat(255));
    for key in ["", " ", "a b", "a\tb", "schlüssel", &long] {
        let got = post(keyed("/api/v1/orders", key), "{}").await;
        let place = "Idempotency-Key invalid".to_owned();
        assert_eq!(got.refusal(), (400, "malformed_header", place), "{key}");
    }
    assert_eq!(post(keyed("/api/v1/orders", &longest), "{}").await.status, 200);
    let twice = keyed("/api/v1/orders", "a").header("idempotency-key", "b");
    assert_eq!(post(twice, "{}").await.code(), "malformed_header");
}
