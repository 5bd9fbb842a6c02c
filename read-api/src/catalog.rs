//! Products with their variants, prices and availability.

use api_kit::{Api, Etag, Limit, Page, Paging, Path, Permission, Problem, Query};
use axum::Json;
use event_schemas::ids::ProductId;
use projections::catalog::products::{
    self, Product, ProductCursor, ProductFilter, ProductSort, ProductsFrom,
};
use projections::catalog::{PROJECTION, variants};
use serde::Deserialize;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::routes;

use crate::cache::cached;
use crate::changes::Depends;
use crate::reader::{Freshness, Reader, View, unreadable};
use crate::reads::Reads;
use crate::value;

mod body;

use body::ProductBody;

pub(crate) fn api() -> Api<Reads> {
    Api::new()
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
#[derive(Clone, Copy, Debug, Default, Deserialize, ToSchema)]
enum ProductOrder {
    /// Newest first.
    #[default]
    #[serde(rename = "-created_at")]
    Newest,
    /// By title.
    #[serde(rename = "title")]
    Title,
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
    /// `-created_at` (newest first) or `title`.
    #[serde(default)]
    #[param(inline, required = false)]
    sort: ProductOrder,
    /// Any of these, with commas between: `draft`, `active`, `archived`.
    #[serde(rename = "filter[status]", alias = "status", default)]
    #[serde(deserialize_with = "value::listed")]
    #[param(value_type = Option<String>, example = "active,draft")]
    statuses: Vec<ProductStatus>,
    /// A whole tag; case does not matter.
    #[serde(rename = "filter[tag]", alias = "tag", default, deserialize_with = "value::text")]
    tag: Option<String>,
    /// The vendor, exactly.
    #[serde(
        rename = "filter[vendor]",
        alias = "vendor",
        default,
        deserialize_with = "value::text"
    )]
    vendor: Option<String>,
    /// Words, or beginnings of words, of title, handle, vendor, kind, tags, SKU or barcode.
    #[serde(default, alias = "search", deserialize_with = "value::text")]
    q: Option<String>,
}

/// Products, drafts and archived ones too.
#[utoipa::path(get, path = "/api/v1/products", tag = "products",
    params(ListQuery, api_kit::headers::Read),
    responses((status = 200, description = "A page of products.", body = Page<ProductBody>)))]
async fn list(
    reader: Reader,
    Query(query): Query<ListQuery>,
) -> Result<(Freshness, Depends, Page<ProductBody>), Problem> {
    let ListQuery { limit, after, before, sort, statuses, tag, vendor, q } = query;
    let (sort, name) = match sort {
        ProductOrder::Newest => (ProductSort::Newest, "products"),
        ProductOrder::Title => (ProductSort::Title, "products by title"),
    };
    let paging = Paging::new(limit, after, before, reader.store_id(), name)?;
    let from = match paging.key::<ProductCursor>()? {
        None => ProductsFrom::Start,
        Some(cursor) if paging.backward() => ProductsFrom::Before(cursor),
        Some(cursor) => ProductsFrom::After(cursor),
    };
    let statuses = statuses.into_iter().map(|status| status.code().to_owned()).collect();
    let filter = ProductFilter { statuses, q, tag, vendor };
    let mut view = reader.view(&PROJECTION).await?;
    let rows = paging.rows();
    let found = products::list(view.conn(), reader.store_id(), &filter, (sort, &from), rows).await;
    let mut rows = found.map_err(unreadable)?.rows;
    if paging.backward() {
        // The page wants them as they were selected: nearest to the cursor first.
        rows.reverse();
    }
    let page = paging.page(rows, |product| product.cursor(sort));
    let data = with_variants(&reader, &mut view, page.data).await?;
    let depends = Depends::products(data.iter().flat_map(ProductBody::variant_ids).collect());
    Ok((view.freshness, depends, Page { data, page: page.page }))
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
