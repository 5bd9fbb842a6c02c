//! Orders: cancel, refund. Stock and money follow by a process; the order shows how far it is.

use api_kit::{Api, Body, FieldError, Path, Permission, Problem};
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use commands::order::{self as use_case, NewRefund, OrderError, Placed};
use commands::{CommandError, Done};
use event_schemas::ids::{LineId, OrderId, RefundId};
use event_schemas::money::Money;
use event_schemas::order::{RefundLine, Restock};
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::ToSchema;
use utoipa_axum::routes;

use crate::WriteState;
use crate::answer::{self, DoneBody, Headers};
use crate::refusal;
use crate::sender::KeyedSender;

/// Characters of the number of a document.
const REFERENCE_CHARS_MAX: usize = 255;

/// Lines of one refund: as many as an order that was taken over may have.
const LINES_MAX: usize = 1_000;

mod fulfilment;
mod suggestion;

pub(crate) fn api() -> Api<WriteState> {
    Api::new()
        .route(Permission::OrdersWrite, routes!(cancel))
        .route(Permission::OrdersWrite, routes!(refund))
        // Reads the log and not a table, so it counts among the commands.
        .route(Permission::OrdersRead, routes!(suggestion::get))
        .route(Permission::FulfilmentsWrite, routes!(fulfilment::create))
        .route(Permission::FulfilmentsWrite, routes!(fulfilment::ship))
        .route(Permission::FulfilmentsWrite, routes!(fulfilment::deliver))
        .route(Permission::FulfilmentsWrite, routes!(fulfilment::cancel))
}

/// Why an order shall be undone.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "reason": "changed their mind" }))]
struct CancelOrder {
    /// 1 to 500 characters.
    #[serde(default)]
    #[schema(required = true)]
    reason: String,
}

/// Money that shall go back for some of an order.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({
    "amount": { "amount_minor": 1850, "currency": "GBP" }, "reason": "arrived broken"
}))]
struct RefundOrder {
    /// How much, above zero. If left out: what `refund-suggestion` says for the `lines`, or all
    /// that can be refunded.
    amount: Option<Money>,
    /// Units it is for; none if left out.
    #[serde(default)]
    lines: Vec<RefundedLine>,
    /// Document behind it, such as the number of a credit note.
    reference: Option<String>,
    /// 1 to 500 characters.
    #[serde(default)]
    #[schema(required = true)]
    reason: String,
}

/// Units of a line that are refunded, and what becomes of them.
#[derive(Clone, Copy, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct RefundedLine {
    /// Id of a line of the order.
    line_id: LineId,
    /// Units, at least one.
    quantity: u32,
    /// `cancel`: they have not left and shall not. `return`: they left and are back on the shelf.
    /// `none`: they left and stay away. If left out: `cancel` for as many as are open, `return`
    /// for the rest.
    restock: Option<Restock>,
}

/// A request that was taken on.
#[derive(Debug, Serialize, ToSchema)]
struct RefundRequested {
    /// The order, its version and the position.
    #[serde(flatten)]
    done: DoneBody,
    /// The refund under which money goes back.
    refund_id: RefundId,
}

type Accepted = (StatusCode, Headers, Json<RefundRequested>);

/// Cancels an order: its stock is freed and its money given back.
///
/// The order is `cancelling` until both are done, then `cancelled`. Of an order of which some has
/// been shipped, the rest is cancelled: it is refunded as `refund-suggestion` says, and the order
/// stays as it is. `409 already_shipped` if nothing is left to cancel.
#[utoipa::path(post, path = "/api/v1/orders/{order_id}/cancel", tag = "orders",
    params(("order_id" = OrderId, Path), api_kit::headers::RequiredCommand,
        api_kit::headers::Precondition),
    request_body = CancelOrder,
    responses((status = 202, description = "The order is being cancelled.",
        body = RefundRequested)))]
async fn cancel(
    State(state): State<WriteState>,
    KeyedSender(sender): KeyedSender,
    Path(order_id): Path<OrderId>,
    Body { value, digest }: Body<CancelOrder>,
) -> Result<Accepted, Problem> {
    let intent = sender.intent(&digest);
    let done = use_case::cancel(&state.ctx, &intent, order_id, value.reason).await;
    let done = done.map_err(problem)?;
    Ok(accepted(order_id, use_case::new_refund_id(&intent), done))
}

/// Gives money back for some of an order.
#[utoipa::path(post, path = "/api/v1/orders/{order_id}/refunds", tag = "orders",
    params(("order_id" = OrderId, Path), api_kit::headers::RequiredCommand,
        api_kit::headers::Precondition),
    request_body = RefundOrder,
    responses((status = 202, description = "The money is on its way back.",
        body = RefundRequested)))]
async fn refund(
    State(state): State<WriteState>,
    KeyedSender(sender): KeyedSender,
    Path(order_id): Path<OrderId>,
    Body { value, digest }: Body<RefundOrder>,
) -> Result<Accepted, Problem> {
    let intent = sender.intent(&digest);
    check(&value)?;
    let order = use_case::load(&state.ctx, sender.store_id(), order_id).await;
    let order = order.map_err(|error| problem(CommandError::Store(error)))?.state.placed;
    let order = order.ok_or_else(|| Problem::new("order_not_found"))?;
    let new = new_refund(value, &order)?;
    let done = use_case::request_refund(&state.ctx, &intent, order_id, new).await;
    let done = done.map_err(problem)?;
    Ok(accepted(order_id, use_case::new_refund_id(&intent), done))
}

fn accepted(order_id: OrderId, refund_id: RefundId, done: Done) -> Accepted {
    let body = RefundRequested { done: DoneBody::new(order_id, done), refund_id };
    (StatusCode::ACCEPTED, answer::headers(done), Json(body))
}

fn check(body: &RefundOrder) -> Result<(), Problem> {
    if LINES_MAX < body.lines.len() {
        let detail = format!("at most {LINES_MAX} lines");
        return Err(Problem::invalid("/lines", "too_many", detail));
    }
    let long = |text: &String| REFERENCE_CHARS_MAX < text.chars().count();
    if body.reference.as_ref().is_some_and(long) {
        let detail = format!("at most {REFERENCE_CHARS_MAX} characters");
        return Err(Problem::invalid("/reference", "too_long", detail));
    }
    Ok(())
}

/// With the amount that follows from the order, if none was sent. The rules judge it.
fn new_refund(body: RefundOrder, order: &Placed) -> Result<NewRefund, Problem> {
    let RefundOrder { amount, lines, reference, reason } = body;
    let amount = match amount {
        Some(amount) => amount,
        None if lines.is_empty() => order.refundable(),
        None => suggested(&lines, order)?,
    };
    let lines = lines.into_iter().flat_map(|line| treated(line, order)).collect();
    Ok(NewRefund { reference, amount, lines, reason })
}

/// What the lines come to.
fn suggested(lines: &[RefundedLine], order: &Placed) -> Result<Money, Problem> {
    let units: Vec<_> = lines.iter().map(|line| (line.line_id, line.quantity)).collect();
    Ok(order.suggest_refund(&units).map_err(rejected)?.amount)
}

/// The units of a line by what becomes of them.
fn treated(line: RefundedLine, order: &Placed) -> Vec<RefundLine> {
    let RefundedLine { line_id, quantity, restock } = line;
    let of = |quantity, restock| RefundLine { line_id, quantity, restock };
    if let Some(restock) = restock {
        return vec![of(quantity, restock)];
    }
    let open = order.line(line_id).map_or(0, |line| order.open_units(line)).min(quantity);
    match (open, quantity - open) {
        (_, 0) => vec![of(quantity, Restock::Cancel)],
        (0, _) => vec![of(quantity, Restock::Return)],
        (open, rest) => vec![of(open, Restock::Cancel), of(rest, Restock::Return)],
    }
}

fn problem(error: CommandError<OrderError>) -> Problem {
    refusal::problem(error, rejected)
}

/// One row per refusal: the compiler asks for a row when the domain learns a new one.
pub(crate) fn rejected(error: OrderError) -> Problem {
    use OrderError as E;
    let detail = error.to_string();
    match error {
        E::NotFound => Problem::new("order_not_found"),
        E::AlreadyPlaced => Problem::new("already_exists"),
        E::Empty | E::FulfilmentEmpty => Problem::invalid("/lines", "empty", detail),
        E::QuantityZero => Problem::invalid("/lines", "out_of_range", detail),
        E::TotalMismatch => Problem::invalid("/total", "mismatch", detail),
        E::TotalTooHigh => Problem::invalid("/total", "too_high", detail),
        E::BadNumber => Problem::invalid("/number", "bad_length", detail),
        E::IllegalTransition { from, .. } => {
            let problem = Problem::new("illegal_transition").detail(detail);
            problem.extra("current_state", json!(from))
        }
        E::NotPaidYet => Problem::new("payment_in_progress").detail(detail),
        E::AlreadyCancelled => Problem::new("already_cancelled"),
        E::RefundInProgress => Problem::new("refund_in_progress"),
        E::ReasonMissing => {
            let field = FieldError::field("/reason", "empty", detail);
            Problem::new("reason_required").error(field)
        }
        E::ReasonTooLong => Problem::invalid("/reason", "too_long", detail),
        E::AmountNotPositive => Problem::invalid("/amount", "out_of_range", detail),
        E::AmountMismatch => {
            let field = FieldError::field("/amount/currency", "currency_mismatch", detail);
            Problem::new("currency_mismatch").error(field)
        }
        E::AmountExceedsPaid { available } => {
            let problem = Problem::new("refund_exceeds_captured").detail(detail);
            problem.extra("available", json!(available))
        }
        E::UnknownLine { line_id } => {
            Problem::new("line_not_found").extra("line_id", line_id.to_string())
        }
        E::QuantityExceedsBought { line_id, available } => {
            let field = FieldError::field("/lines", "too_high", detail);
            let problem = Problem::new("validation_failed").error(field);
            problem.extra("line_id", line_id.to_string()).extra("available", available)
        }
        E::UnknownRefund => Problem::new("refund_not_found"),
        E::AlreadyShipped => Problem::new("already_shipped"),
        E::UnknownFulfilment => Problem::new("fulfilment_not_found"),
        E::FulfilmentIs { from, .. } => {
            let problem = Problem::new("illegal_transition").detail(detail);
            problem.extra("current_state", json!(from))
        }
        E::ExceedsOpen { line_id, open } => {
            let problem = Problem::new("exceeds_open_quantity").detail(detail);
            problem.extra("line_id", line_id.to_string()).extra("open", open)
        }
        E::TooManyFulfilments => Problem::invalid("", "too_many", detail),
        E::LocationInvalid => Problem::invalid("/location", "bad_characters", detail),
        E::TrackingInvalid { at } => Problem::invalid(at, "invalid", detail),
    }
}

#[cfg(test)]
mod tests {
    use commands::order::{FulfilmentState, OrderStatus};
    use event_schemas::money::Currency;
    use uuid::Uuid;

    use super::*;

    #[test]
    fn every_refusal_has_its_code() {
        use OrderError as E;
        let line_id = LineId(Uuid::from_u128(1));
        let (from, parcel) = (OrderStatus::Cancelled, FulfilmentState::Cancelled);
        let available = Money { amount_minor: 5, currency: Currency::GBP };
        let table = [
            (E::NotFound, 404, "order_not_found"),
            (E::AlreadyPlaced, 409, "already_exists"),
            (E::Empty, 422, "validation_failed"),
            (E::QuantityZero, 422, "validation_failed"),
            (E::TotalTooHigh, 422, "validation_failed"),
            (E::TotalMismatch, 422, "validation_failed"),
            (E::BadNumber, 422, "validation_failed"),
            (E::IllegalTransition { from, command: "be paid" }, 409, "illegal_transition"),
            (E::NotPaidYet, 409, "payment_in_progress"),
            (E::AlreadyCancelled, 409, "already_cancelled"),
            (E::RefundInProgress, 409, "refund_in_progress"),
            (E::ReasonMissing, 422, "reason_required"),
            (E::ReasonTooLong, 422, "validation_failed"),
            (E::AmountNotPositive, 422, "validation_failed"),
            (E::AmountMismatch, 422, "currency_mismatch"),
            (E::AmountExceedsPaid { available }, 409, "refund_exceeds_captured"),
            (E::UnknownLine { line_id }, 404, "line_not_found"),
            (E::QuantityExceedsBought { line_id, available: 1 }, 422, "validation_failed"),
            (E::UnknownRefund, 404, "refund_not_found"),
            (E::AlreadyShipped, 409, "already_shipped"),
            (E::UnknownFulfilment, 404, "fulfilment_not_found"),
            (E::FulfilmentIs { from: parcel, command: "leave" }, 409, "illegal_transition"),
            (E::FulfilmentEmpty, 422, "validation_failed"),
            (E::ExceedsOpen { line_id, open: 1 }, 409, "exceeds_open_quantity"),
            (E::TooManyFulfilments, 422, "validation_failed"),
            (E::LocationInvalid, 422, "validation_failed"),
            (E::TrackingInvalid { at: "/tracking/url" }, 422, "validation_failed"),
        ];
        for (error, status, code) in table {
            let problem = rejected(error);
            assert_eq!((problem.status().as_u16(), problem.code()), (status, code));
        }
    }
}
