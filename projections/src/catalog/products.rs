//! Products as they are now. Table `catalog_products`.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use event_schemas::{catalog::ProductEvent, ids::StoreId};
use event_store::Recorded;
use serde::{Deserialize, Serialize};
use sqlx::{PgConnection, Postgres, QueryBuilder, types::Json};
use uuid::Uuid;

use super::{
    search::{AFTER_PREFIX, Terms, changes_terms, folded_tag, search_words},
    variants::{self, Variant},
};
use crate::{Fact, Key, ProjectionError, columns, facts};

/// Rows [`count`] counts at most: beyond it, "many" is the answer people need.
pub const COUNT_MAX: i64 = 10_000;

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
}

/// Which products. Every field that is set narrows the list.
#[derive(Clone, Debug, Default)]
pub struct ProductFilter {
    /// `draft`, `active` or `archived`; any of these. Empty: all.
    pub statuses: Vec<String>,
    /// Each of its first five words begins a word of title, handle, vendor, kind, tags, SKU or
    /// barcode. A text without letters and digits finds nothing.
    pub q: Option<String>,
    /// A whole tag; case does not matter.
    pub tag: Option<String>,
    /// The vendor, exactly.
    pub vendor: Option<String>,
}

/// Order of a list.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ProductSort {
    /// Created last comes first.
    #[default]
    Newest,
    /// By title in lower case, code point by code point.
    Title,
}

/// A place in a list: between this product and the next.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ProductCursor {
    Newest { created_at: DateTime<Utc>, product_id: Uuid },
    Title { title: String, product_id: Uuid },
}

/// Where a page begins, and where it goes.
#[derive(Clone, Debug, Default)]
pub enum ProductsFrom {
    #[default]
    Start,
    /// The products after this one. The cursor decides the order of the list.
    After(ProductCursor),
    /// Those before it.
    Before(ProductCursor),
}

/// A page of a list, in the order of the list.
#[derive(Clone, Debug)]
pub struct Products {
    pub rows: Vec<Product>,
    /// Whether there are more in the direction of the page.
    pub more: bool,
}

impl Product {
    /// The place right behind this product.
    pub fn cursor(&self, sort: ProductSort) -> ProductCursor {
        let product_id = self.product_id;
        match sort {
            ProductSort::Newest => {
                ProductCursor::Newest { created_at: self.created_at, product_id }
            }
            ProductSort::Title => ProductCursor::Title { title: self.title.clone(), product_id },
        }
    }
}

const SELECT: &str =
    "SELECT store_id, product_id, handle, title, description, vendor, product_type,
    tags, options, status, published_at, created_at, updated_at, version FROM catalog_products p";

/// At most `limit` products (1 or more). `sort` counts only at [`ProductsFrom::Start`].
pub async fn list(
    conn: &mut PgConnection,
    store_id: StoreId,
    filter: &ProductFilter,
    (sort, from): (ProductSort, &ProductsFrom),
    limit: i64,
) -> Result<Products, sqlx::Error> {
    let mut query = QueryBuilder::new(SELECT);
    push_filter(&mut query, store_id, filter);
    let (cursor, backwards) = match from {
        ProductsFrom::Start => (None, false),
        ProductsFrom::After(cursor) => (Some(cursor), false),
        ProductsFrom::Before(cursor) => (Some(cursor), true),
    };
    let newest = match cursor {
        None => sort == ProductSort::Newest,
        Some(ProductCursor::Newest { created_at, product_id }) => {
            query.push(" AND (created_at, product_id) ").push(if backwards { ">" } else { "<" });
            query.push(" (").push_bind(*created_at).push(", ").push_bind(*product_id).push(")");
            true
        }
        Some(ProductCursor::Title { title, product_id }) => {
            query.push(" AND (title_folded, product_id) ").push(if backwards { "<" } else { ">" });
            query.push(" (lower(").push_bind(title.clone()).push("), ");
            query.push_bind(*product_id).push(")");
            false
        }
    };
    query.push(match (newest, backwards) {
        (true, false) => " ORDER BY created_at DESC, product_id DESC",
        (true, true) => " ORDER BY created_at, product_id",
        (false, false) => " ORDER BY title_folded, product_id",
        (false, true) => " ORDER BY title_folded DESC, product_id DESC",
    });
    query.push(" LIMIT ").push_bind(limit + 1);
    let mut rows: Vec<Product> = query.build_query_as().fetch_all(conn).await?;
    let limit = usize::try_from(limit).unwrap_or(0);
    let more = rows.len() > limit;
    rows.truncate(limit);
    if backwards {
        rows.reverse();
    }
    Ok(Products { rows, more })
}

/// How many products match; [`COUNT_MAX`] if there are as many or more.
pub async fn count(
    conn: &mut PgConnection,
    store_id: StoreId,
    filter: &ProductFilter,
) -> Result<i64, sqlx::Error> {
    let mut query = QueryBuilder::new("SELECT count(*) FROM (SELECT 1 FROM catalog_products p");
    push_filter(&mut query, store_id, filter);
    query.push(" LIMIT ").push_bind(COUNT_MAX).push(") matching");
    query.build_query_scalar().fetch_one(conn).await
}

fn push_filter(query: &mut QueryBuilder<Postgres>, store_id: StoreId, filter: &ProductFilter) {
    query.push(" WHERE p.store_id = ").push_bind(store_id.0);
    if !filter.statuses.is_empty() {
        query.push(" AND p.status = ANY (").push_bind(filter.statuses.clone()).push(")");
    }
    if let Some(vendor) = &filter.vendor {
        query.push(" AND p.vendor = ").push_bind(vendor.clone());
    }
    if let Some(tag) = &filter.tag {
        push_terms(query, store_id, "tag");
        query.push(" = ").push_bind(folded_tag(tag)).push(")");
    }
    let Some(q) = &filter.q else { return };
    let words = search_words(q);
    if words.is_empty() {
        query.push(" AND false");
    }
    for word in words {
        push_terms(query, store_id, "word");
        query.push(" >= ").push_bind(word.clone());
        query.push(" AND t.term < ").push_bind(format!("{word}{AFTER_PREFIX}")).push(")");
    }
}

/// Up to the comparison of `t.term`.
fn push_terms(query: &mut QueryBuilder<Postgres>, store_id: StoreId, kind: &'static str) {
    query.push(" AND p.product_id IN (SELECT t.product_id FROM catalog_product_terms t");
    query.push(" WHERE t.store_id = ").push_bind(store_id.0);
    query.push(" AND t.kind = ").push_bind(kind).push(" AND t.term");
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
                options, status, published_at, created_at, updated_at, version
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
                options, status, published_at, created_at, updated_at, version
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
    changed_terms: BTreeSet<Key>,
}

/// Six statements per batch, however many events it holds: the rows it touches are read, changed
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
        product.updated_at = fact.recorded.recorded_at;
        self.changed.insert(key);
        if changes_terms(fact.recorded) {
            self.changed_terms.insert(key);
        }
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
        // Theirs is `catalog_variants`.
        ProductEvent::VariantAdded(_) | ProductEvent::PriceSet(_) => {}
    }
}

async fn load(
    conn: &mut PgConnection,
    (stores, products): (Vec<Uuid>, Vec<Uuid>),
) -> Result<Shelf, sqlx::Error> {
    let rows = sqlx::query_as!(
        Product,
        "SELECT p.store_id, p.product_id, handle, title, description, vendor, product_type, tags,
                options, status, published_at, created_at, updated_at, version
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
             product_type, tags, options, status, published_at, created_at, updated_at, version)
         SELECT store_id, product_id, handle, title, description, vendor, product_type, tags,
                options, status, published_at, created_at, updated_at, version
           FROM jsonb_populate_recordset(NULL::catalog_products, $1)
         ON CONFLICT (store_id, product_id) DO UPDATE SET
             handle = excluded.handle, title = excluded.title, description = excluded.description,
             vendor = excluded.vendor, product_type = excluded.product_type, tags = excluded.tags,
             options = excluded.options, status = excluded.status,
             published_at = excluded.published_at, created_at = excluded.created_at,
             updated_at = excluded.updated_at, version = excluded.version",
        Json(products) as _
    )
    .execute(&mut *conn)
    .await?;
    let changed = shelf.changed_variants.iter();
    let variants = changed.filter_map(|(key, nth)| shelf.variants.get(key)?.get(*nth)).collect();
    variants::store(conn, variants).await?;
    let mut terms = Terms::default();
    for key in &shelf.changed_terms {
        let variants = shelf.variants.get(key).into_iter().flatten();
        if let Some(product) = shelf.products.get(key) {
            terms.add(product, variants);
        }
    }
    let (stores, products) = columns(shelf.changed_terms.iter().copied());
    terms.replace(conn, (&stores, &products)).await
}
