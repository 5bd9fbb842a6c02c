//! The example of the crate's documentation, as it runs.

use axum::Json;
use axum::extract::{FromRequestParts, State};
use axum::http::request::Parts;
use axum::response::IntoResponse;
use event_schemas::ids::OrderId;
use serde::{Deserialize, Serialize};
use tower::ServiceExt as _;
use utoipa_axum::routes;
use uuid::Uuid;

use super::{answer, ask, edge};
use crate::{
    Api, Body, Caller, Etag, Idempotency, IfMatch, Path, Permission, Position, Problem, Replayed,
    RequiredIdempotency, Validation, openapi,
};

#[derive(Clone)]
struct Ctx {
    version: i64,
}

#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
struct CancelBody {
    /// Shown to the shopper.
    reason: String,
}

#[derive(Serialize, utoipa::ToSchema)]
struct OrderBody {
    order_id: OrderId,
    store: String,
}

/// What every command asks of its request. A handler has five arguments at most.
struct Sender {
    caller: Caller,
    if_match: IfMatch,
    key: Idempotency,
}

impl FromRequestParts<Ctx> for Sender {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, ctx: &Ctx) -> Result<Sender, Problem> {
        let caller = Caller::from_request_parts(parts, ctx).await?;
        let if_match = IfMatch::from_request_parts(parts, ctx).await?;
        let RequiredIdempotency(key) = RequiredIdempotency::from_request_parts(parts, ctx).await?;
        Ok(Sender { caller, if_match, key })
    }
}

/// Cancels an order.
#[utoipa::path(post, path = "/api/v1/orders/{order_id}/cancel", tag = "orders",
    params(("order_id" = OrderId, Path), crate::headers::RequiredCommand,
        crate::headers::Precondition),
    request_body = CancelBody, responses((status = 200, body = OrderBody)))]
async fn cancel(
    State(ctx): State<Ctx>,
    Path(order_id): Path<OrderId>,
    sender: Sender,
    body: Body<CancelBody>,
) -> Result<impl IntoResponse, Problem> {
    let Sender { caller, if_match, key } = sender;
    let mut check = Validation::new();
    check.that(!body.value.reason.is_empty(), "/reason", "empty", "say why");
    check.finish()?;
    if if_match.required()?.is_some_and(|version| version != ctx.version) {
        return Err(Problem::new("version_mismatch").extra("current_version", ctx.version));
    }
    assert_ne!(key.fingerprint(&body.digest), [0; 32]);
    let answer = OrderBody { order_id, store: caller.store_slug };
    Ok((Etag(ctx.version + 1), Position(7), Replayed(false), Json(answer)))
}

async fn send(if_match: Option<&str>, body: &str) -> super::Answer {
    let api = Api::new().route(Permission::OrdersWrite, routes!(cancel));
    let (router, _) = api.finish().unwrap();
    let app = edge().wrap(router.with_state(Ctx { version: 17 }));
    let path = format!("/api/v1/orders/{}/cancel", OrderId(Uuid::from_u128(1)));
    let mut request = ask("POST", &path).header("content-type", "application/json");
    request = request.header("idempotency-key", "one");
    if let Some(tag) = if_match {
        request = request.header("if-match", tag);
    }
    let request = request.body(axum::body::Body::from(body.to_owned())).unwrap();
    answer(app.oneshot(request).await.unwrap()).await
}

#[tokio::test]
async fn the_example_works() {
    let good = send(Some("\"v17\""), r#"{"reason":"wrong size"}"#).await;
    assert_eq!((good.status.as_u16(), &good.body["store"]), (200, &"demo".into()));
    assert_eq!((good.header("etag"), good.header("x-position")), (Some("\"v18\""), Some("7")));

    let stale = send(Some("\"v16\""), r#"{"reason":"wrong size"}"#).await;
    assert_eq!((stale.code(), &stale.body["current_version"]), ("version_mismatch", &17.into()));
    assert_eq!(send(None, r#"{"reason":"x"}"#).await.code(), "precondition_required");
    let empty = send(None, r#"{"reason":""}"#).await;
    assert_eq!(empty.refusal(), (422, "validation_failed", "/reason empty".to_owned()));
}

#[test]
fn the_document_of_the_example_names_each_parameter_once() {
    let api = Api::<Ctx>::new().route(Permission::OrdersWrite, routes!(cancel));
    let (_, mut document) = api.finish().unwrap();
    assert_eq!(openapi::dangling(&document).len(), 0);
    let schemas = &mut document.components.as_mut().unwrap().schemas;
    let removed = schemas.remove("OrderId").unwrap();
    assert_eq!(openapi::dangling(&document).len(), 1);
    document.components.as_mut().unwrap().schemas.insert("OrderId".into(), removed);
    let document = serde_json::to_value(document).unwrap();
    let cancel = &document["paths"]["/api/v1/orders/{order_id}/cancel"]["post"];
    let parameters = cancel["parameters"].as_array().unwrap();
    let names: Vec<&str> = parameters.iter().filter_map(|p| p["name"].as_str()).collect();
    assert_eq!(names, ["order_id", "Idempotency-Key", "X-Request-Timeout", "If-Match"]);
    assert_eq!(parameters[0]["schema"]["$ref"], "#/components/schemas/OrderId");
    let body = &cancel["requestBody"]["content"]["application/json"]["schema"]["$ref"];
    assert_eq!(body, "#/components/schemas/CancelBody");
}
