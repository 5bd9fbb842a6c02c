//! Stock: receive what arrives, put right what was counted.

use api_kit::{Api, Body, FieldError, Path, Permission, Problem};
use axum::extract::State;
use axum::response::IntoResponse;
use commands::CommandError;
use commands::inventory as use_case;
use domain::inventory::{Correction, MAIN_LOCATION, Receipt, StockItemError};
use event_schemas::ids::VariantId;
use event_schemas::inventory::StockSource;
use event_schemas::money::Money;
use serde::Deserialize;
use utoipa::ToSchema;
use utoipa_axum::routes;

use crate::WriteState;
use crate::answer::{self, DoneBody};
use crate::refusal;
use crate::sender::Sender;

pub(crate) fn api() -> Api<WriteState> {
    Api::new()
        .route(Permission::StockWrite, routes!(receive))
        .route(Permission::StockWrite, routes!(adjust))
}

/// Units that arrived.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "quantity": 120, "reference": "DN-2031" }))]
struct ReceiveStock {
    /// Code of the place: lower-case letters, digits, `-` and `_`.
    #[serde(default = "main_location")]
    #[schema(default = "main")]
    location: String,
    /// Units, from 1 to a million.
    quantity: u32,
    /// Where they came from.
    #[serde(default = "purchase")]
    #[schema(value_type = StockSource, default = "purchase")]
    source: StockSource,
    /// What one unit cost you.
    unit_cost: Option<Money>,
    /// Document behind it, such as a delivery note number.
    reference: Option<String>,
}

/// A count that is put right.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "delta": -2, "reason": "melted", "expected_on_hand": 120 }))]
struct AdjustStock {
    /// Code of the place.
    #[serde(default = "main_location")]
    #[schema(default = "main")]
    location: String,
    /// Units more, or fewer if negative; not zero.
    delta: i64,
    /// Why, 1 to 500 characters.
    #[serde(default)]
    #[schema(required = true)]
    reason: String,
    /// Document behind it.
    reference: Option<String>,
    /// What is on hand at that place as far as you know; refused if it is not so.
    expected_on_hand: Option<u64>,
}

fn main_location() -> String {
    MAIN_LOCATION.to_owned()
}

fn purchase() -> StockSource {
    StockSource::Purchase
}

/// Takes in units of a variant.
#[utoipa::path(post, path = "/api/v1/stock/{variant_id}/receive", tag = "stock",
    params(("variant_id" = VariantId, Path), api_kit::headers::Command,
        api_kit::headers::Precondition),
    request_body = ReceiveStock,
    responses((status = 200, description = "The units are there.", body = DoneBody)))]
async fn receive(
    State(state): State<WriteState>,
    sender: Sender,
    Path(variant_id): Path<VariantId>,
    Body { value, digest }: Body<ReceiveStock>,
) -> Result<impl IntoResponse, Problem> {
    let ReceiveStock { location, quantity, source, unit_cost, reference } = value;
    let receipt = Receipt { location, quantity, source, unit_cost, reference };
    let intent = sender.intent(&digest);
    let done = use_case::receive(&state.ctx, &intent, variant_id, receipt).await;
    let done = done.map_err(problem)?;
    Ok(answer::done(variant_id, done))
}

/// Puts a count right, with a reason.
#[utoipa::path(post, path = "/api/v1/stock/{variant_id}/adjust", tag = "stock",
    params(("variant_id" = VariantId, Path), api_kit::headers::Command,
        api_kit::headers::Precondition),
    request_body = AdjustStock,
    responses((status = 200, description = "The count is right.", body = DoneBody)))]
async fn adjust(
    State(state): State<WriteState>,
    sender: Sender,
    Path(variant_id): Path<VariantId>,
    Body { value, digest }: Body<AdjustStock>,
) -> Result<impl IntoResponse, Problem> {
    let AdjustStock { location, delta, reason, reference, expected_on_hand } = value;
    let correction = Correction { location, delta, reason, reference, expected_on_hand };
    let intent = sender.intent(&digest);
    let done = use_case::adjust(&state.ctx, &intent, variant_id, correction).await;
    let done = done.map_err(problem)?;
    Ok(answer::done(variant_id, done))
}

fn problem(error: CommandError<StockItemError>) -> Problem {
    refusal::problem(error, rejected)
}

/// One row per refusal: the compiler asks for a row when the domain learns a new one.
pub(crate) fn rejected(error: StockItemError) -> Problem {
    use StockItemError as E;
    let detail = error.to_string();
    let pointer = error.pointer().unwrap_or_default();
    let invalid = |code| Problem::invalid(pointer, code, &detail);
    let conflict = |code| Problem::new(code).detail(&detail);
    match error {
        E::UnknownVariant => Problem::new("variant_not_found"),
        E::InsufficientStock { requested, available } => {
            let problem = conflict("insufficient_stock");
            problem.extra("requested", requested).extra("available", available)
        }
        E::QuantityOutOfRange | E::DeltaOutOfRange | E::UnitCostOutOfRange => {
            invalid("out_of_range")
        }
        E::OnHandTooHigh { .. } => invalid("too_high"),
        E::TooManyLocations => invalid("too_many"),
        E::TextMissing { at: at @ "/reason" } => {
            let field = FieldError::field(at, "empty", &detail);
            Problem::new("reason_required").error(field)
        }
        E::TextMissing { .. } => invalid("empty"),
        E::TextTooLong { .. } => invalid("too_long"),
        E::LocationInvalid | E::TextInvalid { .. } => invalid("bad_characters"),
        E::CompareFailed { expected, actual } => {
            let problem = conflict("quantity_changed");
            problem.extra("expected", expected).extra("actual", actual)
        }
        // More than there is at all is a shortage; more than is free is a promise in the way.
        E::BelowCommitted { on_hand, committed, delta } if on_hand < delta.unsigned_abs() => {
            let problem = conflict("insufficient_stock");
            let available = on_hand.saturating_sub(committed);
            problem.extra("requested", delta.unsigned_abs()).extra("available", available)
        }
        E::BelowCommitted { on_hand, committed, .. } => {
            let problem = conflict("stock_committed");
            problem.extra("on_hand", on_hand).extra("committed", committed)
        }
        E::HoldEndInvalid => invalid("out_of_range"),
        E::HoldNotFound => conflict("reservation_expired"),
        E::HoldAlreadyExtended | E::HoldDiffers { .. } | E::NotAllocated { .. } => {
            conflict("conflict")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_refusal_has_its_code() {
        use StockItemError as E;
        let table = [
            (E::UnknownVariant, 404, "variant_not_found"),
            (E::InsufficientStock { requested: 2, available: 1 }, 409, "insufficient_stock"),
            (E::QuantityOutOfRange, 422, "validation_failed"),
            (E::DeltaOutOfRange, 422, "validation_failed"),
            (E::OnHandTooHigh { at: "/quantity" }, 422, "validation_failed"),
            (E::LocationInvalid, 422, "validation_failed"),
            (E::TooManyLocations, 422, "validation_failed"),
            (E::UnitCostOutOfRange, 422, "validation_failed"),
            (E::TextMissing { at: "/reason" }, 422, "reason_required"),
            (E::TextMissing { at: "/reference" }, 422, "validation_failed"),
            (E::TextTooLong { at: "/reason", max: 1 }, 422, "validation_failed"),
            (E::TextInvalid { at: "/reason" }, 422, "validation_failed"),
            (E::CompareFailed { expected: 2, actual: 1 }, 409, "quantity_changed"),
            (E::BelowCommitted { on_hand: 2, committed: 2, delta: -1 }, 409, "stock_committed"),
            (E::BelowCommitted { on_hand: 2, committed: 0, delta: -3 }, 409, "insufficient_stock"),
            (E::HoldEndInvalid, 422, "validation_failed"),
            (E::HoldNotFound, 409, "reservation_expired"),
            (E::HoldAlreadyExtended, 409, "conflict"),
            (E::HoldDiffers { held: 1, requested: 2 }, 409, "conflict"),
            (E::NotAllocated { requested: 2, allocated: 1 }, 409, "conflict"),
        ];
        for (error, status, code) in table {
            let problem = rejected(error);
            assert_eq!((problem.status().as_u16(), problem.code()), (status, code));
        }
    }
}
