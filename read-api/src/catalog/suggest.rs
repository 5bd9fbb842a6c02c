//! What people are shown while they type.

use api_kit::{Api, Permission, Problem, Query};
use axum::Json;
use event_schemas::ids::ProductId;
use projections::catalog::products;
use search::{Filter, PageOf, Sort, highlighted};
use serde::{Deserialize, Deserializer, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::routes;

use super::{ProductStatus, Wanted, codes, find};
use crate::cache::cached;
use crate::changes::Depends;
use crate::reader::{Freshness, Reader, unreadable};
use crate::reads::Reads;
use crate::value;

/// More are not read while typing.
const SUGGESTIONS_MAX: usize = 20;

/// Unless the client says: what fits under a field.
const SUGGESTIONS: usize = 8;

pub(super) fn api() -> Api<Reads> {
    Api::new().route(Permission::ProductsRead, cached(routes!(suggest_products)))
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct SuggestQuery {
    /// What has been typed so far.
    #[serde(deserialize_with = "value::text")]
    #[param(value_type = String, example = "dark cho")]
    q: Option<String>,
    /// Suggestions at most.
    #[serde(default = "suggestions", deserialize_with = "few")]
    #[param(value_type = u16, minimum = 1, maximum = 20, default = 8)]
    limit: usize,
    /// Any of these, with commas between: `draft`, `active`, `archived`.
    #[serde(rename = "filter[status]", alias = "status", default)]
    #[serde(deserialize_with = "value::listed")]
    #[param(value_type = Option<String>, example = "active")]
    statuses: Vec<ProductStatus>,
}

fn suggestions() -> usize {
    SUGGESTIONS
}

fn few<'de, D: Deserializer<'de>>(from: D) -> Result<usize, D::Error> {
    let limit = usize::deserialize(from)?;
    if (1..=SUGGESTIONS_MAX).contains(&limit) {
        return Ok(limit);
    }
    Err(serde::de::Error::custom(format!("must be from 1 to {SUGGESTIONS_MAX}")))
}

/// Best first.
#[derive(Debug, Serialize, ToSchema)]
struct Suggestions {
    data: Vec<Suggestion>,
}

/// A product whose title has what was typed.
#[derive(Debug, Serialize, ToSchema)]
struct Suggestion {
    id: ProductId,
    /// Name in URLs, unique in the store.
    #[schema(example = "dark-chocolate-bar")]
    handle: String,
    #[schema(example = "Dark chocolate bar")]
    title: String,
    /// The title as HTML, safe to show, with what was typed in `<mark>`.
    #[schema(example = "<mark>Dark</mark> <mark>cho</mark>colate bar")]
    highlighted_title: String,
}

/// Products whose titles have words that begin, or nearly begin, with those that were typed.
#[utoipa::path(get, path = "/api/v1/products/suggest", tag = "products",
    params(SuggestQuery, api_kit::headers::Read),
    responses((status = 200, description = "Suggestions, best first.", body = Suggestions)))]
async fn suggest_products(
    reader: Reader,
    Query(query): Query<SuggestQuery>,
) -> Result<(Freshness, Depends, Json<Suggestions>), Problem> {
    let SuggestQuery { q, limit, statuses } = query;
    let typed = q.unwrap_or_default();
    let filter = Filter { statuses: codes(&statuses), ..Filter::default() };
    let page = PageOf { sort: Sort::Relevance, limit, ..PageOf::default() };
    let wanted = Wanted { filter, typed: Some(typed.clone()), in_titles: true, page };
    let (mut view, found) = find(&reader, wanted).await?;
    let ids: Vec<_> = found.hits.iter().map(|hit| hit.product_id).collect();
    let titles = products::titles(view.conn(), reader.store_id(), &ids).await;
    let data = titles.map_err(unreadable)?.into_iter().map(|product| Suggestion {
        id: ProductId(product.product_id),
        handle: product.handle,
        highlighted_title: highlighted(&product.title, &typed),
        title: product.title,
    });
    // No stock is in it.
    let depends = Depends::products(Vec::new());
    Ok((view.freshness, depends, Json(Suggestions { data: data.collect() })))
}
