//! Sales per day, week or month.

use api_kit::{FieldError, Problem, Query};
use axum::Json;
use chrono::NaiveDate;
use chrono_tz::Tz;
use event_schemas::money::Money;
use projections::analytics::sales::{
    self as report, Activity, Granularity, ReportError, SalesBucket, SalesReport, SalesTotals,
};
use projections::analytics::{DayRange, PROJECTION};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::{average, day, utc, zone};
use crate::reader::{Freshness, Reader, unreadable};
use crate::value::money;

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct SalesQuery {
    /// First day.
    #[serde(rename = "dateFrom", deserialize_with = "day")]
    #[param(example = "2010-12-01")]
    date_from: NaiveDate,
    /// Last day, included.
    #[serde(rename = "dateTo", deserialize_with = "day")]
    #[param(example = "2010-12-31")]
    date_to: NaiveDate,
    /// Width of a bucket; weeks begin on Monday. At most 1,100 buckets.
    #[serde(default = "daily")]
    #[param(value_type = Option<Granularity>, default = "day")]
    granularity: Granularity,
    /// Whose days: a name of the IANA time zone database. Exact for days since 1972.
    #[serde(default = "utc", deserialize_with = "zone")]
    #[param(value_type = Option<String>, default = "UTC", example = "Europe/London")]
    time_zone: Tz,
}

fn daily() -> Granularity {
    Granularity::Day
}

/// Sales of a time. Each currency stands for itself; nothing is converted.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = SalesReport)]
pub(super) struct SalesBody {
    /// Time zone of all days.
    #[schema(example = "Europe/London")]
    time_zone: &'static str,
    granularity: Granularity,
    /// First day.
    date_from: NaiveDate,
    /// Last day.
    date_to: NaiveDate,
    /// The whole time.
    totals: SpanBody,
    /// Without a gap, oldest first.
    buckets: Vec<BucketBody>,
}

/// A day, week or month; the first and the last may be cut by the days asked for.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = SalesBucket)]
struct BucketBody {
    /// First day.
    date: NaiveDate,
    /// Last day.
    last_date: NaiveDate,
    #[serde(flatten)]
    span: SpanBody,
}

/// Figures of some time.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = SalesSpan)]
struct SpanBody {
    /// Of the paid orders, those without a customer reference.
    guest_orders: i64,
    /// Customers whose first paid order was placed then.
    new_customers: i64,
    /// Corrections of stock counts.
    stock_corrections: i64,
    /// By currency code; empty if nothing was sold or refunded.
    currencies: Vec<FiguresBody>,
}

/// Figures of one currency.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = SalesFigures)]
struct FiguresBody {
    #[schema(example = "GBP")]
    currency: String,
    /// Paid orders, on the day they were placed. A later cancellation shows as a refund.
    orders: i64,
    /// Units of their product lines.
    units: i64,
    products: Money,
    postage: Money,
    /// Zero or negative.
    discounts: Money,
    /// Typed in by hand.
    manual: Money,
    fees: Money,
    /// Products and charges.
    gross: Money,
    /// Gross by orders, rounded to the minor unit, half away from zero; null without an order.
    average_order: Option<Money>,
    /// Documents by which money was given back, on the day it was given.
    cancellations: i64,
    /// Zero or positive.
    refunds: Money,
    /// Gross less refunds.
    net: Money,
}

/// Sales per day, week or month of a time zone, and the whole, by currency.
#[utoipa::path(get, path = "/api/v1/analytics/sales", tag = "analytics",
    operation_id = "analytics_sales",
    params(SalesQuery, api_kit::headers::Read),
    responses((status = 200, description = "The report.", body = SalesBody)))]
pub(super) async fn sales(
    reader: Reader,
    Query(query): Query<SalesQuery>,
) -> Result<(Freshness, Json<SalesBody>), Problem> {
    let SalesQuery { date_from, date_to, granularity, time_zone } = query;
    let mut view = reader.view(&PROJECTION).await?;
    let days = DayRange { from: date_from, to: date_to, zone: time_zone };
    let report = report::sales(view.conn(), reader.store_id(), days, granularity).await;
    let report = report.map_err(problem)?;
    Ok((view.freshness, Json(SalesBody::new(report))))
}

fn problem(error: ReportError) -> Problem {
    let (parameter, code) = match error {
        ReportError::Backwards => ("dateTo", "before_date_from"),
        ReportError::TooManyBuckets => ("granularity", "too_many"),
        ReportError::Database(error) => return unreadable(error),
    };
    let field = FieldError::parameter(parameter, code, error.to_string());
    Problem::new("validation_failed").error(field)
}

impl SalesBody {
    fn new(report: SalesReport) -> SalesBody {
        SalesBody {
            time_zone: report.days.zone.name(),
            granularity: report.granularity,
            date_from: report.days.from,
            date_to: report.days.to,
            totals: SpanBody::new(report.activity, report.totals),
            buckets: report.buckets.into_iter().map(BucketBody::new).collect(),
        }
    }
}

impl BucketBody {
    fn new(bucket: SalesBucket) -> BucketBody {
        let SalesBucket { from, to, activity, totals } = bucket;
        let span = SpanBody::new(activity, totals);
        BucketBody { date: from, last_date: to, span }
    }
}

impl SpanBody {
    fn new(activity: Activity, totals: Vec<SalesTotals>) -> SpanBody {
        let Activity { guest_orders, new_customers, stock_corrections } = activity;
        let currencies = totals.into_iter().map(FiguresBody::new).collect();
        SpanBody { guest_orders, new_customers, stock_corrections, currencies }
    }
}

impl FiguresBody {
    fn new(totals: SalesTotals) -> FiguresBody {
        let amount = |minor| money(minor, &totals.currency);
        FiguresBody {
            orders: totals.orders,
            units: totals.units,
            products: amount(totals.products_minor),
            postage: amount(totals.postage_minor),
            discounts: amount(totals.discounts_minor),
            manual: amount(totals.manual_minor),
            fees: amount(totals.fees_minor),
            gross: amount(totals.gross_minor),
            average_order: average(totals.gross_minor, totals.orders, &totals.currency),
            cancellations: totals.cancellations,
            refunds: amount(totals.refunds_minor),
            net: amount(totals.net_minor),
            currency: totals.currency,
        }
    }
}
