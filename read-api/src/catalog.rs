//! Products with their variants, prices and availability.

use api_kit::{Api, Etag, Limit, Page, Paging, Path, Permission, Problem, Query};
use axum::Json;
use event_schemas::ids::ProductId;
use projections::catalog::products::{self, Product, ProductCursor, ProductsFrom};
use projections::catalog::{PROJECTION, variants};
use serde::Deserialize;
use tokio::task::spawn_blocking;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::routes;

use crate::cache::cached;
use crate::changes::Depends;
use crate::reader::{Freshness, Reader, View, unreadable};
use crate::reads::Reads;
use crate::value;

mod body;
mod export;
mod index;
mod search;
mod suggest;

pub(crate) use export::ExportedProducts;
pub(crate) use index::{At, ProductIndex};

use ::search::{Filter, Found, PageOf, Place, Sort, Text};
use body::ProductBody;

pub(crate) fn api() -> Api<Reads> {
    Api::new()
        .merge(search::api())
        .merge(suggest::api())
        .route(Permission::ProductsRead, routes!(export::export))
        .route(Permission::ProductsRead, cached(routes!(list)))
        .route(Permission::ProductsRead, cached(routes!(get)))
        .route(Permission::ProductsRead, cached(routes!(by_handle)))
}

/// Where a product stands.
#[derive(Clone, Copy, Debug, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum ProductStatus {
    Draft,
    Active,
    Archived,
}

impl ProductStatus {
    fn code(self) -> &'static str {
        match self {
            ProductStatus::Draft => "draft",
            ProductStatus::Active => "active",
            ProductStatus::Archived => "archived",
        }
    }
}

/// Order of the list.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, ToSchema)]
enum ProductOrder {
    /// Newest first.
    #[default]
    #[serde(rename = "-created_at")]
    Newest,
    /// By title.
    #[serde(rename = "title")]
    Title,
    /// Cheapest first.
    #[serde(rename = "price")]
    PriceUp,
    /// Most expensive first.
    #[serde(rename = "-price")]
    PriceDown,
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct ListQuery {
    /// Products of the page.
    #[serde(default)]
    #[param(value_type = u16, minimum = 1, maximum = 100, default = 20)]
    limit: Limit,
    /// `next` of a page: those after it.
    after: Option<String>,
    /// `prev` of a page: those before it.
    before: Option<String>,
    /// `-created_at` (newest first), `title`, `price` (the lowest of a product, in minor units,
    /// cheapest first; without a price last) or `-price`.
    #[serde(default)]
    #[param(inline, required = false)]
    sort: ProductOrder,
    /// Any of these, with commas between: `draft`, `active`, `archived`.
    #[serde(rename = "filter[status]", alias = "status", default)]
    #[serde(deserialize_with = "value::listed")]
    #[param(value_type = Option<String>, example = "active,draft")]
    statuses: Vec<ProductStatus>,
    /// The category, exactly: `product_type` of a product.
    #[serde(rename = "filter[category]", alias = "category", default)]
    #[serde(deserialize_with = "value::text")]
    category: Option<String>,
    /// Any of these whole tags, with commas between; case does not matter.
    #[serde(rename = "filter[tag]", alias = "tag", alias = "tags", default)]
    #[serde(deserialize_with = "value::texts")]
    #[param(value_type = Option<String>, example = "vegan,gift")]
    tags: Vec<String>,
    /// The vendor, exactly.
    #[serde(
        rename = "filter[vendor]",
        alias = "vendor",
        default,
        deserialize_with = "value::text"
    )]
    vendor: Option<String>,
}

/// Products, drafts and archived ones too.
///
/// There are no collections yet; a category is the `product_type` of a product.
#[utoipa::path(get, path = "/api/v1/products", tag = "products",
    params(ListQuery, api_kit::headers::Read),
    responses((status = 200, description = "A page of products.", body = Page<ProductBody>)))]
async fn list(
    reader: Reader,
    Query(query): Query<ListQuery>,
) -> Result<(Freshness, Depends, Page<ProductBody>), Problem> {
    let ListQuery { limit, after, before, sort, statuses, category, tags, vendor } = query;
    let narrowed = category.is_some() || vendor.is_some() || !tags.is_empty();
    let sort = match sort {
        // A walk along an index of the database. All else is the search index's.
        ProductOrder::Newest if !narrowed && statuses.len() <= 1 => {
            let paging = Paging::new(limit, after, before, reader.store_id(), "products")?;
            return newest(&reader, statuses.first(), &paging).await;
        }
        ProductOrder::Newest => Sort::Newest,
        ProductOrder::Title => Sort::Title,
        ProductOrder::PriceUp => Sort::PriceUp,
        ProductOrder::PriceDown => Sort::PriceDown,
    };
    let paging = Paging::new(limit, after, before, reader.store_id(), list_name(sort))?;
    let filter = Filter {
        statuses: codes(&statuses),
        categories: Vec::from_iter(category),
        vendors: Vec::from_iter(vendor),
        tags,
        ..Filter::default()
    };
    let page = page_of(&paging, sort)?;
    let (mut view, found) = find(&reader, Wanted { filter, page, ..Wanted::default() }).await?;
    let links = paging.page(found.hits, |hit| hit.place.clone());
    let ids: Vec<_> = links.data.iter().map(|hit| hit.product_id).collect();
    let data = of_ids(&reader, &mut view, &ids).await?;
    let depends = Depends::products(data.iter().flat_map(ProductBody::variant_ids).collect());
    Ok((view.freshness, depends, Page { data, page: links.page }))
}

async fn newest(
    reader: &Reader,
    status: Option<&ProductStatus>,
    paging: &Paging,
) -> Result<(Freshness, Depends, Page<ProductBody>), Problem> {
    let from = match paging.key::<ProductCursor>()? {
        None => ProductsFrom::Start,
        Some(cursor) if paging.backward() => ProductsFrom::Before(cursor),
        Some(cursor) => ProductsFrom::After(cursor),
    };
    let mut view = reader.view(&PROJECTION).await?;
    let (store_id, status) = (reader.store_id(), status.map(|status| status.code()));
    let found = products::newest(view.conn(), store_id, status, &from, paging.rows()).await;
    let page = paging.page(found.map_err(unreadable)?, Product::cursor);
    let data = with_variants(reader, &mut view, page.data).await?;
    let depends = Depends::products(data.iter().flat_map(ProductBody::variant_ids).collect());
    Ok((view.freshness, depends, Page { data, page: page.page }))
}

/// What the search index is asked for.
#[derive(Debug, Default)]
struct Wanted {
    filter: Filter,
    typed: Option<String>,
    /// Whether only titles count.
    in_titles: bool,
    page: PageOf,
}

/// What the search index has, and the catalogue to show it from: whatever the index says, the rows
/// come under row-level security.
async fn find(reader: &Reader, wanted: Wanted) -> Result<(View, Found), Problem> {
    let (view, index) = reader.indexed().await?;
    let store_id = reader.store_id().0;
    let search = move || {
        let Wanted { filter, typed, in_titles, page } = wanted;
        let text = if in_titles { Text::Titles } else { Text::Anywhere };
        index.search(store_id, &filter, typed.as_deref().map(text), &page)
    };
    // Milliseconds of work, for which no other request should wait.
    let found = spawn_blocking(search).await.map_err(Problem::internal)?;
    Ok((view, found.map_err(Problem::internal)?))
}

/// Name of the list that cursors of the search index belong to.
fn list_name(sort: Sort) -> &'static str {
    match sort {
        Sort::Relevance => "found products",
        Sort::Newest => "found products, newest",
        Sort::Title => "found products by title",
        Sort::PriceUp => "found products by price",
        Sort::PriceDown => "found products by price, down",
    }
}

/// The page of the search index; nothing is counted.
fn page_of(paging: &Paging, sort: Sort) -> Result<PageOf, Problem> {
    let limit = usize::try_from(paging.rows()).unwrap_or(usize::MAX);
    let from = paging.key::<Place>()?;
    Ok(PageOf { sort, from, backward: paging.backward(), limit, facets: Vec::new() })
}

fn codes(statuses: &[ProductStatus]) -> Vec<String> {
    statuses.iter().map(|status| status.code().to_owned()).collect()
}

/// Products that were found, in that order.
async fn of_ids(
    reader: &Reader,
    view: &mut View,
    ids: &[uuid::Uuid],
) -> Result<Vec<ProductBody>, Problem> {
    let products = products::of_ids(view.conn(), reader.store_id(), ids).await;
    with_variants(reader, view, products.map_err(unreadable)?).await
}

/// One product.
#[utoipa::path(get, path = "/api/v1/products/{product_id}", tag = "products",
    params(("product_id" = ProductId, Path), api_kit::headers::Read),
    responses((status = 200, description = "The product; `ETag` begins with its version.",
        body = ProductBody)))]
async fn get(
    reader: Reader,
    Path(product_id): Path<ProductId>,
) -> Result<(Etag, Freshness, Depends, Json<ProductBody>), Problem> {
    let mut view = reader.view(&PROJECTION).await?;
    let found = products::get(view.conn(), reader.store_id(), product_id.0).await;
    one(&reader, view, found.map_err(unreadable)?).await
}

/// One product, by its name in URLs.
#[utoipa::path(get, path = "/api/v1/products/by-handle/{handle}", tag = "products",
    params(("handle" = String, Path, example = "truffle-box"), api_kit::headers::Read),
    responses((status = 200, description = "The product; `ETag` begins with its version.",
        body = ProductBody)))]
async fn by_handle(
    reader: Reader,
    Path(handle): Path<String>,
) -> Result<(Etag, Freshness, Depends, Json<ProductBody>), Problem> {
    // No handle holds U+0000, and PostgreSQL would not take it.
    if handle.contains('\0') {
        return Err(Problem::new("product_not_found"));
    }
    let mut view = reader.view(&PROJECTION).await?;
    let found = products::get_by_handle(view.conn(), reader.store_id(), &handle).await;
    one(&reader, view, found.map_err(unreadable)?).await
}

async fn one(
    reader: &Reader,
    mut view: View,
    found: Option<Product>,
) -> Result<(Etag, Freshness, Depends, Json<ProductBody>), Problem> {
    let product = found.ok_or_else(|| Problem::new("product_not_found"))?;
    let (version, product_id) = (Etag(product.version), product.product_id);
    let body = with_variants(reader, &mut view, vec![product]).await?.pop();
    let body = body.expect("one product in, one out");
    let depends = Depends::product(product_id, body.variant_ids().collect());
    Ok((version, view.freshness, depends, Json(body)))
}

/// Adds the variants of all `products`, in one statement.
async fn with_variants(
    reader: &Reader,
    view: &mut View,
    products: Vec<Product>,
) -> Result<Vec<ProductBody>, Problem> {
    let ids: Vec<_> = products.iter().map(|product| product.product_id).collect();
    let variants = variants::of_products(view.conn(), reader.store_id(), &ids).await;
    let mut variants = variants.map_err(unreadable)?;
    let bodies = products.into_iter().map(|product| {
        let own = variants.extract_if(.., |variant| variant.product_id == product.product_id);
        let own = own.collect();
        ProductBody::new(product, own)
    });
    Ok(bodies.collect())
}
