//! Products as the search index wants them: one row each, texts and values that are searched, and
//! which of them changed since a position.
//!
//! Read by a connection that sees every store, in the transaction of [`begin`].

use chrono::{DateTime, Utc};
use sqlx::{PgConnection, PgPool, Postgres, QueryBuilder, Transaction};
use uuid::Uuid;

use super::PROJECTION;

/// A product with what its variants add to it.
#[derive(Clone, Debug, PartialEq, Eq, sqlx::FromRow)]
pub struct ProductDocument {
    pub store_id: Uuid,
    pub product_id: Uuid,
    pub handle: String,
    pub title: String,
    /// May be empty.
    pub vendor: String,
    /// May be empty.
    pub product_type: String,
    pub tags: Vec<String>,
    /// `draft`, `active` or `archived`.
    pub status: String,
    /// Business time.
    pub created_at: DateTime<Utc>,
    /// Position of the last event of the product itself.
    pub position: i64,
    /// Titles, SKUs and barcodes of its variants.
    pub codes: Vec<String>,
    /// The lowest price of a variant, in minor units of `currency`; `None` before the first price.
    pub price_minor: Option<i64>,
    /// ISO 4217 code; there if there is a price.
    pub currency: Option<String>,
    /// Whether a unit of any variant is free to be sold.
    pub in_stock: bool,
}

/// Begins to read every store as of one moment, in which every event up to the returned position
/// has taken effect. `pool` sees every store. Three round trips.
pub async fn begin(pool: &PgPool) -> Result<(Transaction<'static, Postgres>, i64), sqlx::Error> {
    let mut tx = pool.begin_with("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY").await?;
    // Before the transaction's moment is fixed: a rebuild cannot put other tables in the place of
    // these after that, which would look empty.
    let lock = "LOCK TABLE read.catalog_products, read.catalog_variants, read.catalog_stock_items,
                           read.catalog_stock_levels IN ACCESS SHARE MODE";
    sqlx::raw_sql(lock).execute(&mut *tx).await?;
    let position = sqlx::query_scalar!(
        r#"SELECT coalesce((SELECT position FROM log.checkpoints WHERE name = $1), 0)
                  AS "position!""#,
        PROJECTION.name
    );
    let position = position.fetch_one(&mut *tx).await?;
    Ok((tx, position))
}

/// At most `limit` products of all stores, by store and product, after the one of `after`.
pub async fn all(
    conn: &mut PgConnection,
    after: (Uuid, Uuid),
    limit: i64,
) -> Result<Vec<ProductDocument>, sqlx::Error> {
    let mut query = QueryBuilder::new(SELECT);
    query.push(" FROM read.catalog_products p").push(OF_VARIANTS);
    finish(query.push(" WHERE"), after, limit).build_query_as().fetch_all(conn).await
}

/// Like [`all`], only those of which an event after `position` changed the product itself or the
/// stock of a variant.
pub async fn changed(
    conn: &mut PgConnection,
    position: i64,
    after: (Uuid, Uuid),
    limit: i64,
) -> Result<Vec<ProductDocument>, sqlx::Error> {
    let mut query = QueryBuilder::new(SELECT);
    query.push(" FROM (SELECT store_id, product_id FROM read.catalog_products WHERE position > ");
    query.push_bind(position);
    query.push(
        " UNION SELECT v.store_id, v.product_id FROM read.catalog_stock_items i
              JOIN read.catalog_variants v
                ON v.store_id = i.store_id AND v.variant_id = i.variant_id
             WHERE i.position > ",
    );
    query.push_bind(position).push(
        ") changed JOIN read.catalog_products p
            ON p.store_id = changed.store_id AND p.product_id = changed.product_id",
    );
    query.push(OF_VARIANTS).push(" WHERE");
    finish(&mut query, after, limit).build_query_as().fetch_all(conn).await
}

const SELECT: &str = "SELECT p.store_id, p.product_id, p.handle, p.title, p.vendor, p.product_type,
    p.tags, p.status, p.created_at, p.position, v.codes, v.price_minor, v.currency, v.in_stock";

/// One row per product, also if it has no variant yet.
const OF_VARIANTS: &str = " CROSS JOIN LATERAL (
    SELECT coalesce(array_agg(code.code) FILTER (WHERE code.code IS NOT NULL), '{}') AS codes,
           (array_agg(v.price_minor ORDER BY v.price_minor, v.currency))[1] AS price_minor,
           (array_agg(v.currency ORDER BY v.price_minor, v.currency))[1] AS currency,
           coalesce(bool_or((SELECT sum(l.available) FROM read.catalog_stock_levels l
                              WHERE l.store_id = v.store_id AND l.variant_id = v.variant_id) > 0),
                    false) AS in_stock
      FROM read.catalog_variants v
     CROSS JOIN LATERAL unnest(ARRAY[v.title, v.sku, v.barcode]) AS code (code)
     WHERE v.store_id = p.store_id AND v.product_id = p.product_id) v";

fn finish(
    query: &mut QueryBuilder<Postgres>,
    (store_id, product_id): (Uuid, Uuid),
    limit: i64,
) -> &mut QueryBuilder<Postgres> {
    query.push(" (p.store_id, p.product_id) > (").push_bind(store_id).push(", ");
    query.push_bind(product_id).push(") ORDER BY p.store_id, p.product_id LIMIT ").push_bind(limit)
}
