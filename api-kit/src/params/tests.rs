use axum::body::Body;
use event_schemas::ids::{OrderId, ProductId};
use utoipa_axum::routes;
use uuid::Uuid;

use super::*;
use crate::auth::Permission;
use crate::page::Limit;
use crate::routes::Api;
use crate::tests::{Answer, ask, send};

#[derive(Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct Filter {
    #[serde(default)]
    #[param(value_type = u16)]
    limit: Limit,
    q: Option<String>,
    #[serde(default, deserialize_with = "date")]
    date_from: Option<NaiveDate>,
    #[serde(default, deserialize_with = "time")]
    since: Option<DateTime<Utc>>,
    product_id: Option<ProductId>,
    status: Option<Status>,
}

#[derive(Deserialize, Debug, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
enum Status {
    Paid,
    Cancelled,
}

#[utoipa::path(get, path = "/orders", params(Filter))]
async fn list(Query(filter): Query<Filter>) -> String {
    let Filter { limit, q, date_from, since, product_id, status } = filter;
    let limit = limit.get();
    serde_json::json!([limit, q, date_from, since, product_id, format!("{status:?}")]).to_string()
}

#[utoipa::path(get, path = "/orders/{order_id}/{number}")]
async fn show(Path((order_id, number)): Path<(OrderId, u8)>) -> String {
    format!("[\"{order_id}\", {number}]")
}

#[utoipa::path(get, path = "/wrong/{order_id}")]
async fn wrong(Path((_order_id, _number)): Path<(OrderId, u8)>) {}

async fn fetch(path: &str) -> Answer {
    let api = Api::new()
        .route(Permission::OrdersRead, routes!(list))
        .route(Permission::OrdersRead, routes!(show))
        .route(Permission::OrdersRead, routes!(wrong));
    send(api, ask("GET", path).body(Body::empty()).unwrap()).await
}

#[tokio::test]
async fn a_good_query_is_read() {
    let got = fetch("/orders?limit=100&q=caf%C3%A9+au&date_from=2026-03-01&status=paid").await;
    let status = "Some(Paid)";
    let read = serde_json::json!([100, "café au", "2026-03-01", null, null, status]);
    assert_eq!(got.body, read);
    let got = fetch("/orders").await;
    assert_eq!(got.body, serde_json::json!([20, null, null, null, null, "None"]));
    let got = fetch("/orders?since=2026-03-01T12:00:00Z&q=%2500").await;
    assert_eq!((got.status.as_u16(), &got.body[1]), (200, &"%00".into()));
}

#[tokio::test]
async fn a_wrong_parameter_is_named() {
    for (query, code, place) in [
        ("limit=0", "validation_failed", "limit invalid"),
        ("limit=101", "validation_failed", "limit invalid"),
        ("limit=-1", "validation_failed", "limit invalid"),
        ("limit=1e2", "validation_failed", "limit invalid"),
        ("limit=", "validation_failed", "limit invalid"),
        ("limit=99999999999999999999", "validation_failed", "limit invalid"),
        ("limit=1&limit=2", "validation_failed", "limit duplicate_field"),
        ("date_from=2026-02-30", "validation_failed", "date_from invalid"),
        ("date_from=%2B99999-01-01", "validation_failed", "date_from invalid"),
        ("date_from=-0001-01-01", "validation_failed", "date_from invalid"),
        ("since=yesterday", "validation_failed", "since invalid"),
        ("since=%2B262142-01-01T00:00:00Z", "validation_failed", "since invalid"),
        ("status=lost", "validation_failed", "status unknown_value"),
        ("product_id=x", "validation_failed", "product_id invalid"),
        (
            "product_id=ord_00000000000000000000000001",
            "validation_failed",
            "product_id wrong_id_type",
        ),
        ("q=a%00b", "validation_failed", "q nul_character"),
        ("colour=red", "unknown_parameter", "colour unknown_field"),
        ("limit=5&LIMIT=5", "unknown_parameter", "LIMIT unknown_field"),
        ("a:%20b=1", "unknown_parameter", "a: b unknown_field"),
    ] {
        let got = fetch(&format!("/orders?{query}")).await;
        assert_eq!(got.refusal(), (422, code, place.to_owned()), "{query}: {}", got.body);
    }
    let got = fetch("/orders?colour=red").await;
    assert!(got.body["detail"].as_str().unwrap().contains("`date_from`"));
}

#[tokio::test]
async fn an_id_in_the_address_is_of_its_kind_or_unknown() {
    let order = OrderId(Uuid::from_u128(5));
    let got = fetch(&format!("/orders/{order}/7")).await;
    assert_eq!(got.body, serde_json::json!([order, 7]));
    let lower = order.to_string().to_lowercase();
    assert_eq!(fetch(&format!("/orders/{lower}/7")).await.status, 200);

    let product = ProductId(Uuid::from_u128(5));
    let got = fetch(&format!("/orders/{product}/7")).await;
    assert_eq!((got.status.as_u16(), got.code()), (422, "wrong_id_type"));
    assert!(got.body["detail"].as_str().unwrap().contains("`ord_`"));

    let uuid = Uuid::from_u128(5).to_string();
    for id in ["x", "ord_", "ord_8ZZZZZZZZZZZZZZZZZZZZZZZZZ", "%00", "%FF", "..", &uuid] {
        let got = fetch(&format!("/orders/{id}/7")).await;
        assert_eq!((got.status.as_u16(), got.code()), (404, "not_found"), "{id}");
    }
    let got = fetch(&format!("/orders/{order}/256")).await;
    assert_eq!((got.status.as_u16(), got.code()), (404, "not_found"));
}

#[tokio::test]
async fn a_handler_that_differs_from_its_address_is_our_fault() {
    let order = OrderId(Uuid::from_u128(5));
    assert_eq!(fetch(&format!("/wrong/{order}")).await.code(), "internal");
}
