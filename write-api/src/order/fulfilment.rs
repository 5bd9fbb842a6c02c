//! Parcels of an order: pack, ship, deliver, keep back.

use api_kit::{Body, NoBody, Path, Problem};
use axum::Json;
use axum::extract::State;
use axum::response::IntoResponse;
use commands::Done;
use commands::fulfilment::{self as use_case, FulfilmentError};
use event_schemas::fulfilment::{FulfilmentLine, Tracking};
use event_schemas::ids::{FulfilmentId, LineId, OrderId};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{LINES_MAX, problem};
use crate::WriteState;
use crate::answer::{self, DoneBody, Headers};
use crate::sender::KeyedSender;

/// What shall leave together.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({
    "location": "main", "lines": [{ "line_id": "lin_01JD5Z7M2K0000000000000000", "quantity": 1 }]
}))]
pub(super) struct CreateFulfilment {
    /// Code of the place it leaves from. If left out: the one that has most of it for the order.
    location: Option<String>,
    /// What is in it. If left out: all units that are open.
    lines: Option<Vec<PackedLine>>,
}

/// Units of a line in a parcel.
#[derive(Clone, Copy, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct PackedLine {
    /// Id of a line of the order.
    line_id: LineId,
    /// Units, at least one, at most those that are open.
    quantity: u32,
}

/// How the shopper follows a parcel that leaves.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({
    "tracking": { "carrier": "royal_mail", "number": "RM123456785GB",
        "url": "https://example.com/track/RM123456785GB" }
}))]
pub(super) struct ShipFulfilment {
    /// None for what is carried round.
    tracking: Option<Tracking>,
}

/// Why a parcel does not leave.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "reason": "the box was damaged" }))]
pub(super) struct CancelFulfilment {
    /// 1 to 500 characters.
    #[serde(default)]
    #[schema(required = true)]
    reason: String,
}

/// What became of a parcel.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct FulfilmentDone {
    /// The order, its version and the position.
    #[serde(flatten)]
    done: DoneBody,
    /// The parcel.
    fulfilment_id: FulfilmentId,
}

type Answer = (Headers, Json<FulfilmentDone>);

/// Packs a parcel: units that shall leave together.
///
/// Only of what is paid, or whose money is taken when it is shipped. `409 exceeds_open_quantity` for
/// units that are in another parcel or cancelled, `409 insufficient_stock` if the place does not
/// have them.
#[utoipa::path(post, path = "/api/v1/orders/{order_id}/fulfilments", tag = "orders",
    operation_id = "create_fulfilment",
    params(("order_id" = OrderId, Path), api_kit::headers::RequiredCommand,
        api_kit::headers::Precondition),
    request_body = CreateFulfilment,
    responses((status = 201, description = "It can be shipped.", body = FulfilmentDone)))]
pub(super) async fn create(
    State(state): State<WriteState>,
    KeyedSender(sender): KeyedSender,
    Path(order_id): Path<OrderId>,
    Body { value, digest }: Body<CreateFulfilment>,
) -> Result<impl IntoResponse, Problem> {
    let intent = sender.intent(&digest);
    let CreateFulfilment { location, lines } = value;
    if lines.as_ref().is_some_and(|lines| LINES_MAX < lines.len()) {
        let detail = format!("at most {LINES_MAX} lines");
        return Err(Problem::invalid("/lines", "too_many", detail));
    }
    let packed = |PackedLine { line_id, quantity }| FulfilmentLine { line_id, quantity };
    let lines = lines.map(|lines| lines.into_iter().map(packed).collect());
    let done = use_case::create(&state.ctx, &intent, order_id, (location, lines)).await;
    let done = done.map_err(refused)?;
    let fulfilment_id = use_case::new_fulfilment_id(&intent);
    let body = FulfilmentDone { done: DoneBody::new(order_id, done), fulfilment_id };
    Ok(answer::created(&format!("orders/{order_id}/fulfilments"), fulfilment_id, done, body))
}

/// The parcel leaves: its units leave the stock.
///
/// If the store takes money on shipment, the first parcel takes all of it.
#[utoipa::path(post, path = "/api/v1/orders/{order_id}/fulfilments/{fulfilment_id}/ship",
    tag = "orders", operation_id = "ship_fulfilment",
    params(("order_id" = OrderId, Path), ("fulfilment_id" = FulfilmentId, Path),
        api_kit::headers::RequiredCommand, api_kit::headers::Precondition),
    request_body = ShipFulfilment,
    responses((status = 200, description = "It is on its way.", body = FulfilmentDone)))]
pub(super) async fn ship(
    State(state): State<WriteState>,
    KeyedSender(sender): KeyedSender,
    Path((order_id, fulfilment_id)): Path<(OrderId, FulfilmentId)>,
    Body { value, digest }: Body<ShipFulfilment>,
) -> Result<Answer, Problem> {
    let (intent, parcel) = (sender.intent(&digest), (order_id, fulfilment_id));
    let done = use_case::ship(&state.ctx, &intent, parcel, value.tracking).await;
    Ok(answered(parcel, done.map_err(refused)?))
}

/// The parcel arrived.
#[utoipa::path(post, path = "/api/v1/orders/{order_id}/fulfilments/{fulfilment_id}/deliver",
    tag = "orders", operation_id = "deliver_fulfilment",
    params(("order_id" = OrderId, Path), ("fulfilment_id" = FulfilmentId, Path),
        api_kit::headers::RequiredCommand, api_kit::headers::Precondition),
    responses((status = 200, description = "It has arrived.", body = FulfilmentDone)))]
pub(super) async fn deliver(
    State(state): State<WriteState>,
    KeyedSender(sender): KeyedSender,
    Path((order_id, fulfilment_id)): Path<(OrderId, FulfilmentId)>,
    body: NoBody,
) -> Result<Answer, Problem> {
    let (intent, parcel) = (sender.intent(&body.digest), (order_id, fulfilment_id));
    let done = use_case::deliver(&state.ctx, &intent, parcel).await;
    Ok(answered(parcel, done.map_err(refused)?))
}

/// The parcel does not leave: its units are open again.
#[utoipa::path(post, path = "/api/v1/orders/{order_id}/fulfilments/{fulfilment_id}/cancel",
    tag = "orders", operation_id = "cancel_fulfilment",
    params(("order_id" = OrderId, Path), ("fulfilment_id" = FulfilmentId, Path),
        api_kit::headers::RequiredCommand, api_kit::headers::Precondition),
    request_body = CancelFulfilment,
    responses((status = 200, description = "It will not leave.", body = FulfilmentDone)))]
pub(super) async fn cancel(
    State(state): State<WriteState>,
    KeyedSender(sender): KeyedSender,
    Path((order_id, fulfilment_id)): Path<(OrderId, FulfilmentId)>,
    Body { value, digest }: Body<CancelFulfilment>,
) -> Result<Answer, Problem> {
    let (intent, parcel) = (sender.intent(&digest), (order_id, fulfilment_id));
    let done = use_case::cancel(&state.ctx, &intent, parcel, value.reason).await;
    Ok(answered(parcel, done.map_err(refused)?))
}

fn answered((order_id, fulfilment_id): (OrderId, FulfilmentId), done: Done) -> Answer {
    let body = FulfilmentDone { done: DoneBody::new(order_id, done), fulfilment_id };
    (answer::headers(done), Json(body))
}

fn refused(error: FulfilmentError) -> Problem {
    let detail = error.to_string();
    match error {
        FulfilmentError::Order(error) => problem(error),
        FulfilmentError::AuthorisationGone => Problem::new("authorisation_gone"),
        FulfilmentError::ShortAt { variant_id, location, requested, available } => {
            let problem = Problem::new("insufficient_stock").detail(detail);
            let problem = problem.extra("variant_id", variant_id.to_string());
            let problem = problem.extra("location", location).extra("requested", requested);
            problem.extra("available", available)
        }
    }
}
