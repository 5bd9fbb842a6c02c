//! What it is fair to give back, explained.

use api_kit::{Caller, FieldError, Path, Problem, Query};
use axum::Json;
use axum::extract::State;
use commands::CommandError;
use commands::order::{self as use_case, Suggestion};
use event_schemas::ids::{LineId, OrderId};
use event_schemas::money::Money;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::{LINES_MAX, problem, rejected};
use crate::WriteState;

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct SuggestionQuery {
    /// Units by line: `<line_id>:<units>`, with commas between. If left out: all units that are
    /// not refunded yet.
    #[param(example = "lin_01JD5Z7M2K0000000000000000:1")]
    lines: Option<String>,
}

/// What a refund of some units comes to.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct RefundSuggestion {
    /// Line by line.
    lines: Vec<SuggestedLine>,
    /// Carriage, fees and all else that is no line: all of it if these are the last units that are
    /// not refunded, nothing otherwise.
    charges: Money,
    /// What is left of the money that was taken.
    available: Money,
    /// The sum of `lines` and `charges`, but never more than `available`.
    amount: Money,
}

/// What units of one line come to.
#[derive(Debug, Serialize, ToSchema)]
struct SuggestedLine {
    line_id: LineId,
    quantity: u32,
    /// What they cost.
    gross: Money,
    /// Their share of what was taken off; zero or more.
    discount: Money,
    /// What goes back for them.
    amount: Money,
}

/// What it is fair to give back for some units, and why.
///
/// Shares of what was taken off the whole order are rounded so that all units together come to
/// exactly what was paid, in however many refunds. Nothing happens; `POST …/refunds` takes the
/// amount, or another.
#[utoipa::path(get, path = "/api/v1/orders/{order_id}/refund-suggestion", tag = "orders",
    operation_id = "refund_suggestion",
    params(("order_id" = OrderId, Path), SuggestionQuery),
    responses((status = 200, description = "The amount and its parts.", body = RefundSuggestion)))]
pub(super) async fn get(
    State(state): State<WriteState>,
    caller: Caller,
    Path(order_id): Path<OrderId>,
    Query(query): Query<SuggestionQuery>,
) -> Result<Json<RefundSuggestion>, Problem> {
    let order = use_case::load(&state.ctx, caller.store_id, order_id).await;
    let order = order.map_err(|error| problem(CommandError::Store(error)))?.state.placed;
    let order = order.ok_or_else(|| Problem::new("order_not_found"))?;
    let units = match query.lines {
        Some(text) => parsed(&text)?,
        None => order.unrefunded_units(),
    };
    let suggestion = order.suggest_refund(&units).map_err(rejected)?;
    Ok(Json(RefundSuggestion::new(suggestion)))
}

impl RefundSuggestion {
    fn new(suggestion: Suggestion) -> RefundSuggestion {
        let Suggestion { lines, charges, available, amount } = suggestion;
        let line = |line: use_case::SuggestedLine| {
            let use_case::SuggestedLine { line_id, quantity, gross, discount, amount } = line;
            SuggestedLine { line_id, quantity, gross, discount, amount }
        };
        let lines = lines.into_iter().map(line).collect();
        RefundSuggestion { lines, charges, available, amount }
    }
}

/// `<line_id>:<units>`, with commas between.
fn parsed(text: &str) -> Result<Vec<(LineId, u32)>, Problem> {
    let bad = || {
        let detail = format!("send <line_id>:<units> with commas between, at most {LINES_MAX}");
        let error = FieldError::parameter("lines", "bad_format", detail);
        Problem::new("validation_failed").error(error)
    };
    let line = |part: &str| {
        let (line_id, quantity) = part.split_once(':')?;
        Some((line_id.parse().ok()?, quantity.parse().ok()?))
    };
    let lines: Option<Vec<(LineId, u32)>> = text.split(',').take(LINES_MAX + 1).map(line).collect();
    lines.filter(|lines| lines.len() <= LINES_MAX).ok_or_else(bad)
}
