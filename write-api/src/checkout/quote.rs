//! What a checkout costs: how it can be sent, and the quote that is paid.

use api_kit::{Api, Body, Caller, Class, Path, Permission, Problem};
use axum::Json;
use axum::extract::State;
use axum::response::Response;
use commands::checkout::{self as use_case, QuoteError};
use commands::{CommandError, Done, Intent};
use event_schemas::ids::CheckoutId;
use event_schemas::quote::ShippingOption;
use serde::Serialize;
use serde_json::json;
use utoipa::ToSchema;
use utoipa_axum::routes;

use super::answer::{Asked, CheckoutBody, QuoteBody, answer};
use super::body::{AskQuote, ChooseShipping};
use super::problem::not_quoted;
use crate::WriteState;
use crate::sender::{KeyedSender, Sender};

pub(super) fn api() -> Api<WriteState> {
    use Permission::{CheckoutsRead, CheckoutsWrite};
    Api::new()
        .classed(Class::Normal, CheckoutsRead, routes!(shipping_options))
        .classed(Class::Normal, CheckoutsWrite, routes!(choose_shipping))
        .classed(Class::Normal, CheckoutsWrite, routes!(quote))
}

/// The ways a checkout can be sent.
#[derive(Debug, Serialize, ToSchema)]
struct ShippingOptions {
    /// None if the store sends without a profile.
    data: Vec<ShippingOption>,
}

/// The ways a checkout can be sent to its address, with their prices.
///
/// `409 checkout_incomplete` without an address; `422 address_undeliverable` if there is no way.
#[utoipa::path(get, path = "/api/v1/checkouts/{checkout_id}/shipping-options", tag = "checkouts",
    params(("checkout_id" = CheckoutId, Path)),
    responses((status = 200, description = "The ways, as the store ranks them.",
        body = ShippingOptions)))]
async fn shipping_options(
    State(state): State<WriteState>,
    caller: Caller,
    Path(id): Path<CheckoutId>,
) -> Result<Json<ShippingOptions>, Problem> {
    let options = use_case::shipping_options(&state.ctx, caller.store_id, id).await;
    Ok(Json(ShippingOptions { data: options.map_err(not_quoted)? }))
}

/// Chooses how a checkout is sent. Its price is good until `expires_at`; a quote is needed anew.
#[utoipa::path(put, path = "/api/v1/checkouts/{checkout_id}/shipping", tag = "checkouts",
    params(("checkout_id" = CheckoutId, Path), api_kit::headers::Command,
        api_kit::headers::Precondition),
    request_body = ChooseShipping,
    responses((status = 200, description = "It is sent that way.", body = CheckoutBody)))]
async fn choose_shipping(
    State(state): State<WriteState>,
    sender: Sender,
    Path(id): Path<CheckoutId>,
    Body { value, digest }: Body<ChooseShipping>,
) -> Result<Response, Problem> {
    let intent = sender.intent(&digest);
    let choosing = use_case::choose_shipping(&state.ctx, &intent, id, &value.option);
    let done = Box::pin(choosing).await;
    as_of(&state, &intent, id, done.map_err(not_quoted)?).await
}

/// Prices a checkout: lines, coupons, carriage and tax. The answer is what the shopper pays.
///
/// A use of each coupon is claimed until the quote expires, and to the end once a payment begins.
#[utoipa::path(post, path = "/api/v1/checkouts/{checkout_id}/quote", tag = "checkouts",
    params(("checkout_id" = CheckoutId, Path), api_kit::headers::RequiredCommand,
        api_kit::headers::Precondition),
    request_body = AskQuote,
    responses((status = 200, description = "The checkout with its quote.", body = CheckoutBody)))]
async fn quote(
    State(state): State<WriteState>,
    KeyedSender(sender): KeyedSender,
    Path(id): Path<CheckoutId>,
    Body { value, digest }: Body<AskQuote>,
) -> Result<Response, Problem> {
    let intent = sender.intent(&digest);
    let done = Box::pin(use_case::quote(&state.ctx, &intent, id, value.coupons)).await;
    as_of(&state, &intent, id, done.map_err(not_quoted)?).await
}

/// The checkout as the command left it, so that a repeat gets the same answer.
async fn as_of(
    state: &WriteState,
    intent: &Intent,
    id: CheckoutId,
    done: Done,
) -> Result<Response, Problem> {
    let store_error = |error| super::problem(CommandError::Store(error));
    let view = use_case::settled(&state.ctx, intent.store_id, id, done.position).await;
    let view = view.map_err(store_error)?.ok_or_else(|| Problem::new("checkout_not_found"))?;
    Ok(answer(Asked::Read, (view, None), done.replayed))
}

/// The quote has expired; this is what it would cost now. Nobody pays that without asking for it.
pub(super) async fn expired(state: &WriteState, intent: &Intent, id: CheckoutId) -> Problem {
    let expired = Problem::new("quote_expired");
    match use_case::preview(&state.ctx, intent, id).await {
        Ok(quote) => expired.extra("quote", json!(QuoteBody::new(quote))),
        // The log is away, or nothing can be sold like this any more: that comes first.
        Err(error @ QuoteError::Command(CommandError::Store(_))) => not_quoted(error),
        Err(_) => expired,
    }
}
