//! What happened to an order.

use api_kit::{Limit, Page, Paging, Path, Problem, Query};
use chrono::{DateTime, Utc};
use event_schemas::ids::{ActorId, OrderId};
use projections::order::PROJECTION;
use projections::order::timeline::{self, Entry};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};

use super::find;
use crate::reader::{Freshness, Reader, unreadable};

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct TimelineQuery {
    /// Entries of the page.
    #[serde(default)]
    #[param(value_type = u16, minimum = 1, maximum = 100, default = 20)]
    limit: Limit,
    /// `next` of a page: those after it.
    after: Option<String>,
}

/// One thing that happened.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct TimelineEntry {
    /// Position in the log.
    position: i64,
    /// What happened, such as `order_placed`; more may come.
    #[schema(example = "order_placed")]
    entry: String,
    /// When, in the business.
    at: DateTime<Utc>,
    /// When it was recorded.
    recorded_at: DateTime<Utc>,
    actor: TimelineActor,
    /// Facts, such as `amount`, `reason` or `code`.
    #[schema(value_type = Object)]
    detail: Value,
}

/// Who did it.
#[derive(Debug, Serialize, ToSchema)]
struct TimelineActor {
    /// `user`, `system` or `import`; more may come.
    #[schema(example = "user")]
    kind: String,
    id: ActorId,
}

/// What happened to an order and its payments, oldest first.
///
/// Begins with the first attempt to pay, which is before there is an order.
#[utoipa::path(get, path = "/api/v1/orders/{order_id}/timeline", tag = "orders",
    operation_id = "timeline",
    params(("order_id" = OrderId, Path), TimelineQuery, api_kit::headers::Read),
    responses((status = 200, description = "A page of entries.", body = Page<TimelineEntry>)))]
pub(super) async fn list(
    reader: Reader,
    Path(order_id): Path<OrderId>,
    Query(query): Query<TimelineQuery>,
) -> Result<(Freshness, Page<TimelineEntry>), Problem> {
    let TimelineQuery { limit, after } = query;
    let paging = Paging::new(limit, after, None, reader.store_id(), "order timeline")?;
    let after: i64 = paging.key()?.unwrap_or(0);
    let mut view = reader.view(&PROJECTION).await?;
    let checkout_id = find(&reader, &mut view, order_id).await?.checkout_id;
    let rows = paging.rows();
    let found = timeline::list(view.conn(), reader.store_id(), checkout_id, after, rows).await;
    let mut page = paging.page(found.map_err(unreadable)?.rows, |entry| entry.position);
    // There is no way back.
    page.page.prev = None;
    let data = page.data.into_iter().map(TimelineEntry::new).collect();
    Ok((view.freshness, Page { data, page: page.page }))
}

impl TimelineEntry {
    pub(crate) fn new(entry: Entry) -> TimelineEntry {
        TimelineEntry {
            position: entry.position,
            entry: entry.entry,
            at: entry.at,
            recorded_at: entry.recorded_at,
            actor: TimelineActor { kind: entry.actor_kind, id: ActorId(entry.actor_id) },
            detail: entry.detail,
        }
    }
}
