//! Money given back that belongs to no order we know.

use api_kit::{Limit, Page, Paging, Problem, Query};
use chrono::{DateTime, Utc};
use event_schemas::ids::AdjustmentId;
use event_schemas::money::Money;
use projections::order::PROJECTION;
use projections::order::adjustments::{self, Adjustment, AdjustmentCursor};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::reader::{Freshness, Reader, unreadable};
use crate::value::money;

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct AdjustmentsQuery {
    /// Adjustments of the page.
    #[serde(default)]
    #[param(value_type = u16, minimum = 1, maximum = 100, default = 20)]
    limit: Limit,
    /// `next` of a page: those after it.
    after: Option<String>,
}

/// Money given back without an order.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Adjustment)]
pub(super) struct AdjustmentBody {
    id: AdjustmentId,
    /// Document behind it, unique in the store.
    #[schema(example = "C536379")]
    reference: String,
    amount: Money,
    /// What it was for, in the words of the document.
    lines: Vec<AdjustmentLineBody>,
    /// Your reference of the customer.
    customer_reference: Option<String>,
    reason: String,
    given_at: DateTime<Utc>,
    recorded_at: DateTime<Utc>,
}

/// What some of it was for.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = AdjustmentLine)]
struct AdjustmentLineBody {
    code: String,
    title: String,
    quantity: u32,
    unit_price: Money,
}

/// Refunds that belong to no order, given last first.
#[utoipa::path(get, path = "/api/v1/adjustments", tag = "orders", operation_id = "adjustments",
    params(AdjustmentsQuery, api_kit::headers::Read),
    responses((status = 200, description = "A page of adjustments.",
        body = Page<AdjustmentBody>)))]
pub(super) async fn list(
    reader: Reader,
    Query(query): Query<AdjustmentsQuery>,
) -> Result<(Freshness, Page<AdjustmentBody>), Problem> {
    let AdjustmentsQuery { limit, after } = query;
    let paging = Paging::new(limit, after, None, reader.store_id(), "adjustments")?;
    let after: Option<AdjustmentCursor> = paging.key()?;
    let mut view = reader.view(&PROJECTION).await?;
    let rows = paging.rows();
    let found = adjustments::list(view.conn(), reader.store_id(), after.as_ref(), rows).await;
    let mut page = paging.page(found.map_err(unreadable)?.rows, Adjustment::cursor);
    // There is no way back.
    page.page.prev = None;
    let data = page.data.into_iter().map(AdjustmentBody::new).collect();
    Ok((view.freshness, Page { data, page: page.page }))
}

impl AdjustmentBody {
    fn new(adjustment: Adjustment) -> AdjustmentBody {
        let lines = adjustment.lines.0.into_iter().map(|line| AdjustmentLineBody {
            code: line.code,
            title: line.title,
            quantity: line.quantity,
            unit_price: line.unit_price,
        });
        AdjustmentBody {
            id: AdjustmentId(adjustment.adjustment_id),
            reference: adjustment.reference,
            amount: money(adjustment.amount_minor, &adjustment.currency),
            lines: lines.collect(),
            customer_reference: adjustment.customer_reference,
            reason: adjustment.reason,
            given_at: adjustment.given_at,
            recorded_at: adjustment.recorded_at,
        }
    }
}
