//! How many units of a variant are where. Tables `catalog_stock_items` and `catalog_stock_levels`.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use event_schemas::{
    ids::StoreId,
    inventory::{LocationQuantity, StockItemEvent},
};
use event_store::Recorded;
use serde::Serialize;
use sqlx::PgConnection;
use uuid::Uuid;

use crate::{Key, ProjectionError, facts};

/// Stock of one variant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct Stock {
    pub variant_id: Uuid,
    /// Version of the stream.
    pub version: i64,
    /// When the last change was recorded.
    pub updated_at: DateTime<Utc>,
    /// By code of the place.
    pub levels: Vec<StockLevel>,
}

/// Units at one place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct StockLevel {
    /// Code of the place.
    pub location: String,
    /// Units that are there.
    pub on_hand: i64,
    /// Of these, held for checkouts that are under way.
    pub reserved: i64,
    /// Of these, belonging to orders.
    pub allocated: i64,
    /// Of these, free to be sold.
    pub available: i64,
}

/// Stock of a variant; `None` if it never had any. Two round trips.
pub async fn get(
    conn: &mut PgConnection,
    store_id: StoreId,
    variant_id: Uuid,
) -> Result<Option<Stock>, sqlx::Error> {
    let item = sqlx::query!(
        "SELECT version, updated_at FROM catalog_stock_items
          WHERE store_id = $1 AND variant_id = $2",
        store_id.0,
        variant_id
    );
    let Some(item) = item.fetch_optional(&mut *conn).await? else {
        return Ok(None);
    };
    let levels = sqlx::query_as!(
        StockLevel,
        r#"SELECT location, on_hand, reserved, allocated, available AS "available!"
             FROM catalog_stock_levels
            WHERE store_id = $1 AND variant_id = $2 ORDER BY location"#,
        store_id.0,
        variant_id
    );
    let levels = levels.fetch_all(conn).await?;
    Ok(Some(Stock { variant_id, version: item.version, updated_at: item.updated_at, levels }))
}

/// Changes of a batch: one row per variant, one per variant and place.
#[derive(Default)]
struct Changes {
    /// The last event of each.
    items: BTreeMap<Key, Latest>,
    levels: BTreeMap<(Key, String), Change>,
}

#[derive(Clone, Copy)]
struct Latest {
    version: i64,
    updated_at: DateTime<Utc>,
    position: i64,
}

#[derive(Clone, Copy, Default)]
struct Change {
    on_hand: i64,
    reserved: i64,
    allocated: i64,
}

/// Two statements per batch, however many events it holds.
pub(super) async fn apply(
    conn: &mut PgConnection,
    batch: &[Recorded],
) -> Result<(), ProjectionError> {
    let facts = facts::<StockItemEvent>(batch, "stock_item")?;
    if facts.is_empty() {
        return Ok(());
    }
    let mut changes = Changes::default();
    for fact in &facts {
        let Recorded { version, recorded_at: updated_at, position, .. } = *fact.recorded;
        changes.items.insert(fact.key(), Latest { version, updated_at, position });
        changes.add(fact.key(), &fact.event);
    }
    store_items(conn, &changes).await?;
    Ok(add_to_levels(conn, &changes).await?)
}

impl Changes {
    fn add(&mut self, key: Key, event: &StockItemEvent) {
        match event {
            StockItemEvent::Received(event) => {
                self.at(key, &event.location).on_hand += i64::from(event.quantity);
            }
            StockItemEvent::Adjusted(event) => self.at(key, &event.location).on_hand += event.delta,
            StockItemEvent::Reserved(event) => {
                self.each(key, &event.parts, |change, units| change.reserved += units);
            }
            // Until when units are held does not change how many are.
            StockItemEvent::ReservationExtended(_) => {}
            StockItemEvent::ReservationReleased(event) => {
                self.each(key, &event.parts, |change, units| change.reserved -= units);
            }
            StockItemEvent::Allocated(event) => {
                self.each(key, &event.parts, |change, units| {
                    change.reserved -= units;
                    change.allocated += units;
                });
            }
            StockItemEvent::Deallocated(event) => {
                self.each(key, &event.parts, |change, units| change.allocated -= units);
            }
            StockItemEvent::Shipped(event) => {
                self.each(key, &event.parts, |change, units| {
                    change.on_hand -= units;
                    change.allocated -= units;
                });
            }
        }
    }

    fn at(&mut self, key: Key, location: &str) -> &mut Change {
        self.levels.entry((key, location.to_owned())).or_default()
    }

    fn each(&mut self, key: Key, parts: &[LocationQuantity], change: fn(&mut Change, i64)) {
        for part in parts {
            change(self.at(key, &part.location), i64::from(part.quantity));
        }
    }
}

async fn store_items(conn: &mut PgConnection, changes: &Changes) -> Result<(), sqlx::Error> {
    let (stores, variants): (Vec<Uuid>, Vec<Uuid>) = changes.items.keys().copied().unzip();
    let latest = || changes.items.values();
    let times: Vec<DateTime<Utc>> = latest().map(|latest| latest.updated_at).collect();
    sqlx::query!(
        "INSERT INTO catalog_stock_items (store_id, variant_id, version, updated_at, position)
         SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::bigint[], $4::timestamptz[], $5::bigint[])
         ON CONFLICT (store_id, variant_id) DO UPDATE
            SET version = excluded.version, updated_at = excluded.updated_at,
                position = excluded.position",
        &stores,
        &variants,
        &latest().map(|latest| latest.version).collect::<Vec<i64>>(),
        &times,
        &latest().map(|latest| latest.position).collect::<Vec<i64>>()
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Not repeatable by itself: what makes it happen once is the checkpoint in the same transaction.
async fn add_to_levels(conn: &mut PgConnection, changes: &Changes) -> Result<(), sqlx::Error> {
    let keys = changes.levels.keys();
    let (keys, locations): (Vec<Key>, Vec<String>) = keys.cloned().unzip();
    let (stores, variants): (Vec<Uuid>, Vec<Uuid>) = keys.into_iter().unzip();
    let column = |of: fn(&Change) -> i64| changes.levels.values().map(of).collect::<Vec<i64>>();
    sqlx::query!(
        "INSERT INTO catalog_stock_levels AS l
             (store_id, variant_id, location, on_hand, reserved, allocated)
         SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::text[], $4::bigint[], $5::bigint[],
                              $6::bigint[])
         ON CONFLICT (store_id, variant_id, location) DO UPDATE
            SET on_hand = l.on_hand + excluded.on_hand,
                reserved = l.reserved + excluded.reserved,
                allocated = l.allocated + excluded.allocated",
        &stores,
        &variants,
        &locations,
        &column(|change| change.on_hand),
        &column(|change| change.reserved),
        &column(|change| change.allocated)
    )
    .execute(conn)
    .await?;
    Ok(())
}
