//! Search with facets.

use api_kit::page::PageLinks;
use api_kit::{Api, Limit, Page, Paging, Permission, Problem, Query};
use axum::Json;
use axum::response::{IntoResponse, Response};
use event_schemas::money::Money;
use search::{Count, Facet, Facets, Filter, PriceRange, Sort, highlighted};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::routes;

use super::body::ProductBody;
use super::{ProductStatus, Wanted, codes, find, list_name, of_ids, page_of};
use crate::cache::cached;
use crate::changes::Depends;
use crate::reader::{Freshness, Reader};
use crate::reads::Reads;
use crate::value::{self, money};

pub(super) fn api() -> Api<Reads> {
    Api::new().route(Permission::ProductsRead, cached(routes!(search_products)))
}

/// Order of what was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, ToSchema)]
enum SearchOrder {
    /// Best first.
    #[serde(rename = "relevance")]
    Relevance,
    /// Newest first.
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

impl From<SearchOrder> for Sort {
    fn from(order: SearchOrder) -> Sort {
        match order {
            SearchOrder::Relevance => Sort::Relevance,
            SearchOrder::Newest => Sort::Newest,
            SearchOrder::Title => Sort::Title,
            SearchOrder::PriceUp => Sort::PriceUp,
            SearchOrder::PriceDown => Sort::PriceDown,
        }
    }
}

/// What is counted over all that was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum FacetName {
    Tags,
    Category,
    Vendor,
    Price,
    InStock,
    None,
}

impl FacetName {
    fn facet(self) -> Option<Facet> {
        match self {
            FacetName::Tags => Some(Facet::Tags),
            FacetName::Category => Some(Facet::Category),
            FacetName::Vendor => Some(Facet::Vendor),
            FacetName::Price => Some(Facet::Price),
            FacetName::InStock => Some(Facet::InStock),
            FacetName::None => None,
        }
    }
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct SearchQuery {
    /// What people typed. Products with, for each of its first eight words, a word that begins with
    /// it, in title, category, vendor, tags, handle, SKUs, barcodes and titles of variants; if there
    /// is none, a word that nearly does: one letter other, missing, too much or swapped in words of
    /// four letters and more, two in words of eight and more. Case and accents do not matter. A text
    /// without letters and digits finds nothing.
    #[serde(default, deserialize_with = "value::text")]
    #[param(example = "dark choclate")]
    q: Option<String>,
    /// Products of the page.
    #[serde(default)]
    #[param(value_type = u16, minimum = 1, maximum = 100, default = 20)]
    limit: Limit,
    /// `next` of a page: those after it.
    after: Option<String>,
    /// `prev` of a page: those before it.
    before: Option<String>,
    /// `relevance` (as long as there is a `q`: the whole title, then words of the title, then the
    /// rest, then words with typos), `-created_at`, `title`, `price` or `-price`. By relevance
    /// unless it says, newest first if there is no `q`.
    #[serde(default)]
    #[param(inline, required = false)]
    sort: Option<SearchOrder>,
    /// Any of these, with commas between: `draft`, `active`, `archived`.
    #[serde(rename = "filter[status]", alias = "status", default)]
    #[serde(deserialize_with = "value::listed")]
    #[param(value_type = Option<String>, example = "active")]
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
    #[serde(rename = "filter[vendor]", alias = "vendor", default)]
    #[serde(deserialize_with = "value::text")]
    vendor: Option<String>,
    /// The lowest price of a product, in minor units, from here.
    #[serde(rename = "filter[price][gte]", alias = "priceMin", default)]
    #[param(minimum = 0, example = 500)]
    price_min: Option<i64>,
    /// The lowest price of a product, in minor units, up to here.
    #[serde(rename = "filter[price][lte]", alias = "priceMax", default)]
    #[param(minimum = 0, example = 1999)]
    price_max: Option<i64>,
    /// Whether a unit of any variant is free to be sold.
    #[serde(rename = "filter[in_stock]", alias = "in_stock", alias = "inStock", default)]
    in_stock: Option<bool>,
    /// What to count over all that was found, with commas between: `tags`, `category`, `vendor`,
    /// `price`, `in_stock`; all of them unless it says, nothing for `none`.
    #[serde(default = "every_facet", deserialize_with = "value::listed")]
    #[param(value_type = Option<String>, example = "tags,price")]
    facets: Vec<FacetName>,
}

fn every_facet() -> Vec<FacetName> {
    use FacetName::{Category, InStock, Price, Tags, Vendor};
    vec![Tags, Category, Vendor, Price, InStock]
}

/// A page of what was found.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = FoundProducts)]
struct FoundBody {
    data: Vec<FoundProduct>,
    page: PageLinks,
    /// All that was found, on whichever page.
    #[schema(example = 1240)]
    total: u64,
    facets: FacetsBody,
}

/// A product and why it was found.
#[derive(Debug, Serialize, ToSchema)]
struct FoundProduct {
    #[serde(flatten)]
    product: ProductBody,
    /// The title as HTML, safe to show, with what was searched for in `<mark>`.
    #[schema(example = "Dark <mark>chocolate</mark> bar")]
    highlighted_title: String,
}

/// Over all that was found with all filters. What was not asked for is missing.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ProductFacets)]
struct FacetsBody {
    /// The 50 most frequent. Those that differ in case only count as one.
    #[serde(skip_serializing_if = "Option::is_none")]
    tags: Option<Vec<FacetValue>>,
    /// The 50 most frequent.
    #[serde(skip_serializing_if = "Option::is_none")]
    category: Option<Vec<FacetValue>>,
    /// The 50 most frequent.
    #[serde(skip_serializing_if = "Option::is_none")]
    vendor: Option<Vec<FacetValue>>,
    /// From low to high, by the lowest price of a product.
    #[serde(skip_serializing_if = "Option::is_none")]
    price: Option<Vec<PriceRangeBody>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    in_stock: Option<InStockBody>,
}

/// A value and how many products have it.
#[derive(Debug, Serialize, ToSchema)]
struct FacetValue {
    #[schema(example = "vegan")]
    value: String,
    #[schema(example = 120)]
    count: u64,
}

/// Prices between two of 1, 2, 5, 10, 20, 50, … minor units, and how many products have one.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = PriceRange)]
struct PriceRangeBody {
    /// Included.
    from: Money,
    /// Not included; `null` if there is no such amount.
    to: Option<Money>,
    #[schema(example = 42)]
    count: u64,
}

/// How many products can be sold at once, and how many cannot.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = InStockFacet)]
struct InStockBody {
    #[schema(example = 1100)]
    yes: u64,
    #[schema(example = 140)]
    no: u64,
}

/// Products that are found by words, with how many of them there are of which kind.
///
/// An answer shows what the catalogue's read model shows, some milliseconds later; `X-Position` says
/// how far that is.
#[utoipa::path(get, path = "/api/v1/products/search", tag = "products",
    params(SearchQuery, api_kit::headers::Read),
    responses((status = 200, description = "A page of what was found.", body = FoundBody)))]
async fn search_products(
    reader: Reader,
    Query(query): Query<SearchQuery>,
) -> Result<(Freshness, Depends, FoundBody), Problem> {
    let SearchQuery { q, limit, after, before, facets, .. } = &query;
    let q = q.as_deref().filter(|q| !q.trim().is_empty()).map(ToOwned::to_owned);
    let sort = match (query.sort, &q) {
        (Some(SearchOrder::Relevance) | None, None) => Sort::Newest,
        (None, Some(_)) => Sort::Relevance,
        (Some(order), _) => Sort::from(order),
    };
    let (after, before) = (after.clone(), before.clone());
    let paging = Paging::new(*limit, after, before, reader.store_id(), list_name(sort))?;
    let mut page = page_of(&paging, sort)?;
    page.facets = facets.iter().filter_map(|name| name.facet()).collect();
    let typed = q.clone().unwrap_or_default();
    let wanted = Wanted { filter: query.filter(), typed: q, in_titles: false, page };
    let (mut view, found) = find(&reader, wanted).await?;
    let Page { data: hits, page } = paging.page(found.hits, |hit| hit.place.clone());
    let ids: Vec<_> = hits.iter().map(|hit| hit.product_id).collect();
    let products = of_ids(&reader, &mut view, &ids).await?;
    let data = products.into_iter().map(|product| FoundProduct {
        highlighted_title: highlighted(product.title(), &typed),
        product,
    });
    let (total, facets) = (found.total, FacetsBody::new(found.facets));
    // Which products are found and counted may depend on the stock of any.
    Ok((
        view.freshness,
        Depends::default(),
        FoundBody { data: data.collect(), page, total, facets },
    ))
}

impl SearchQuery {
    fn filter(self) -> Filter {
        let SearchQuery {
            statuses, category, tags, vendor, price_min, price_max, in_stock, ..
        } = self;
        Filter {
            statuses: codes(&statuses),
            categories: Vec::from_iter(category),
            vendors: Vec::from_iter(vendor),
            tags,
            price_min,
            price_max,
            in_stock,
        }
    }
}

impl FacetsBody {
    fn new(facets: Facets) -> FacetsBody {
        let Facets { tags, categories, vendors, prices, in_stock } = facets;
        let values = |counts: Option<Vec<Count>>| {
            let value = |Count { value, count }| FacetValue { value, count };
            Some(counts?.into_iter().map(value).collect())
        };
        FacetsBody {
            tags: values(tags),
            category: values(categories),
            vendor: values(vendors),
            price: prices.map(|prices| prices.into_iter().map(PriceRangeBody::new).collect()),
            in_stock: in_stock.map(|(yes, no)| InStockBody { yes, no }),
        }
    }
}

impl PriceRangeBody {
    fn new(range: PriceRange) -> PriceRangeBody {
        let amount = |minor| money(minor, &range.currency);
        PriceRangeBody { from: amount(range.from), to: range.to.map(amount), count: range.count }
    }
}

impl IntoResponse for FoundBody {
    fn into_response(self) -> Response {
        let links = self.page.clone();
        let mut response = Json(self).into_response();
        // For the edge, which writes the `Link` header.
        response.extensions_mut().insert(links);
        response
    }
}
