//! Units that came in, and corrections of counts. Table `analytics_stock_movements`.

use chrono::{DateTime, Utc};
use event_schemas::inventory::{StockItemEvent, StockSource};
use serde::Serialize;
use sqlx::{PgConnection, types::Json};
use uuid::Uuid;

use super::spans::Activities;
use crate::Fact;

/// A row of the table.
#[derive(Debug, Serialize)]
struct Movement {
    store_id: Uuid,
    position: i64,
    variant_id: Uuid,
    location: String,
    kind: &'static str,
    source: Option<StockSource>,
    quantity: i64,
    unit_cost_minor: Option<i64>,
    currency: Option<&'static str>,
    reference: Option<String>,
    reason: Option<String>,
    moved_at: DateTime<Utc>,
}

/// One statement.
pub(super) async fn apply(
    conn: &mut PgConnection,
    facts: &[Fact<'_, StockItemEvent>],
    activity: &mut Activities,
) -> Result<(), sqlx::Error> {
    let movements: Vec<Movement> = facts.iter().filter_map(movement).collect();
    if movements.is_empty() {
        return Ok(());
    }
    for movement in movements.iter().filter(|movement| movement.kind == "corrected") {
        activity.at(movement.store_id, movement.moved_at).stock_corrections += 1;
    }
    sqlx::query!(
        "INSERT INTO analytics_stock_movements (store_id, position, variant_id, location, kind,
             source, quantity, unit_cost_minor, currency, reference, reason, moved_at)
         SELECT store_id, position, variant_id, location, kind, source, quantity, unit_cost_minor,
                currency, reference, reason, moved_at
           FROM jsonb_populate_recordset(NULL::analytics_stock_movements, $1)",
        Json(movements) as _
    )
    .execute(conn)
    .await?;
    Ok(())
}

fn movement(fact: &Fact<'_, StockItemEvent>) -> Option<Movement> {
    let (store_id, variant_id) = fact.key();
    let position = fact.recorded.position;
    match &fact.event {
        StockItemEvent::Received(event) => Some(Movement {
            store_id,
            position,
            variant_id,
            location: event.location.clone(),
            kind: "received",
            source: Some(event.source),
            quantity: i64::from(event.quantity),
            unit_cost_minor: event.unit_cost.map(|cost| cost.amount_minor),
            currency: event.unit_cost.map(|cost| cost.currency.code()),
            reference: event.reference.clone(),
            reason: None,
            moved_at: event.at,
        }),
        StockItemEvent::Adjusted(event) => Some(Movement {
            store_id,
            position,
            variant_id,
            location: event.location.clone(),
            kind: "corrected",
            source: None,
            quantity: event.delta,
            unit_cost_minor: None,
            currency: None,
            reference: event.reference.clone(),
            reason: Some(event.reason.clone()),
            moved_at: event.at,
        }),
        _ => None,
    }
}
