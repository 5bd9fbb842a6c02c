//! Which products bring in most, or sell best.

use api_kit::{Limit, Page, Paging, Problem, Query};
use chrono::NaiveDate;
use chrono_tz::Tz;
use event_schemas::ids::ProductId;
use event_schemas::money::{Currency, Money};
use projections::analytics::top_products::{RankBy, TopError, TopProduct, TopQuery, top_products};
use projections::analytics::{DayRange, PROJECTION};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::{bad_range, day, utc, zone};
use crate::reader::{Freshness, Reader, unreadable};
use crate::value::money;

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct ProductsQuery {
    /// First day.
    #[serde(rename = "dateFrom", deserialize_with = "day")]
    #[param(example = "2010-12-01")]
    date_from: NaiveDate,
    /// Last day, included. At most 3,660 days.
    #[serde(rename = "dateTo", deserialize_with = "day")]
    #[param(example = "2010-12-31")]
    date_to: NaiveDate,
    /// Whose days: a name of the IANA time zone database.
    #[serde(default = "utc", deserialize_with = "zone")]
    #[param(value_type = Option<String>, default = "UTC", example = "Europe/London")]
    time_zone: Tz,
    /// Sales in this currency, an ISO 4217 code: amounts of two cannot be ranked together.
    #[serde(deserialize_with = "currency")]
    #[param(value_type = String, example = "GBP")]
    currency: Currency,
    /// `-revenue`: most revenue first, less what came back; `-units`: most units first, likewise.
    #[serde(default)]
    #[param(inline, required = false)]
    sort: RankBy,
    /// Products of the page.
    #[serde(default)]
    #[param(value_type = u16, minimum = 1, maximum = 100, default = 20)]
    limit: Limit,
    /// `next` of a page: those after it.
    after: Option<String>,
}

fn currency<'de, D: Deserializer<'de>>(from: D) -> Result<Currency, D::Error> {
    let code = String::deserialize(from)?;
    let found = Currency::from_code(&code);
    found.ok_or_else(|| D::Error::custom("must be an ISO 4217 code such as GBP"))
}

/// Sales of a product in a time.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ProductSales)]
pub(super) struct ProductBody {
    product_id: ProductId,
    /// As the newest order calls it.
    title: String,
    /// Of paid orders, when they were placed.
    units: i64,
    /// Units of refunds that name them and of cancellations, when they were given.
    returned_units: i64,
    /// Product lines, without charges.
    revenue: Money,
    /// Units that came back, at the price they were sold at. Money given back without naming units
    /// is in the sales report only.
    returned: Money,
    /// Revenue less what came back.
    net_revenue: Money,
}

/// Products by revenue or units, less what came back.
#[utoipa::path(get, path = "/api/v1/analytics/products", tag = "analytics",
    operation_id = "analytics_products",
    params(ProductsQuery, api_kit::headers::Read),
    responses((status = 200, description = "A page of products.", body = Page<ProductBody>)))]
pub(super) async fn products(
    reader: Reader,
    Query(query): Query<ProductsQuery>,
) -> Result<(Freshness, Page<ProductBody>), Problem> {
    let ProductsQuery { date_from, date_to, time_zone, currency, sort, limit, after } = query;
    // A place in one order is none in the other.
    let list = match sort {
        RankBy::Revenue => "analytics_products_by_revenue",
        RankBy::Units => "analytics_products_by_units",
    };
    let paging = Paging::new(limit, after, None, reader.store_id(), list)?;
    let query = TopQuery {
        days: DayRange { from: date_from, to: date_to, zone: time_zone },
        currency: currency.code().to_owned(),
        by: sort,
        after: paging.key()?,
        limit: paging.rows(),
    };
    let mut view = reader.view(&PROJECTION).await?;
    let kept = reader.reads().figures();
    let found = top_products(view.conn(), reader.store_id(), &query, kept).await;
    let mut page = paging.page(found.map_err(problem)?, TopProduct::cursor);
    // There is no way back.
    page.page.prev = None;
    let body = |product| ProductBody::new(product, currency.code());
    let data = page.data.into_iter().map(body).collect();
    Ok((view.freshness, Page { data, page: page.page }))
}

fn problem(error: TopError) -> Problem {
    match error {
        TopError::Range(error) => bad_range(error),
        TopError::Database(error) => unreadable(error),
        TopError::Task(error) => Problem::internal(error),
    }
}

impl ProductBody {
    fn new(product: TopProduct, currency: &str) -> ProductBody {
        let TopProduct { revenue_minor, returned_minor, .. } = product;
        ProductBody {
            product_id: ProductId(product.product_id),
            title: product.title,
            units: product.units,
            returned_units: product.returned_units,
            revenue: money(revenue_minor, currency),
            returned: money(returned_minor, currency),
            net_revenue: money(revenue_minor - returned_minor, currency),
        }
    }
}
