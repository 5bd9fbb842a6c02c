//! Stock: how many units of a variant are where.

use api_kit::{Api, Etag, Path, Permission, Problem};
use axum::Json;
use chrono::{DateTime, Utc};
use event_schemas::ids::VariantId;
use projections::catalog::PROJECTION;
use projections::catalog::stock::{self, Stock, StockLevel};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::routes;

use crate::reader::{Freshness, Reader, unreadable};
use crate::reads::Reads;

pub(crate) fn api() -> Api<Reads> {
    Api::new().route(Permission::StockRead, routes!(get))
}

/// Units of one variant.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Stock)]
struct StockBody {
    variant_id: VariantId,
    /// All places together.
    #[serde(flatten)]
    total: Units,
    /// By place, in alphabetical order of its code.
    locations: Vec<LocationBody>,
    updated_at: DateTime<Utc>,
    /// Version, as in `ETag`.
    version: i64,
}

/// Units at one place.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = StockAtLocation)]
struct LocationBody {
    /// Code of the place.
    #[schema(example = "main")]
    location: String,
    #[serde(flatten)]
    units: Units,
}

/// Units, by what they are for.
#[derive(Debug, Default, Serialize, ToSchema)]
#[schema(as = StockUnits)]
struct Units {
    /// Units that are there.
    #[schema(example = 120)]
    on_hand: i64,
    /// Of these, held for checkouts that are under way.
    #[schema(example = 3)]
    reserved: i64,
    /// Of these, belonging to orders.
    #[schema(example = 7)]
    allocated: i64,
    /// Of these, free to be sold.
    #[schema(example = 110)]
    available: i64,
}

/// Stock of one variant, by place.
///
/// A hold whose time is over counts as reserved until it is released, at most a minute later.
#[utoipa::path(get, path = "/api/v1/stock/{variant_id}", tag = "stock",
    params(("variant_id" = VariantId, Path), api_kit::headers::Read),
    responses((status = 200, description = "The stock; `ETag` is its version.",
        body = StockBody)))]
async fn get(
    reader: Reader,
    Path(variant_id): Path<VariantId>,
) -> Result<(Etag, Freshness, Json<StockBody>), Problem> {
    let mut view = reader.view(&PROJECTION).await?;
    let found = stock::get(view.conn(), reader.store_id(), variant_id.0).await;
    let stock = found.map_err(unreadable)?.ok_or_else(|| Problem::new("stock_not_found"))?;
    Ok((Etag(stock.version), view.freshness, Json(StockBody::new(variant_id, stock))))
}

impl StockBody {
    fn new(variant_id: VariantId, stock: Stock) -> StockBody {
        let mut total = Units::default();
        for level in &stock.levels {
            total.on_hand += level.on_hand;
            total.reserved += level.reserved;
            total.allocated += level.allocated;
            total.available += level.available;
        }
        let locations = stock.levels.into_iter().map(LocationBody::new).collect();
        let Stock { version, updated_at, .. } = stock;
        StockBody { variant_id, total, locations, updated_at, version }
    }
}

impl LocationBody {
    fn new(level: StockLevel) -> LocationBody {
        let StockLevel { location, on_hand, reserved, allocated, available } = level;
        LocationBody { location, units: Units { on_hand, reserved, allocated, available } }
    }
}
