//! What can be bought, at which price. Table `catalog_variants`.

use event_schemas::{
    catalog::{PriceSet, ProductEvent, VariantAdded},
    ids::StoreId,
};
use serde::Serialize;
use sqlx::{PgConnection, types::Json};
use uuid::Uuid;

use crate::{Fact, ProjectionError};

/// A variant of a product.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct Variant {
    pub store_id: Uuid,
    pub variant_id: Uuid,
    pub product_id: Uuid,
    pub sku: Option<String>,
    pub barcode: Option<String>,
    pub title: String,
    /// One per option of the product.
    pub option_values: Vec<String>,
    pub weight_g: Option<i64>,
    /// In minor units of `currency`; `None` before the first price.
    pub price_minor: Option<i64>,
    /// ISO 4217 code; there if there is a price.
    pub currency: Option<String>,
    /// Former price, shown struck through.
    pub compare_at_minor: Option<i64>,
    /// Place in the product, from 1.
    pub position: i32,
}

/// A variant and how many of it there are, over all places.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct StockedVariant {
    pub variant_id: Uuid,
    pub product_id: Uuid,
    pub sku: Option<String>,
    pub barcode: Option<String>,
    pub title: String,
    /// One per option of the product.
    pub option_values: Vec<String>,
    pub weight_g: Option<i64>,
    /// In minor units of `currency`; `None` before the first price.
    pub price_minor: Option<i64>,
    /// ISO 4217 code; there if there is a price.
    pub currency: Option<String>,
    /// Former price, shown struck through.
    pub compare_at_minor: Option<i64>,
    /// Place in the product, from 1.
    pub position: i32,
    /// Units that are there.
    pub on_hand: i64,
    /// Of these, free to be sold.
    pub available: i64,
}

/// Variants of all of `product_ids`, by product and place in it. One round trip for a whole page.
pub async fn of_products(
    conn: &mut PgConnection,
    store_id: StoreId,
    product_ids: &[Uuid],
) -> Result<Vec<StockedVariant>, sqlx::Error> {
    sqlx::query_as!(
        StockedVariant,
        r#"SELECT v.variant_id, v.product_id, v.sku, v.barcode, v.title, v.option_values, v.weight_g,
                  v.price_minor, v.currency, v.compare_at_minor, v.position,
                  coalesce(l.on_hand, 0) AS "on_hand!", coalesce(l.available, 0) AS "available!"
             FROM catalog_variants v
             LEFT JOIN LATERAL (
                  SELECT sum(l.on_hand)::bigint AS on_hand, sum(l.available)::bigint AS available
                    FROM catalog_stock_levels l
                   WHERE l.store_id = v.store_id AND l.variant_id = v.variant_id) l ON true
            WHERE v.store_id = $1 AND v.product_id = ANY ($2)
            ORDER BY v.product_id, v.position"#,
        store_id.0,
        product_ids
    )
    .fetch_all(conn)
    .await
}

/// Applies an event to the variants of its product; returns which one it changed.
pub(super) fn apply(
    variants: &mut Vec<Variant>,
    fact: &Fact<'_, ProductEvent>,
) -> Result<usize, ProjectionError> {
    match &fact.event {
        ProductEvent::VariantAdded(event) => {
            variants.push(added(fact, event, variants.len() + 1));
            Ok(variants.len() - 1)
        }
        ProductEvent::PriceSet(PriceSet { variant_id, price, compare_at, .. }) => {
            let nth = variants.iter().position(|variant| variant.variant_id == variant_id.0);
            let nth = nth.ok_or_else(|| fact.poison("no such variant"))?;
            variants[nth].price_minor = Some(price.amount_minor);
            variants[nth].currency = Some(price.currency.code().to_owned());
            variants[nth].compare_at_minor = compare_at.map(|money| money.amount_minor);
            Ok(nth)
        }
        _ => Err(fact.poison("not about a variant")),
    }
}

fn added(fact: &Fact<'_, ProductEvent>, event: &VariantAdded, position: usize) -> Variant {
    let (store_id, product_id) = fact.key();
    Variant {
        store_id,
        variant_id: event.variant_id.0,
        product_id,
        sku: event.sku.clone(),
        barcode: event.barcode.clone(),
        title: event.title.clone(),
        option_values: event.option_values.clone(),
        weight_g: event.weight_g.map(i64::from),
        price_minor: None,
        currency: None,
        compare_at_minor: None,
        position: i32::try_from(position).expect("a product has few variants"),
    }
}

/// Variants of products (stores and ids), in their order.
pub(super) async fn load(
    conn: &mut PgConnection,
    (stores, products): (&[Uuid], &[Uuid]),
) -> Result<Vec<Variant>, sqlx::Error> {
    sqlx::query_as!(
        Variant,
        "SELECT v.store_id, v.variant_id, v.product_id, sku, barcode, title, option_values,
                weight_g, price_minor, currency, compare_at_minor, position
           FROM unnest($1::uuid[], $2::uuid[]) AS wanted (store_id, product_id)
           JOIN catalog_variants v
             ON v.store_id = wanted.store_id AND v.product_id = wanted.product_id
          ORDER BY v.store_id, v.product_id, v.position",
        stores,
        products
    )
    .fetch_all(conn)
    .await
}

pub(super) async fn store(
    conn: &mut PgConnection,
    variants: Vec<&Variant>,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "INSERT INTO catalog_variants (store_id, variant_id, product_id, sku, barcode, title,
             option_values, weight_g, price_minor, currency, compare_at_minor, position)
         SELECT store_id, variant_id, product_id, sku, barcode, title, option_values, weight_g,
                price_minor, currency, compare_at_minor, position
           FROM jsonb_populate_recordset(NULL::catalog_variants, $1)
         ON CONFLICT (store_id, variant_id) DO UPDATE SET
             price_minor = excluded.price_minor, currency = excluded.currency,
             compare_at_minor = excluded.compare_at_minor",
        Json(variants) as _
    )
    .execute(conn)
    .await?;
    Ok(())
}
