//! How many of a product can be bought: read once for everybody who follows it.

use std::sync::Arc;

use event_schemas::ids::{ProductId, StoreId, VariantId};
use projections::catalog::{PROJECTION, variants};
use quick_cache::sync::Cache;
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use super::feeds::Listener;
use crate::changes::Depends;

/// Products whose state is remembered. Those that somebody follows are asked for the most.
const PRODUCTS_MAX: usize = 4_096;

/// Times somebody else's reading is waited for that then turns out to be too old.
const TRIES: u32 = 3;

/// The newest state of products that are followed.
#[derive(Debug)]
pub(crate) struct Shelf(Cache<(StoreId, Uuid), Arc<Availability>>);

/// State of one product.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Availability {
    product_id: ProductId,
    variants: Vec<VariantUnits>,
    #[serde(skip)]
    depends: Depends,
    #[serde(skip)]
    read: (u64, i64),
}

/// Units of one variant.
#[derive(Debug, PartialEq, Eq, Serialize, ToSchema)]
struct VariantUnits {
    variant_id: VariantId,
    /// Units that can be bought now.
    available: i64,
}

impl Default for Shelf {
    fn default() -> Shelf {
        Shelf(Cache::new(PRODUCTS_MAX))
    }
}

impl Availability {
    pub(super) fn position(&self) -> i64 {
        self.read.1
    }

    pub(super) fn variant_ids(&self) -> impl Iterator<Item = Uuid> {
        self.variants.iter().map(|variant| variant.variant_id.0)
    }

    pub(super) fn same(&self, other: &Availability) -> bool {
        self.variants == other.variants
    }
}

/// The state as the read model has it, and whether anything in it may have changed after position
/// `seen`.
pub(super) async fn available(
    listener: &Listener,
    product_id: Uuid,
    seen: Option<i64>,
) -> Result<(Arc<Availability>, bool), sqlx::Error> {
    let store_id = listener.store_id();
    let Shelf(shelf) = listener.reads().shelf();
    let changes = &listener.reads().following().changes;
    let key = (store_id, product_id);
    let mut now = None;
    for _ in 0..TRIES {
        match shelf.get_value_or_guard_async(&key).await {
            Ok(state) if changes.unchanged(store_id, &state.depends, state.read) => {
                now = Some(state);
                break;
            }
            Ok(old) => drop(shelf.remove_if(&key, |state| Arc::ptr_eq(state, &old))),
            Err(guard) => {
                let state = Arc::new(read(listener, product_id).await?);
                // Refused only if it was taken out meanwhile.
                let _ = guard.insert(Arc::clone(&state));
                now = Some(state);
                break;
            }
        }
    }
    let now = match now {
        Some(now) => now,
        None => Arc::new(read(listener, product_id).await?),
    };
    // The tables may be ahead of the follower, who knows of no change it has not looked at: then
    // this is told, at worst twice.
    let reach = listener.reads().following().reach(&PROJECTION);
    let looked = reach.is_some_and(|reach| now.position() <= reach.position);
    let unchanged = |seen| {
        now.position() <= seen
            || (looked && changes.unchanged(store_id, &now.depends, (changes.epoch(), seen)))
    };
    let is_new = !seen.is_some_and(unchanged);
    Ok((now, is_new))
}

async fn read(listener: &Listener, product_id: Uuid) -> Result<Availability, sqlx::Error> {
    let store_id = listener.store_id();
    let epoch = listener.reads().following().changes.epoch();
    let pool = listener.reads().pool();
    let (mut snapshot, position) =
        projections::as_store_at(pool, store_id, PROJECTION.name).await?;
    let found = variants::of_products(&mut snapshot, store_id, &[product_id]).await?;
    drop(snapshot);
    let variant_ids = found.iter().map(|variant| variant.variant_id).collect();
    let units = found.into_iter().map(|variant| VariantUnits {
        variant_id: VariantId(variant.variant_id),
        available: variant.available,
    });
    Ok(Availability {
        product_id: ProductId(product_id),
        variants: units.collect(),
        depends: Depends::product(product_id, variant_ids),
        read: (epoch, position),
    })
}
