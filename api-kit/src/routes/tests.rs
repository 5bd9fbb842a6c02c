use axum::http::StatusCode;
use utoipa_axum::routes;

use super::*;
use crate::auth::Caller;
use crate::problem::Problem;
use crate::tests::{answer, ask, edge, send, token_of};
use axum::body::Body;
use axum::http::Request;
use tower::ServiceExt as _;

#[utoipa::path(get, path = "/orders")]
async fn list(caller: Caller) -> String {
    format!("\"{}\"", caller.store_slug)
}

/// Forgets to ask for a caller.
#[utoipa::path(post, path = "/orders")]
async fn forgetful() -> StatusCode {
    StatusCode::NO_CONTENT
}

#[utoipa::path(get, path = "/health")]
async fn health() -> StatusCode {
    StatusCode::NO_CONTENT
}

#[utoipa::path(get, path = "/public-but-asks")]
async fn confused(_: Caller) -> Result<(), Problem> {
    Ok(())
}

fn api() -> Api {
    Api::new()
        .route(Permission::OrdersRead, routes!(list))
        .route(Permission::OrdersWrite, routes!(forgetful))
        .public("says nothing about any store", routes!(health))
}

fn request(method: &str, path: &str, authorization: &str) -> Request<Body> {
    let request = Request::builder().method(method).uri(path);
    request.header("authorization", authorization).body(Body::empty()).unwrap()
}

#[tokio::test]
async fn a_route_lets_those_through_who_may() {
    let got = send(api(), ask("GET", "/orders").body(Body::empty()).unwrap()).await;
    assert_eq!((got.status, got.body), (StatusCode::OK, "demo".into()));
}

#[tokio::test]
async fn a_route_is_shut_to_those_without_a_token() {
    let naked = Request::get("/orders").body(Body::empty()).unwrap();
    let got = send(api(), naked).await;
    assert_eq!(got.refusal(), (401, "unauthenticated", String::new()));
    assert_eq!(got.header("www-authenticate"), Some("Bearer"));

    let token = token_of("demo", &[Permission::OrdersRead]);
    for authorization in ["", "Bearer", "Bearer ", "Basic YTpi", "Bearer x.y.z", &token] {
        let got = send(api(), request("GET", "/orders", authorization)).await;
        assert_eq!(got.status, 401, "{authorization}");
    }
    let twice = ask("GET", "/orders").header("authorization", format!("Bearer {token}"));
    let got = send(api(), twice.body(Body::empty()).unwrap()).await;
    assert_eq!(got.status, 401);
}

#[tokio::test]
async fn a_permission_for_one_method_is_none_for_the_other() {
    let bearer = format!("bearer {}", token_of("demo", &[Permission::OrdersRead]));
    assert_eq!(send(api(), request("GET", "/orders", &bearer)).await.status, 200);
    let got = send(api(), request("POST", "/orders", &bearer)).await;
    assert_eq!((got.code(), &got.body["permission"]), ("forbidden", &"orders:write".into()));
}

#[tokio::test]
async fn a_handler_that_forgets_the_caller_is_still_behind_the_gate() {
    let got = send(api(), Request::post("/orders").body(Body::empty()).unwrap()).await;
    assert_eq!(got.status, 401);
    let got = send(api(), ask("POST", "/orders").body(Body::empty()).unwrap()).await;
    assert_eq!(got.status, 204);
}

#[tokio::test]
async fn a_public_route_asks_nobody_and_knows_nobody() {
    let got = send(api(), Request::get("/health").body(Body::empty()).unwrap()).await;
    assert_eq!(got.status, 204);
    let confused = Api::new().public("a mistake", routes!(confused));
    let got = send(confused, ask("GET", "/public-but-asks").body(Body::empty()).unwrap()).await;
    assert_eq!(got.code(), "internal");
}

#[tokio::test]
async fn a_client_that_names_another_store_is_refused() {
    for (named, status) in [("demo", 200), ("other", 403), ("", 403)] {
        let request = ask("GET", "/orders").header("x-store-id", named);
        let got = send(api(), request.body(Body::empty()).unwrap()).await;
        assert_eq!(got.status, status, "{named}");
    }
}

#[tokio::test]
async fn routes_keep_their_gate_when_nested_and_merged() {
    let nested = Api::new().merge(api()).nest("/api/v1", api());
    let (router, document) = nested.finish().unwrap();
    assert!(document.paths.paths.contains_key("/api/v1/orders"));
    let app = edge().wrap(router);
    for path in ["/orders", "/api/v1/orders"] {
        let naked = Request::get(path).body(Body::empty()).unwrap();
        assert_eq!(answer(app.clone().oneshot(naked).await.unwrap()).await.status, 401);
        let full = ask("GET", path).body(Body::empty()).unwrap();
        assert_eq!(answer(app.clone().oneshot(full).await.unwrap()).await.status, 200);
    }
}

#[tokio::test]
async fn an_address_can_be_served_by_both_apis() {
    let (reads, read_document) =
        Api::<()>::new().route(Permission::OrdersRead, routes!(list)).finish().unwrap();
    let (writes, write_document) =
        Api::<()>::new().route(Permission::OrdersWrite, routes!(forgetful)).finish().unwrap();
    let document = openapi::merged(write_document, read_document);
    assert_eq!(check(&document), Ok(()));
    let item = &document.paths.paths["/orders"];
    assert!(item.get.is_some() && item.post.is_some());
    let app = edge().wrap(writes.merge(reads));
    let got = app.clone().oneshot(ask("GET", "/orders").body(Body::empty()).unwrap()).await;
    assert_eq!(got.unwrap().status(), 200);
    let got = app.oneshot(ask("POST", "/orders").body(Body::empty()).unwrap()).await;
    assert_eq!(got.unwrap().status(), 204);
}

#[test]
fn a_route_without_a_permission_does_not_boot() {
    let Api { router, clash } = api();
    let sabotaged = Api { router: router.routes(routes!(confused)), clash };
    let operation = "GET /public-but-asks".to_owned();
    assert_eq!(sabotaged.finish().err(), Some(BootError::NoPermission { operation }));

    let no_reason = Api::<()>::new().public("", routes!(health)).finish();
    assert!(no_reason.is_err());

    let (_, mut document) = api().finish().unwrap();
    let item = document.paths.paths.get_mut("/orders").unwrap();
    extend(item.get.as_mut().unwrap(), X_PERMISSION, "orders:everything");
    assert!(matches!(check(&document), Err(BootError::UnknownPermission { .. })));
}

#[test]
fn the_document_says_who_may_and_what_errors_look_like() {
    let (_, document) = api().finish().unwrap();
    let document = serde_json::to_value(document).unwrap();
    let list = &document["paths"]["/orders"]["get"];
    assert_eq!(list["x-permission"], "orders:read");
    assert_eq!(list["security"][0]["bearer"][0], "orders:read");
    assert_eq!(list["responses"]["default"]["$ref"], "#/components/responses/Problem");
    let problem = &document["components"]["responses"]["Problem"]["content"];
    let schema = &problem["application/problem+json"]["schema"]["$ref"];
    assert_eq!(schema, "#/components/schemas/Problem");
    let members = document["components"]["schemas"]["Problem"].to_string();
    for member in ["type", "title", "status", "code", "errors", "retryable", "trace_id"] {
        assert!(members.contains(&format!("\"{member}\"")), "{member} in {members}");
    }
    assert!(document["components"]["schemas"]["FieldError"].is_object());
    assert_eq!(document["components"]["securitySchemes"]["bearer"]["scheme"], "bearer");
}

mod other {
    #[derive(utoipa::ToSchema)]
    #[expect(dead_code, reason = "for its schema only")]
    pub(super) struct Line {
        sku: String,
    }
}

#[derive(utoipa::ToSchema)]
#[expect(dead_code, reason = "for its schema only")]
struct Line {
    quantity: u32,
}

#[utoipa::path(get, path = "/ours", tag = "ours", responses((status = 200, body = Line)))]
async fn show_ours() {}

#[utoipa::path(get, path = "/theirs", tag = "theirs", responses((status = 200, body = other::Line)))]
async fn show_theirs() {}

#[test]
fn two_types_of_one_name_do_not_boot() {
    let ours = || Api::<()>::new().route(Permission::OrdersRead, routes!(show_ours));
    let theirs = || Api::<()>::new().route(Permission::OrdersRead, routes!(show_theirs));
    let clash = Some(BootError::SchemaClash { name: "Line".to_owned() });
    assert!(ours().nest("/again", ours()).finish().is_ok());
    let both = ours().route(Permission::OrdersRead, routes!(show_theirs));
    assert_eq!(both.finish().err(), clash);
    assert_eq!(ours().merge(theirs()).finish().err(), clash);
    assert_eq!(Api::new().merge(theirs()).nest("/x", ours()).finish().err(), clash);

    let (ours, theirs) = (ours().finish().unwrap().1, theirs().finish().unwrap().1);
    assert_eq!(openapi::clash_between(&ours, &theirs), Some("Line".to_owned()));
    assert_eq!(openapi::clash_between(&ours, &ours), None);
    let operation = ours.paths.paths["/ours"].get.as_ref().unwrap();
    assert_eq!(operation.operation_id.as_deref(), Some("ours_show_ours"));
}
