//! The shipping profile of a store.

use api_kit::{Api, Body, Caller, Class, Etag, Permission, Problem};
use axum::Json;
use axum::extract::State;
use axum::response::IntoResponse;
use commands::CommandError;
use commands::shipping::{self as use_case, ShippingError};
use event_schemas::shipping::ShippingZone;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::routes;

use crate::WriteState;
use crate::answer::{self, DoneBody};
use crate::refusal;
use crate::sender::Sender;

pub(crate) fn api() -> Api<WriteState> {
    use Permission::{PricingRead, PricingWrite};
    Api::new()
        .route(PricingWrite, routes!(define))
        // Reads the log and not a table, so it counts among the commands.
        .classed(Class::Normal, PricingRead, routes!(get))
}

/// How a store sends things, where to, and for how much.
#[derive(Debug, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = ShippingProfile, example = json!({
    "zones": [{
        "code": "home", "places": [{ "country": "GB" }],
        "methods": [{
            "code": "standard", "title": "Standard, 2 days",
            "bands": [
                { "order_minor_min": 5000, "amount": { "amount_minor": 0, "currency": "GBP" } },
                { "weight_g_max": 2000, "amount": { "amount_minor": 395, "currency": "GBP" } }
            ]
        }]
    }]
}))]
struct ShippingProfileBody {
    /// At most 100. Nothing is sent to a place in none of them; without any, carriage is no matter
    /// of this store.
    zones: Vec<ShippingZone>,
}

/// Sets how the store sends things. From then on checkouts need an address, a choice and a quote.
#[utoipa::path(put, path = "/api/v1/shipping-profile", tag = "shipping",
    params(api_kit::headers::Command, api_kit::headers::Precondition),
    request_body = ShippingProfileBody,
    responses((status = 200, description = "The next options follow from it.", body = DoneBody)))]
async fn define(
    State(state): State<WriteState>,
    sender: Sender,
    Body { value, digest }: Body<ShippingProfileBody>,
) -> Result<impl IntoResponse, Problem> {
    let intent = sender.overwriting(&digest)?;
    let done = use_case::define(&state.ctx, &intent, value.zones).await.map_err(problem)?;
    Ok(answer::done(intent.store_id, done))
}

/// How the store sends things, read from the log.
#[utoipa::path(get, path = "/api/v1/shipping-profile", tag = "shipping",
    responses((status = 200, description = "The profile; `ETag` is its version, `\"v0\"` if there \
        is none yet.", body = ShippingProfileBody)))]
async fn get(
    State(state): State<WriteState>,
    caller: Caller,
) -> Result<impl IntoResponse, Problem> {
    let loaded = use_case::load(&state.ctx, caller.store_id).await;
    let loaded = loaded.map_err(|error| problem(CommandError::Store(error)))?;
    let zones = loaded.state.zones.into_values().collect();
    Ok((Etag(loaded.version), Json(ShippingProfileBody { zones })))
}

fn problem(error: CommandError<ShippingError>) -> Problem {
    refusal::problem(error, rejected)
}

fn rejected(error: ShippingError) -> Problem {
    let ShippingError::Invalid { at, why } = error;
    Problem::invalid(&at, "invalid", why)
}
