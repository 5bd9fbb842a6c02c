//! Products as they are now. Table `catalog_products`.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use event_schemas::{catalog::ProductEvent, ids::StoreId};
use event_store::Recorded;
use serde::{Deserialize, Serialize};
use sqlx::{PgConnection, Postgres, QueryBuilder, types::Json};
use uuid::Uuid;

use super::variants::{self, Variant};
use crate::{Fact, Key, ProjectionError, columns, facts};

/// A product.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, sqlx::FromRow, utoipa::ToSchema)]
pub struct Product {
    pub store_id: Uuid,
    pub product_id: Uuid,
    /// Name in URLs, unique in the store.
    pub handle: String,
    pub title: String,
    /// HTML as the merchant gave it, not sanitised.
    pub description: String,
    /// May be empty.
    pub vendor: String,
    /// May be empty.
    pub product_type: String,
    pub tags: Vec<String>,
    /// What the variants differ in.
    pub options: Vec<String>,
    /// `draft`, `active` or `archived`.
    pub status: String,
    /// Since when it is on show, in business time.
    pub published_at: Option<DateTime<Utc>>,
    /// Business time.
    pub created_at: DateTime<Utc>,
    /// When the last change was recorded.
    pub updated_at: DateTime<Utc>,
    /// Version of the stream.
    pub version: i64,
    /// Position of its last event in the log.
    pub position: i64,
}

/// A place in a list: between this product and the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProductCursor {
    created_at: DateTime<Utc>,
    product_id: Uuid,
}

/// Where a page begins, and where it goes.
#[derive(Clone, Copy, Debug, Default)]
pub enum ProductsFrom {
    #[default]
    Start,
    /// The products after this one.
    After(ProductCursor),
    /// Those before it.
    Before(ProductCursor),
}

impl Product {
    /// The place right behind this product.
    pub fn cursor(&self) -> ProductCursor {
        ProductCursor { created_at: self.created_at, product_id: self.product_id }
    }
}

const SELECT: &str =
    "SELECT store_id, product_id, handle, title, description, vendor, product_type, tags, options,
            status, published_at, created_at, updated_at, version, position
       FROM catalog_products WHERE store_id = ";

/// At most `limit` products, created last first; backwards from [`ProductsFrom::Before`]: nearest
/// to the cursor first. `status` is `draft`, `active` or `archived`; `None`: all.
///
/// A walk along an index. Whatever else narrows or orders a list is the search index's.
pub async fn newest(
    conn: &mut PgConnection,
    store_id: StoreId,
    status: Option<&str>,
    from: &ProductsFrom,
    limit: i64,
) -> Result<Vec<Product>, sqlx::Error> {
    let mut query = QueryBuilder::<Postgres>::new(SELECT);
    query.push_bind(store_id.0);
    if let Some(status) = status {
        query.push(" AND status = ").push_bind(status);
    }
    let (cursor, order) = match from {
        ProductsFrom::Start => (None, " ORDER BY created_at DESC, product_id DESC"),
        ProductsFrom::After(cursor) => {
            (Some(("<", cursor)), " ORDER BY created_at DESC, product_id DESC")
        }
        ProductsFrom::Before(cursor) => (Some((">", cursor)), " ORDER BY created_at, product_id"),
    };
    if let Some((beyond, ProductCursor { created_at, product_id })) = cursor {
        query.push(" AND (created_at, product_id) ").push(beyond).push(" (");
        query.push_bind(*created_at).push(", ").push_bind(*product_id).push(")");
    }
    query.push(order).push(" LIMIT ").push_bind(limit);
    query.build_query_as().fetch_all(conn).await
}

/// The products of `product_ids` that the store has, in that order. One round trip.
pub async fn of_ids(
    conn: &mut PgConnection,
    store_id: StoreId,
    product_ids: &[Uuid],
) -> Result<Vec<Product>, sqlx::Error> {
    sqlx::query_as!(
        Product,
        "SELECT p.store_id, p.product_id, handle, title, description, vendor, product_type, tags,
                options, status, published_at, created_at, updated_at, version, position
           FROM unnest($2::uuid[]) WITH ORDINALITY AS wanted (product_id, nth)
           JOIN catalog_products p ON p.store_id = $1 AND p.product_id = wanted.product_id
          ORDER BY wanted.nth",
        store_id.0,
        product_ids
    )
    .fetch_all(conn)
    .await
}

/// What names a product to people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Title {
    pub product_id: Uuid,
    pub handle: String,
    pub title: String,
}

/// The titles of `product_ids` that the store has, in that order. One round trip.
pub async fn titles(
    conn: &mut PgConnection,
    store_id: StoreId,
    product_ids: &[Uuid],
) -> Result<Vec<Title>, sqlx::Error> {
    sqlx::query_as!(
        Title,
        "SELECT p.product_id, p.handle, p.title
           FROM unnest($2::uuid[]) WITH ORDINALITY AS wanted (product_id, nth)
           JOIN catalog_products p ON p.store_id = $1 AND p.product_id = wanted.product_id
          ORDER BY wanted.nth",
        store_id.0,
        product_ids
    )
    .fetch_all(conn)
    .await
}

/// One product.
pub async fn get(
    conn: &mut PgConnection,
    store_id: StoreId,
    product_id: Uuid,
) -> Result<Option<Product>, sqlx::Error> {
    sqlx::query_as!(
        Product,
        "SELECT store_id, product_id, handle, title, description, vendor, product_type, tags,
                options, status, published_at, created_at, updated_at, version, position
           FROM catalog_products WHERE store_id = $1 AND product_id = $2",
        store_id.0,
        product_id
    )
    .fetch_optional(conn)
    .await
}

/// The product of a handle.
pub async fn get_by_handle(
    conn: &mut PgConnection,
    store_id: StoreId,
    handle: &str,
) -> Result<Option<Product>, sqlx::Error> {
    sqlx::query_as!(
        Product,
        "SELECT store_id, product_id, handle, title, description, vendor, product_type, tags,
                options, status, published_at, created_at, updated_at, version, position
           FROM catalog_products WHERE store_id = $1 AND handle = $2
          ORDER BY status = 'archived', created_at DESC, product_id DESC LIMIT 1",
        store_id.0,
        handle
    )
    .fetch_optional(conn)
    .await
}

/// The rows that a batch touches, with its events applied.
#[derive(Default)]
struct Shelf {
    products: BTreeMap<Key, Product>,
    /// By product, in the order of the product.
    variants: BTreeMap<Key, Vec<Variant>>,
    changed: BTreeSet<Key>,
    changed_variants: BTreeSet<(Key, usize)>,
}

/// Four statements per batch, however many events it holds: the rows it touches are read, changed
/// in memory and written back.
pub(super) async fn apply(
    conn: &mut PgConnection,
    batch: &[Recorded],
) -> Result<(), ProjectionError> {
    let facts = facts::<ProductEvent>(batch, "product")?;
    if facts.is_empty() {
        return Ok(());
    }
    let mut shelf = load(conn, columns(facts.iter().map(Fact::key))).await?;
    for fact in &facts {
        shelf.apply(fact)?;
    }
    Ok(store(conn, &shelf).await?)
}

impl Shelf {
    fn apply(&mut self, fact: &Fact<'_, ProductEvent>) -> Result<(), ProjectionError> {
        let key = fact.key();
        if let ProductEvent::Created(_) = &fact.event {
            self.products.entry(key).or_insert_with(|| created(fact));
        }
        let product = self.products.get_mut(&key).ok_or_else(|| fact.poison("no such product"))?;
        // The row of a new product is at version 0 until here.
        if fact.recorded.version <= product.version {
            return Ok(());
        }
        let variants = self.variants.entry(key).or_default();
        match &fact.event {
            ProductEvent::VariantAdded(_) | ProductEvent::PriceSet(_) => {
                let nth = variants::apply(variants, fact)?;
                self.changed_variants.insert((key, nth));
            }
            event => change(product, event),
        }
        product.version = fact.recorded.version;
        product.position = fact.recorded.position;
        product.updated_at = fact.recorded.recorded_at;
        self.changed.insert(key);
        Ok(())
    }
}

fn created(fact: &Fact<'_, ProductEvent>) -> Product {
    let (store_id, product_id) = fact.key();
    Product {
        store_id,
        product_id,
        handle: String::new(),
        title: String::new(),
        description: String::new(),
        vendor: String::new(),
        product_type: String::new(),
        tags: Vec::new(),
        options: Vec::new(),
        status: "draft".to_owned(),
        published_at: None,
        created_at: fact.recorded.recorded_at,
        updated_at: fact.recorded.recorded_at,
        version: 0,
        position: 0,
    }
}

fn change(product: &mut Product, event: &ProductEvent) {
    match event {
        ProductEvent::Created(event) => {
            product.handle.clone_from(&event.handle);
            product.title.clone_from(&event.title);
            product.description.clone_from(&event.description);
            product.vendor.clone_from(&event.vendor);
            product.product_type.clone_from(&event.product_type);
            product.tags.clone_from(&event.tags);
            product.options.clone_from(&event.options);
            product.created_at = event.at;
        }
        ProductEvent::DetailsChanged(event) => {
            let set = |to: &mut String, change: &Option<event_schemas::catalog::Change<String>>| {
                if let Some(change) = change {
                    to.clone_from(&change.to);
                }
            };
            set(&mut product.title, &event.title);
            set(&mut product.description, &event.description);
            set(&mut product.vendor, &event.vendor);
            set(&mut product.product_type, &event.product_type);
            if let Some(tags) = &event.tags {
                product.tags.clone_from(&tags.to);
            }
        }
        ProductEvent::Published(event) => {
            "active".clone_into(&mut product.status);
            product.published_at = Some(event.at);
        }
        ProductEvent::Unpublished(_) => {
            "draft".clone_into(&mut product.status);
            product.published_at = None;
        }
        ProductEvent::Archived(_) => {
            "archived".clone_into(&mut product.status);
            product.published_at = None;
        }
        // Those of variants are kept with them; tax classes are read from the log, by quotes.
        ProductEvent::VariantAdded(_)
        | ProductEvent::PriceSet(_)
        | ProductEvent::TaxClassSet(_) => {}
    }
}

async fn load(
    conn: &mut PgConnection,
    (stores, products): (Vec<Uuid>, Vec<Uuid>),
) -> Result<Shelf, sqlx::Error> {
    let rows = sqlx::query_as!(
        Product,
        "SELECT p.store_id, p.product_id, handle, title, description, vendor, product_type, tags,
                options, status, published_at, created_at, updated_at, version, position
           FROM unnest($1::uuid[], $2::uuid[]) AS wanted (store_id, product_id)
           JOIN catalog_products p
             ON p.store_id = wanted.store_id AND p.product_id = wanted.product_id",
        &stores,
        &products
    )
    .fetch_all(&mut *conn)
    .await?;
    let mut shelf = Shelf::default();
    shelf.products.extend(rows.into_iter().map(|row| ((row.store_id, row.product_id), row)));
    for variant in variants::load(conn, (&stores, &products)).await? {
        let key = (variant.store_id, variant.product_id);
        shelf.variants.entry(key).or_default().push(variant);
    }
    Ok(shelf)
}

async fn store(conn: &mut PgConnection, shelf: &Shelf) -> Result<(), sqlx::Error> {
    let products: Vec<&Product> =
        shelf.changed.iter().filter_map(|key| shelf.products.get(key)).collect();
    sqlx::query!(
        "INSERT INTO catalog_products (store_id, product_id, handle, title, description, vendor,
             product_type, tags, options, status, published_at, created_at, updated_at, version,
             position)
         SELECT store_id, product_id, handle, title, description, vendor, product_type, tags,
                options, status, published_at, created_at, updated_at, version, position
           FROM jsonb_populate_recordset(NULL::catalog_products, $1)
         ON CONFLICT (store_id, product_id) DO UPDATE SET
             handle = excluded.handle, title = excluded.title, description = excluded.description,
             vendor = excluded.vendor, product_type = excluded.product_type, tags = excluded.tags,
             options = excluded.options, status = excluded.status,
             published_at = excluded.published_at, created_at = excluded.created_at,
             updated_at = excluded.updated_at, version = excluded.version,
             position = excluded.position",
        Json(products) as _
    )
    .execute(&mut *conn)
    .await?;
    let changed = shelf.changed_variants.iter();
    let variants = changed.filter_map(|(key, nth)| shelf.variants.get(key)?.get(*nth)).collect();
    variants::store(conn, variants).await
}
