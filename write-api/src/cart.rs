//! Carts: gather what shall be bought, and see what has changed about it.
//!
//! Every change is answered with the whole cart as it is now, and so is every refusal, in its
//! member `cart`: a client that showed the change before it was made has what it needs to take it
//! back. A repeat has no second effect and is answered with the cart as it is by then.

use api_kit::{
    Api, Body, Caller, Class, Etag, NoBody, Path, Permission, Position, Problem, Replayed,
};
use axum::Json;
use axum::extract::State;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use commands::cart::{self as use_case, AddError, CartCommand, CartError, CartView};
use commands::{CommandError, Done};
use event_schemas::ids::{CartId, StoreId, VariantId};
use serde::Deserialize;
use serde_json::json;
use utoipa::ToSchema;
use utoipa_axum::routes;

use crate::WriteState;
use crate::cart_problem::{not_added, problem};
use crate::sender::Sender;

mod answer;

use answer::CartBody;

pub(crate) fn api() -> Api<WriteState> {
    use Permission::{CheckoutsRead, CheckoutsWrite};
    let write = |api: Api<WriteState>, routes| api.classed(Class::Normal, CheckoutsWrite, routes);
    let api = write(Api::new(), routes!(start));
    let api = write(api, routes!(add));
    let api = write(api, routes!(change_quantity, remove));
    let api = write(api, routes!(apply_coupon));
    let api = write(api, routes!(remove_coupon));
    let api = write(api, routes!(see_prices));
    let api = write(api, routes!(identify));
    // Reads the log and not a table, so it counts among the commands.
    api.classed(Class::Normal, CheckoutsRead, routes!(get))
}

/// Whose cart shall be started.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "customer_reference": "C-1042" }))]
struct StartCart {
    /// Your own reference of the customer, up to 255 characters; no name, no address. None for a
    /// guest.
    customer_reference: Option<String>,
}

/// What shall be put into a cart.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "variant_id": "var_01JD5Z7M2K0000000000000000", "quantity": 2 }))]
struct AddItem {
    variant_id: VariantId,
    /// Units that come on top of those that are in it: 1 to 999, and no more than 999 together.
    quantity: u32,
}

/// How much of it there shall be.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "quantity": 3 }))]
struct ChangeQuantity {
    /// Units, 1 to 999.
    quantity: u32,
}

/// A code the shopper gave.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "code": "XMAS10" }))]
struct ApplyCoupon {
    /// In any case; up to 64 characters.
    code: String,
}

/// Who has logged in.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "customer_reference": "C-1042" }))]
struct IdentifyCustomer {
    /// Your own reference of the customer, up to 255 characters; no name, no address.
    customer_reference: String,
}

/// Starts a cart, or answers the one that the customer has.
#[utoipa::path(post, path = "/api/v1/carts", tag = "carts",
    params(api_kit::headers::Command),
    request_body = StartCart,
    responses(
        (status = 201, description = "An empty cart; `Location` says where.", body = CartBody),
        (status = 200, description = "The cart that the customer has.", body = CartBody)))]
async fn start(
    State(state): State<WriteState>,
    sender: Sender,
    Body { value, digest }: Body<StartCart>,
) -> Result<Response, Problem> {
    let intent = sender.intent(&digest);
    let started = use_case::start(&state.ctx, &intent, value.customer_reference).await;
    let use_case::Started { cart_id, new, replayed } = started.map_err(problem)?;
    let mut response = whole(&state, (sender.store_id(), cart_id), replayed).await?;
    if new {
        *response.status_mut() = StatusCode::CREATED;
        let address = HeaderValue::try_from(format!("/api/v1/carts/{cart_id}"));
        let address = address.expect("an address is visible ASCII");
        response.headers_mut().insert(header::LOCATION, address);
    }
    Ok(response)
}

/// A cart as it is now: prices, availability and what has changed since the shopper saw it last.
#[utoipa::path(get, path = "/api/v1/carts/{cart_id}", tag = "carts",
    params(("cart_id" = CartId, Path)),
    responses((status = 200, description = "The cart; `ETag` is its version.", body = CartBody)))]
async fn get(
    State(state): State<WriteState>,
    caller: Caller,
    Path(id): Path<CartId>,
) -> Result<Response, Problem> {
    whole(&state, (caller.store_id, id), false).await
}

/// Puts units of a variant into a cart. Needs no `If-Match`: what others add stays.
///
/// `409 not_for_sale` if it cannot be bought now. Too little stock is no refusal but one of the
/// `problems` of the answer.
#[utoipa::path(post, path = "/api/v1/carts/{cart_id}/items", tag = "carts",
    params(("cart_id" = CartId, Path), api_kit::headers::Command, api_kit::headers::Precondition),
    request_body = AddItem,
    responses((status = 200, description = "The cart with the units in it.", body = CartBody)))]
async fn add(
    State(state): State<WriteState>,
    sender: Sender,
    Path(id): Path<CartId>,
    Body { value, digest }: Body<AddItem>,
) -> Result<Response, Problem> {
    let AddItem { variant_id, quantity } = value;
    let intent = sender.intent(&digest);
    let done = use_case::add(&state.ctx, &intent, id, (variant_id, quantity)).await;
    let cart = (sender.store_id(), id);
    match done {
        Ok(done) => whole(&state, cart, done.replayed).await,
        Err(AddError::Command(error)) => Err(refused(&state, cart, error).await),
        Err(error) => Err(with_cart(&state, cart, not_added(error)).await),
    }
}

/// Sets how many units a line has.
#[utoipa::path(put, path = "/api/v1/carts/{cart_id}/items/{variant_id}", tag = "carts",
    params(("cart_id" = CartId, Path), ("variant_id" = VariantId, Path),
        api_kit::headers::Command, api_kit::headers::Precondition),
    request_body = ChangeQuantity,
    responses((status = 200, description = "The cart with that quantity.", body = CartBody)))]
async fn change_quantity(
    State(state): State<WriteState>,
    sender: Sender,
    Path((id, variant_id)): Path<(CartId, VariantId)>,
    Body { value, digest }: Body<ChangeQuantity>,
) -> Result<Response, Problem> {
    let quantity = value.quantity;
    let command = |at| CartCommand::ChangeQuantity { variant_id, quantity, at };
    change(&state, &sender, (id, digest), command).await
}

/// Takes a line out. Fine if there is none.
#[utoipa::path(delete, path = "/api/v1/carts/{cart_id}/items/{variant_id}", tag = "carts",
    params(("cart_id" = CartId, Path), ("variant_id" = VariantId, Path),
        api_kit::headers::Command, api_kit::headers::Precondition),
    responses((status = 200, description = "The cart without it.", body = CartBody)))]
async fn remove(
    State(state): State<WriteState>,
    sender: Sender,
    Path((id, variant_id)): Path<(CartId, VariantId)>,
    body: NoBody,
) -> Result<Response, Problem> {
    let command = |at| CartCommand::Remove { variant_id, at };
    change(&state, &sender, (id, body.digest), command).await
}

/// Adds the code of a coupon. What it is worth is for the quote of the checkout.
#[utoipa::path(post, path = "/api/v1/carts/{cart_id}/coupons", tag = "carts",
    params(("cart_id" = CartId, Path), api_kit::headers::Command, api_kit::headers::Precondition),
    request_body = ApplyCoupon,
    responses((status = 200, description = "The cart with the code.", body = CartBody)))]
async fn apply_coupon(
    State(state): State<WriteState>,
    sender: Sender,
    Path(id): Path<CartId>,
    Body { value, digest }: Body<ApplyCoupon>,
) -> Result<Response, Problem> {
    let command = |at| CartCommand::ApplyCoupon { code: value.code, at };
    change(&state, &sender, (id, digest), command).await
}

/// Takes the code of a coupon back. Fine if it is not there.
#[utoipa::path(delete, path = "/api/v1/carts/{cart_id}/coupons/{code}", tag = "carts",
    params(("cart_id" = CartId, Path), ("code" = String, Path),
        api_kit::headers::Command, api_kit::headers::Precondition),
    responses((status = 200, description = "The cart without the code.", body = CartBody)))]
async fn remove_coupon(
    State(state): State<WriteState>,
    sender: Sender,
    Path((id, code)): Path<(CartId, String)>,
    body: NoBody,
) -> Result<Response, Problem> {
    let command = |at| CartCommand::RemoveCoupon { code, at };
    change(&state, &sender, (id, body.digest), command).await
}

/// Says that the shopper was shown the prices of now: `price_changed` is no problem any more.
#[utoipa::path(post, path = "/api/v1/carts/{cart_id}/seen", tag = "carts",
    params(("cart_id" = CartId, Path), api_kit::headers::Command, api_kit::headers::Precondition),
    responses((status = 200, description = "The cart.", body = CartBody)))]
async fn see_prices(
    State(state): State<WriteState>,
    sender: Sender,
    Path(id): Path<CartId>,
    body: NoBody,
) -> Result<Response, Problem> {
    let intent = sender.intent(&body.digest);
    let done = use_case::see_prices(&state.ctx, &intent, id).await;
    changed(&state, (sender.store_id(), id), done).await
}

/// Says whose cart it is, on login. If the customer has one, both become one.
///
/// Of a variant in both the larger quantity counts; no line is lost, and repeating it changes
/// nothing. The answer is the cart that counts from now on: look at its `id`.
#[utoipa::path(put, path = "/api/v1/carts/{cart_id}/customer", tag = "carts",
    params(("cart_id" = CartId, Path), api_kit::headers::Command),
    request_body = IdentifyCustomer,
    responses((status = 200, description = "The customer's cart.", body = CartBody)))]
async fn identify(
    State(state): State<WriteState>,
    sender: Sender,
    Path(id): Path<CartId>,
    Body { value, digest }: Body<IdentifyCustomer>,
) -> Result<Response, Problem> {
    let intent = sender.intent(&digest);
    let theirs = use_case::identify(&state.ctx, &intent, id, value.customer_reference).await;
    match theirs {
        Ok(theirs) => whole(&state, (sender.store_id(), theirs), false).await,
        Err(error) => Err(refused(&state, (sender.store_id(), id), error).await),
    }
}

/// Puts a command to a cart and answers with the whole of it.
async fn change(
    state: &WriteState,
    sender: &Sender,
    (id, digest): (CartId, [u8; 32]),
    command: impl FnOnce(chrono::DateTime<chrono::Utc>) -> CartCommand,
) -> Result<Response, Problem> {
    let intent = sender.intent(&digest);
    let done = use_case::change(&state.ctx, &intent, id, command(intent.at)).await;
    changed(state, (sender.store_id(), id), done).await
}

async fn changed(
    state: &WriteState,
    cart: (StoreId, CartId),
    done: Result<Done, CommandError<CartError>>,
) -> Result<Response, Problem> {
    match done {
        Ok(done) => whole(state, cart, done.replayed).await,
        Err(error) => Err(refused(state, cart, error).await),
    }
}

/// The cart as it is now.
async fn whole(
    state: &WriteState,
    cart: (StoreId, CartId),
    replayed: bool,
) -> Result<Response, Problem> {
    let view = view(state, cart).await?.ok_or_else(|| Problem::new("cart_not_found"))?;
    let headers = (Etag(view.version), Position(view.position), Replayed(replayed));
    Ok((headers, Json(CartBody::new(view))).into_response())
}

async fn view(
    state: &WriteState,
    (store_id, id): (StoreId, CartId),
) -> Result<Option<CartView>, Problem> {
    let view = use_case::view(&state.ctx, store_id, id).await;
    view.map_err(|error| problem(CommandError::Store(error)))
}

/// The problem, with the cart as it is if a rule or the version was against the change.
async fn refused(
    state: &WriteState,
    cart: (StoreId, CartId),
    error: CommandError<CartError>,
) -> Problem {
    let known = matches!(error, CommandError::Rejected(_) | CommandError::Stale { .. });
    let problem = problem(error);
    if known { with_cart(state, cart, problem).await } else { problem }
}

async fn with_cart(state: &WriteState, cart: (StoreId, CartId), problem: Problem) -> Problem {
    match view(state, cart).await {
        Ok(Some(view)) => problem.extra("cart", json!(CartBody::new(view))),
        // The refusal is the answer, with the cart or without it.
        Ok(None) | Err(_) => problem,
    }
}
