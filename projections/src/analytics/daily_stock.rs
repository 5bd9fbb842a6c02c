//! Corrections of stock counts per day. Table `analytics_daily_stock`.

use std::collections::BTreeMap;

use chrono::NaiveDate;
use event_schemas::inventory::StockItemEvent;
use event_store::Recorded;
use sqlx::PgConnection;
use uuid::Uuid;

use crate::{ProjectionError, facts};

#[derive(Default)]
struct Day {
    corrections: i64,
    added: i64,
    removed: i64,
}

/// One statement per batch. What makes it happen once is the checkpoint in the same transaction.
pub(super) async fn apply(
    conn: &mut PgConnection,
    batch: &[Recorded],
) -> Result<(), ProjectionError> {
    let mut days: BTreeMap<(Uuid, NaiveDate), Day> = BTreeMap::new();
    for fact in facts::<StockItemEvent>(batch, "stock_item")? {
        let StockItemEvent::Adjusted(event) = &fact.event else { continue };
        let day = days.entry((fact.recorded.store_id, event.at.date_naive())).or_default();
        day.corrections += 1;
        day.added += event.delta.max(0);
        day.removed -= event.delta.min(0);
    }
    if days.is_empty() {
        return Ok(());
    }
    let (stores, dates): (Vec<Uuid>, Vec<NaiveDate>) = days.keys().copied().unzip();
    let column = |of: fn(&Day) -> i64| days.values().map(of).collect::<Vec<i64>>();
    sqlx::query!(
        "INSERT INTO analytics_daily_stock AS d
             (store_id, day, corrections, units_added, units_removed)
         SELECT * FROM unnest($1::uuid[], $2::date[], $3::bigint[], $4::bigint[], $5::bigint[])
         ON CONFLICT (store_id, day) DO UPDATE
            SET corrections = d.corrections + excluded.corrections,
                units_added = d.units_added + excluded.units_added,
                units_removed = d.units_removed + excluded.units_removed",
        &stores,
        &dates,
        &column(|day| day.corrections),
        &column(|day| day.added),
        &column(|day| day.removed)
    )
    .execute(conn)
    .await?;
    Ok(())
}
