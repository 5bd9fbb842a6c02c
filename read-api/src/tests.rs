//! The edge of every query, without a database: what is refused before a table is read, and what
//! clients hear when the database is away.

use std::collections::BTreeSet;
use std::time::Duration;

use api_kit::{Edge, Permission, TokenKeys, TokenRequest};
use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::Request;
use chrono::{DateTime, TimeDelta, Utc};
use event_schemas::ids::{ActorId, OrderId, ProductId, StoreId};
use serde_json::Value;
use sqlx::postgres::PgPoolOptions;
use tower::ServiceExt as _;
use uuid::Uuid;

fn noon() -> DateTime<Utc> {
    "2026-03-01T12:00:00Z".parse().unwrap()
}

/// All queries, over a database that nobody can reach.
fn app() -> (Router, String) {
    let pool = PgPoolOptions::new().acquire_timeout(Duration::from_millis(50));
    let pool = pool.connect_lazy("postgres://nobody@127.0.0.1:1/none").unwrap();
    let reads = crate::Reads::new(crate::Sources {
        reader: pool.clone(),
        follower: pool,
        primary: None,
        cached: true,
    });
    let (router, _) = crate::router(reads).unwrap();
    let keys = TokenKeys::generate().unwrap().0;
    let request = TokenRequest {
        actor_id: ActorId(Uuid::from_u128(2)),
        store_id: StoreId::of_slug("demo"),
        store_slug: "demo".to_owned(),
        permissions: Permission::ALL.to_vec(),
        lifetime: TimeDelta::hours(1),
    };
    let token = keys.issue(&request, noon());
    (Edge::new(keys, noon, || Uuid::from_u128(7)).wrap(router), token)
}

/// Status, code, and the first refused parameter with the reason.
async fn ask(path: &str) -> (u16, String, String) {
    let (app, token) = app();
    let request = Request::builder().uri(format!("/api/v1{path}"));
    let request = request.header("authorization", format!("Bearer {token}"));
    let response = app.oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
    let status = response.status();
    let body = to_bytes(response.into_body(), usize::MAX).await.unwrap();
    let body: Value = serde_json::from_slice(&body).unwrap();
    let code = body["code"].as_str().unwrap().to_owned();
    let error = &body["errors"][0];
    let place = error["parameter"].as_str();
    let place = place.map(|place| format!("{place} {}", error["code"].as_str().unwrap()));
    (status.as_u16(), code, place.unwrap_or_default())
}

async fn table(rows: &[(&str, u16, &str, &str)]) {
    for (path, status, code, field) in rows {
        let expected = (*status, (*code).to_owned(), (*field).to_owned());
        assert_eq!(ask(path).await, expected, "{path}");
    }
}

const INVALID: &str = "validation_failed";

#[tokio::test]
async fn hostile_lists_are_refused_with_the_parameter() {
    let long = format!("/products/search?q={}", "a".repeat(201));
    table(&[
        ("/products?limit=0", 422, INVALID, "limit invalid"),
        ("/products?limit=101", 422, INVALID, "limit invalid"),
        ("/products?limit=x", 422, INVALID, "limit invalid"),
        ("/products?limit=1&limit=2", 422, INVALID, "limit duplicate_field"),
        ("/products?page=2", 422, "unknown_parameter", "page unknown_field"),
        ("/products?filter[state]=x", 422, "unknown_parameter", "filter[state] unknown_field"),
        ("/products?filter[status]=x", 422, INVALID, "filter[status] unknown_value"),
        ("/products?filter[status]=draft,x", 422, INVALID, "filter[status] unknown_value"),
        (
            "/products?status=draft&filter[status]=draft",
            422,
            INVALID,
            "filter[status] duplicate_field",
        ),
        ("/products/search?q=%00", 422, INVALID, "q nul_character"),
        (&long, 422, INVALID, "q invalid"),
        ("/products?sort=colour", 422, INVALID, "sort unknown_value"),
        ("/products?after=x", 400, "bad_cursor", ""),
        ("/products?after=x&before=y", 422, INVALID, "before conflict"),
        ("/orders?filter[colour]=red", 422, "unknown_parameter", "filter[colour] unknown_field"),
        ("/orders?filter[channel]=x", 422, INVALID, "filter[channel] unknown_value"),
        ("/orders?filter[total_minor][gte]=x", 422, INVALID, "filter[total_minor][gte] invalid"),
        ("/orders?sort=price", 422, INVALID, "sort unknown_value"),
        ("/orders?count=estimated", 422, INVALID, "count unknown_value"),
        ("/orders/export.csv?limit=5", 422, "unknown_parameter", "limit unknown_field"),
        ("/orders?dateFrom=2010-13-01", 422, INVALID, "dateFrom invalid"),
        ("/orders?dateFrom=-9999-01-01", 422, INVALID, "dateFrom invalid"),
        ("/orders?filter[placed_at][gte]=x", 422, INVALID, "filter[placed_at][gte] invalid"),
        (
            "/orders?dateFrom=2010-12-01&filter[placed_at][gte]=2010-12-01T00:00:00Z",
            422,
            INVALID,
            "dateFrom conflict",
        ),
        ("/adjustments?before=x", 422, "unknown_parameter", "before unknown_field"),
    ])
    .await;
}

#[tokio::test]
async fn hostile_reports_are_refused_with_the_parameter() {
    table(&[
        ("/analytics/sales", 422, INVALID, "dateFrom missing"),
        ("/analytics/sales?dateFrom=2010-12-01", 422, INVALID, "dateTo missing"),
        ("/analytics/sales?dateFrom=&dateTo=", 422, INVALID, "dateFrom invalid"),
        (
            "/analytics/sales?dateFrom=2010-12-01&dateTo=2010-12-02&granularity=year",
            422,
            INVALID,
            "granularity unknown_value",
        ),
        (
            "/analytics/sales?dateFrom=2010-12-01&dateTo=2010-12-02&time_zone=Europe/Atlantis",
            422,
            INVALID,
            "time_zone invalid",
        ),
        (
            "/analytics/sales?dateFrom=2010-12-01&dateTo=2010-12-02&group=day",
            422,
            "unknown_parameter",
            "group unknown_field",
        ),
        (
            "/analytics/products?dateFrom=2010-12-01&dateTo=2010-12-02",
            422,
            INVALID,
            "currency missing",
        ),
        (
            "/analytics/products?dateFrom=2010-12-01&dateTo=2010-12-02&currency=pounds",
            422,
            INVALID,
            "currency invalid",
        ),
        (
            "/analytics/products?dateFrom=2010-12-01&dateTo=2010-12-02&currency=GBP&sort=title",
            422,
            INVALID,
            "sort unknown_value",
        ),
        (
            "/analytics/products?dateFrom=2010-12-01&dateTo=2010-12-02&currency=GBP&limit=101",
            422,
            INVALID,
            "limit invalid",
        ),
        (
            "/analytics/products?dateFrom=2010-12-01&dateTo=2010-12-02&currency=GBP&after=x",
            400,
            "bad_cursor",
            "",
        ),
        ("/analytics/customers?dateFrom=2010-12-01", 422, INVALID, "dateTo missing"),
        ("/analytics/customers/%00", 404, "customer_not_found", ""),
    ])
    .await;
}

#[tokio::test]
async fn ids_are_of_the_right_kind() {
    let product = ProductId(Uuid::from_u128(1)).to_string();
    let order = OrderId(Uuid::from_u128(1)).to_string();
    table(&[
        (&format!("/products/{order}"), 422, "wrong_id_type", ""),
        (&format!("/orders/{product}"), 422, "wrong_id_type", ""),
        (&format!("/orders/{product}/timeline"), 422, "wrong_id_type", ""),
        (&format!("/stock/{product}"), 422, "wrong_id_type", ""),
        ("/products/1", 404, "not_found", ""),
        ("/products/by-handle/%00", 404, "product_not_found", ""),
    ])
    .await;
}

#[tokio::test]
async fn a_database_that_is_away_is_a_503() {
    let order = OrderId(Uuid::from_u128(1)).to_string();
    table(&[
        ("/products/search?filter[status]=draft,active&q=truffle", 503, "unavailable", ""),
        ("/products/by-handle/truffle", 503, "unavailable", ""),
        ("/orders/export.csv?status=paid", 503, "unavailable", ""),
        ("/orders?status=paid&dateFrom=2010-12-01&dateTo=9999-12-31", 503, "unavailable", ""),
        (&format!("/orders/{order}"), 503, "unavailable", ""),
        (&format!("/orders/{order}/timeline?limit=100"), 503, "unavailable", ""),
        ("/adjustments", 503, "unavailable", ""),
        ("/analytics/sales?dateFrom=2010-12-01&dateTo=2010-12-09", 503, "unavailable", ""),
        ("/analytics/customers?dateFrom=2010-12-01&dateTo=2010-12-09", 503, "unavailable", ""),
        ("/analytics/customers/Ann%20%F0%9F%8E%84", 503, "unavailable", ""),
    ])
    .await;
}

#[test]
fn every_operation_is_described() {
    let (_, document) = crate::api().finish().unwrap();
    let document = serde_json::to_value(&document).unwrap();
    let mut ids = BTreeSet::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let name = format!("{method} {path}");
            assert!(operation["summary"].is_string(), "{name} has no summary");
            assert!(operation["tags"].is_array(), "{name} has no tag");
            assert!(operation["responses"]["200"].is_object(), "{name}");
            assert!(ids.insert(operation["operationId"].to_string()), "{name}");
        }
    }
    assert_eq!(ids.len(), 22);
}
