//! The edge of every command, without a database: what is refused before the log is asked, and
//! what clients hear when the log is away.

use std::sync::Arc;
use std::time::Duration;

use api_kit::{Edge, Permission, TokenKeys, TokenRequest};
use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::Request;
use chrono::{DateTime, TimeDelta, Utc};
use commands::Ctx;
use event_schemas::ids::{ActorId, CheckoutId, OrderId, ProductId, StoreId, VariantId};
use event_store::Engine;
use providers::payment::{PaymentProvider, Sandbox};
use serde_json::Value;
use sqlx::postgres::PgPoolOptions;
use tower::ServiceExt as _;
use uuid::Uuid;

use sagas::SagaCtx;
use vault::{MasterKeys, Vault};

use crate::WriteState;

fn noon() -> DateTime<Utc> {
    "2026-03-01T12:00:00Z".parse().unwrap()
}

fn new_id() -> Uuid {
    Uuid::from_u128(7)
}

/// All commands, over a database that nobody can reach.
fn app() -> (Router, String) {
    let pool = PgPoolOptions::new().acquire_timeout(Duration::from_millis(50));
    let pool = pool.connect_lazy("postgres://nobody@127.0.0.1:1/none").unwrap();
    let engine = Engine::new(pool.clone(), new_id);
    let ctx = Ctx { engine, now: Arc::new(noon), new_id };
    let provider = PaymentProvider::Sandbox(Sandbox::default());
    let (router, _) = crate::api().finish().unwrap();
    let keys = TokenKeys::generate().unwrap().0;
    let request = TokenRequest {
        actor_id: ActorId(Uuid::from_u128(2)),
        store_id: StoreId::of_slug("demo"),
        store_slug: "demo".to_owned(),
        permissions: Permission::ALL.to_vec(),
        lifetime: TimeDelta::hours(1),
    };
    let token = keys.issue(&request, noon());
    let vault = Vault::new(pool.clone(), MasterKeys::generate().0);
    // Nobody stores what it takes.
    let (inbox, _) = sagas::inbox::inbox(pool.clone());
    let saga = SagaCtx::new(ctx.clone(), pool, provider);
    let router = router.with_state(WriteState::new(ctx, saga, vault, inbox));
    (Edge::new(keys, noon, new_id).wrap(router), token)
}

/// One request: method and path, headers, body.
struct Ask<'a> {
    to: &'a str,
    headers: &'a [(&'a str, &'a str)],
    body: &'a str,
}

/// Status, code, and the first refused field with the reason.
async fn ask(ask: Ask<'_>) -> (u16, String, String) {
    let (app, token) = app();
    let (method, path) = ask.to.split_once(' ').unwrap();
    let mut request = Request::builder().method(method).uri(path);
    request = request.header("authorization", format!("Bearer {token}"));
    request = request.header("content-type", "application/json");
    for (name, value) in ask.headers {
        request = request.header(*name, *value);
    }
    let request = request.body(Body::from(ask.body.to_owned())).unwrap();
    let response = app.oneshot(request).await.unwrap();
    let status = response.status();
    assert_eq!(response.headers()["content-type"], "application/problem+json", "{}", ask.to);
    if status == 503 {
        assert_eq!(response.headers()["retry-after"], "1");
    }
    let body = to_bytes(response.into_body(), usize::MAX).await.unwrap();
    let body: Value = serde_json::from_slice(&body).unwrap();
    let code = body["code"].as_str().unwrap().to_owned();
    let error = &body["errors"][0];
    let place = error["pointer"].as_str().or(error["parameter"].as_str());
    let place = place.map(|place| format!("{place} {}", error["code"].as_str().unwrap()));
    (status.as_u16(), code, place.unwrap_or_default())
}

fn product() -> ProductId {
    ProductId(Uuid::from_u128(1))
}

fn variant() -> VariantId {
    VariantId(Uuid::from_u128(2))
}

const KEY: (&str, &str) = ("idempotency-key", "k-1");

/// Asks each row and compares what came back.
async fn table(to: &str, headers: &[(&str, &str)], rows: &[(&str, u16, &str, &str)]) {
    for (body, status, code, field) in rows {
        let answer = ask(Ask { to, headers, body }).await;
        let expected = (*status, (*code).to_owned(), (*field).to_owned());
        assert_eq!(answer, expected, "{to} {body}");
    }
}

#[tokio::test]
async fn hostile_products_are_refused_with_a_pointer() {
    let deep = format!("{}1{}", "[".repeat(200), "]".repeat(200));
    table(
        "POST /api/v1/products",
        &[],
        &[
            ("", 400, "empty_body", ""),
            ("{", 400, "malformed_json", ""),
            ("{} {}", 400, "malformed_json", ""),
            (&deep, 400, "malformed_json", ""),
            ("[]", 422, "validation_failed", " invalid"),
            ("null", 422, "validation_failed", " wrong_type"),
            ("{}", 422, "validation_failed", "/title missing"),
            (r#"{"title":7}"#, 422, "validation_failed", "/title wrong_type"),
            (r#"{"title":"a\u0000"}"#, 422, "validation_failed", "/title nul_character"),
            (r#"{"title":"a","id":1}"#, 422, "validation_failed", "/id unknown_field"),
            (r#"{"title":"a","title":"b"}"#, 422, "validation_failed", "/title duplicate_field"),
            (
                r#"{"title":"a","variants":[{"weight_g":-1}]}"#,
                422,
                "validation_failed",
                "/variants/0/weight_g invalid",
            ),
            (
                r#"{"title":"a","variants":[{"price":{"amount_minor":1.5,"currency":"GBP"}}]}"#,
                422,
                "validation_failed",
                "/variants/0/price/amount_minor wrong_type",
            ),
            (
                r#"{"title":"a","variants":[{"price":{"amount_minor":1,"currency":"XYZ"}}]}"#,
                422,
                "validation_failed",
                "/variants/0/price/currency unknown_value",
            ),
        ],
    )
    .await;
}

#[tokio::test]
async fn a_description_needs_the_version_it_replaces() {
    let to = format!("PATCH /api/v1/products/{}", product());
    let title = r#"{"title":"a"}"#;
    table(&to, &[], &[(title, 428, "precondition_required", "")]).await;
    table(
        &to,
        &[("if-match", "\"v3\"")],
        &[
            (r#"{"title":null}"#, 422, "validation_failed", "/title wrong_type"),
            (r#"{"tags":[1]}"#, 422, "validation_failed", "/tags/0 wrong_type"),
            (r#"{"handle":"b"}"#, 422, "validation_failed", "/handle unknown_field"),
            (r#"{"description":null}"#, 503, "unavailable", ""),
        ],
    )
    .await;
    let rows = &[(title, 400, "malformed_header", "If-Match invalid")];
    table(&to, &[("if-match", "v3")], rows).await;
}

#[tokio::test]
async fn hostile_stock_is_refused_with_a_pointer() {
    let receive = format!("POST /api/v1/stock/{}/receive", variant());
    table(
        &receive,
        &[],
        &[
            ("{}", 422, "validation_failed", "/quantity missing"),
            (r#"{"quantity":-1}"#, 422, "validation_failed", "/quantity invalid"),
            (r#"{"quantity":99999999999}"#, 422, "validation_failed", "/quantity invalid"),
            (r#"{"quantity":1,"source":"x"}"#, 422, "validation_failed", "/source unknown_value"),
            (r#"{"quantity":1,"cost":1}"#, 422, "validation_failed", "/cost unknown_field"),
        ],
    )
    .await;
    let other = format!("POST /api/v1/stock/{}/receive", product());
    table(&other, &[], &[(r#"{"quantity":1}"#, 422, "wrong_id_type", "")]).await;
    let none = [(r#"{"quantity":1}"#, 404, "not_found", "")];
    table("POST /api/v1/stock/7/receive", &[], &none).await;
}

#[tokio::test]
async fn a_checkout_takes_no_price_and_needs_a_key() {
    let to = "POST /api/v1/checkouts";
    let line = |rest: &str| {
        format!(r#"{{"lines":[{{"variant_id":"{}","quantity":1{rest}}}]}}"#, variant())
    };
    table(to, &[], &[(&line(""), 400, "idempotency_key_required", "")]).await;
    table(
        to,
        &[KEY],
        &[
            (
                &line(r#","unit_price":{"amount_minor":1,"currency":"GBP"}"#),
                422,
                "validation_failed",
                "/lines/0/unit_price unknown_field",
            ),
            (r#"{"lines":{}}"#, 422, "validation_failed", "/lines wrong_type"),
            (r#"{"lines":[{}]}"#, 422, "validation_failed", "/lines/0/variant_id missing"),
            (
                r#"{"lines":[{"variant_id":"prd_00000000000000000000000001","quantity":1}]}"#,
                422,
                "validation_failed",
                "/lines/0/variant_id wrong_id_type",
            ),
            (r#"{"lines":[],"country":" "}"#, 422, "validation_failed", "/country empty"),
            (&line(""), 503, "unavailable", ""),
        ],
    )
    .await;
}

#[tokio::test]
async fn a_card_number_is_never_quoted() {
    let checkout = CheckoutId(Uuid::from_u128(3));
    let to = format!("POST /api/v1/checkouts/{checkout}/complete");
    let card = |number: &str| format!(r#"{{"payment":{{"card_number":{number}}}}}"#);
    let place = "/payment/card_number invalid";
    table(
        &to,
        &[KEY],
        &[
            ("{}", 422, "validation_failed", "/payment missing"),
            (&card("4242424242424242"), 422, "validation_failed", place),
            (&card("\"4242 4242 4242 4241\""), 422, "validation_failed", place),
            (&card("\"4242\""), 422, "validation_failed", place),
            (&card("\"4242 4242 4242 4242\""), 503, "unavailable", ""),
            (r#"{"payment_method":"sbx_ok"}"#, 503, "unavailable", ""),
            (
                r#"{"payment":{"card_number":"1"},"payment_method":"sbx_ok"}"#,
                422,
                "validation_failed",
                "/payment_method conflict",
            ),
        ],
    )
    .await;
}

#[tokio::test]
async fn commands_of_orders_need_a_key() {
    let order = OrderId(Uuid::from_u128(4));
    for path in ["cancel", "refunds"] {
        let to = format!("POST /api/v1/orders/{order}/{path}");
        table(&to, &[], &[(r#"{"reason":"x"}"#, 400, "idempotency_key_required", "")]).await;
        table(
            &to,
            &[KEY],
            &[
                (r#"{"reason":7}"#, 422, "validation_failed", "/reason wrong_type"),
                (r#"{"reason":"x","x":1}"#, 422, "validation_failed", "/x unknown_field"),
                (r#"{"reason":"x"}"#, 503, "unavailable", ""),
            ],
        )
        .await;
    }
}

#[tokio::test]
async fn what_takes_no_body_refuses_one() {
    let to = format!("POST /api/v1/products/{}/publish", product());
    table(
        &to,
        &[],
        &[
            (r#"{"a":1}"#, 422, "unexpected_body", ""),
            ("{}", 503, "unavailable", ""),
            ("", 503, "unavailable", ""),
        ],
    )
    .await;
}

#[test]
fn every_operation_is_described() {
    let (_, document) = crate::api().finish().unwrap();
    let document = serde_json::to_value(&document).unwrap();
    let mut ids = std::collections::BTreeSet::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let name = format!("{method} {path}");
            assert!(operation["summary"].is_string(), "{name} has no summary");
            assert!(operation["tags"].is_array(), "{name} has no tag");
            assert!(operation["responses"]["default"].is_object(), "{name}");
            assert!(ids.insert(operation["operationId"].to_string()), "{name}");
        }
    }
    assert_eq!(ids.len(), 47);
}
