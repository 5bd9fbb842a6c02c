//! The store itself: how it does business.

use api_kit::{Api, Body, Caller, Etag, Permission, Problem};
use axum::Json;
use axum::extract::State;
use axum::response::IntoResponse;
use commands::CommandError;
use commands::store::{self as use_case, Policies, StoreError};
use event_schemas::store::CaptureMoment;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::routes;

use crate::WriteState;
use crate::answer::{self, DoneBody};
use crate::refusal;
use crate::sender::Sender;

pub(crate) fn api() -> Api<WriteState> {
    Api::new()
        // Reads the log and not a table, so it counts among the commands.
        .route(Permission::StoreRead, routes!(get))
        .route(Permission::StoreWrite, routes!(put))
}

/// How a store does business.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "hold_minutes": 15, "capture": "on_shipment" }))]
struct StorePolicies {
    /// Minutes that stock is held for a shopper who has not paid: 5 to 1,440.
    hold_minutes: u32,
    /// When the money of an order is taken: `immediately`, when its stock is allocated; or
    /// `on_shipment`, all of it when the first parcel leaves.
    capture: CaptureMoment,
}

/// How the store does business now.
#[utoipa::path(get, path = "/api/v1/store/policies", tag = "store", operation_id = "policies",
    responses((status = 200, description = "The policies; `ETag` is their version.",
        body = StorePolicies)))]
async fn get(
    State(state): State<WriteState>,
    caller: Caller,
) -> Result<(Etag, Json<StorePolicies>), Problem> {
    let store = use_case::load(&state.ctx, caller.store_id).await;
    let store = store.map_err(|error| problem(CommandError::Store(error)))?;
    let Policies { hold_minutes, capture } = store.state.policies;
    Ok((Etag(store.version), Json(StorePolicies { hold_minutes, capture })))
}

/// Does business so from now on. What is under way goes on as it began.
#[utoipa::path(put, path = "/api/v1/store/policies", tag = "store",
    operation_id = "set_policies",
    params(api_kit::headers::Command, api_kit::headers::Precondition),
    request_body = StorePolicies,
    responses((status = 200, description = "They count from now on.", body = DoneBody)))]
async fn put(
    State(state): State<WriteState>,
    sender: Sender,
    Body { value, digest }: Body<StorePolicies>,
) -> Result<impl IntoResponse, Problem> {
    let StorePolicies { hold_minutes, capture } = value;
    let intent = sender.overwriting(&digest)?;
    let policies = Policies { hold_minutes, capture };
    let done = use_case::set_policies(&state.ctx, &intent, policies).await.map_err(problem)?;
    Ok(answer::done(sender.store_id(), done))
}

fn problem(error: CommandError<StoreError>) -> Problem {
    refusal::problem(error, rejected)
}

fn rejected(error: StoreError) -> Problem {
    match error {
        StoreError::HoldOutOfRange => {
            Problem::invalid("/hold_minutes", "out_of_range", error.to_string())
        }
    }
}
