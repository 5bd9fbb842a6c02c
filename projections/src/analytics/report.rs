//! The sales report: days, weeks or months of `analytics_daily_sales`.

use std::collections::BTreeMap;

use chrono::{Datelike as _, Days, Months, NaiveDate};
use event_schemas::ids::StoreId;
use serde::{Deserialize, Serialize};
use sqlx::PgConnection;

/// Buckets of one report: three years of days. More would be an export.
pub const BUCKETS_MAX: usize = 1_100;

/// Width of a bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Granularity {
    Day,
    /// ISO weeks: Monday to Sunday.
    Week,
    Month,
}

/// Figures of one currency. Amounts are in its minor units.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct SalesTotals {
    /// ISO 4217 code.
    pub currency: String,
    /// Paid orders, on the day they were placed.
    pub orders: i64,
    /// Units of their product lines.
    pub units: i64,
    pub products_minor: i64,
    pub postage_minor: i64,
    /// Zero or negative.
    pub discounts_minor: i64,
    /// Typed in by hand.
    pub manual_minor: i64,
    pub fees_minor: i64,
    /// Products and charges.
    pub gross_minor: i64,
    /// Documents by which money was given back, on the day it was given.
    pub cancellations: i64,
    /// Zero or positive.
    pub refunds_minor: i64,
    /// Gross less refunds.
    pub net_minor: i64,
}

/// A day, week or month; the first and the last may be cut by the dates asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct SalesBucket {
    /// First day.
    pub from: NaiveDate,
    /// Last day.
    pub to: NaiveDate,
    /// Corrections of stock counts.
    pub stock_corrections: i64,
    /// By currency code; empty if nothing happened.
    pub totals: Vec<SalesTotals>,
}

/// Sales from one day to another, both included; days are UTC, in business time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct SalesReport {
    pub granularity: Granularity,
    /// First day.
    pub from: NaiveDate,
    /// Last day.
    pub to: NaiveDate,
    /// Without a gap, oldest first.
    pub buckets: Vec<SalesBucket>,
    /// The whole time, by currency code.
    pub totals: Vec<SalesTotals>,
    /// The whole time.
    pub stock_corrections: i64,
}

/// Why there is no report.
#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    #[error("the last day is before the first")]
    Backwards,
    /// More than [`BUCKETS_MAX`].
    #[error("the time asked for has more than {BUCKETS_MAX} buckets")]
    TooManyBuckets,
    #[error("database failed")]
    Database(#[from] sqlx::Error),
}

/// Sales of a store from day `from` to day `to`, both included. Two round trips; reads at most a
/// row per day and currency.
pub async fn sales(
    conn: &mut PgConnection,
    store_id: StoreId,
    (from, to): (NaiveDate, NaiveDate),
    granularity: Granularity,
) -> Result<SalesReport, ReportError> {
    let mut buckets = empty_buckets(from, to, granularity)?;
    let mut totals = BTreeMap::new();
    for (start, row) in totals_by_bucket(conn, store_id, (from, to), granularity).await? {
        let whole = totals.entry(row.currency.clone()).or_insert_with(|| zero(&row.currency));
        add(whole, &row);
        if let Some(bucket) = buckets.get_mut(&start) {
            bucket.totals.push(row);
        }
    }
    let mut stock_corrections = 0;
    for (start, corrections) in
        corrections_by_bucket(conn, store_id, (from, to), granularity).await?
    {
        stock_corrections += corrections;
        if let Some(bucket) = buckets.get_mut(&start) {
            bucket.stock_corrections = corrections;
        }
    }
    Ok(SalesReport {
        granularity,
        from,
        to,
        buckets: buckets.into_values().collect(),
        totals: totals.into_values().collect(),
        stock_corrections,
    })
}

impl Granularity {
    /// As `date_trunc` calls it.
    fn field(self) -> &'static str {
        match self {
            Self::Day => "day",
            Self::Week => "week",
            Self::Month => "month",
        }
    }

    /// First day of the bucket of a day.
    fn start(self, day: NaiveDate) -> NaiveDate {
        match self {
            Self::Day => day,
            Self::Week => {
                let since_monday = u64::from(day.weekday().num_days_from_monday());
                day.checked_sub_days(Days::new(since_monday)).unwrap_or(day)
            }
            Self::Month => day.with_day(1).unwrap_or(day),
        }
    }

    /// First day of the bucket after the one that begins at `start`; `None` at the end of time.
    fn next(self, start: NaiveDate) -> Option<NaiveDate> {
        match self {
            Self::Day => start.checked_add_days(Days::new(1)),
            Self::Week => start.checked_add_days(Days::new(7)),
            Self::Month => start.checked_add_months(Months::new(1)),
        }
    }
}

/// Buckets by their uncut first day.
fn empty_buckets(
    from: NaiveDate,
    to: NaiveDate,
    granularity: Granularity,
) -> Result<BTreeMap<NaiveDate, SalesBucket>, ReportError> {
    if to < from {
        return Err(ReportError::Backwards);
    }
    let mut buckets = BTreeMap::new();
    let mut start = granularity.start(from);
    while start <= to {
        if buckets.len() == BUCKETS_MAX {
            return Err(ReportError::TooManyBuckets);
        }
        let next = granularity.next(start);
        let last = next.and_then(|next| next.pred_opt()).unwrap_or(to);
        let bucket = SalesBucket {
            from: start.max(from),
            to: last.min(to),
            stock_corrections: 0,
            totals: Vec::new(),
        };
        buckets.insert(start, bucket);
        let Some(next) = next else { break };
        start = next;
    }
    Ok(buckets)
}

async fn totals_by_bucket(
    conn: &mut PgConnection,
    store_id: StoreId,
    (from, to): (NaiveDate, NaiveDate),
    granularity: Granularity,
) -> Result<Vec<(NaiveDate, SalesTotals)>, sqlx::Error> {
    let rows = sqlx::query!(
        r#"SELECT date_trunc($4, day::timestamp)::date AS "start!", currency,
                  sum(orders)::bigint AS "orders!", sum(units)::bigint AS "units!",
                  sum(products_minor)::bigint AS "products_minor!",
                  sum(postage_minor)::bigint AS "postage_minor!",
                  sum(discounts_minor)::bigint AS "discounts_minor!",
                  sum(manual_minor)::bigint AS "manual_minor!",
                  sum(fees_minor)::bigint AS "fees_minor!",
                  sum(gross_minor)::bigint AS "gross_minor!",
                  sum(cancellations)::bigint AS "cancellations!",
                  sum(refunds_minor)::bigint AS "refunds_minor!",
                  sum(net_minor)::bigint AS "net_minor!"
             FROM analytics_daily_sales
            WHERE store_id = $1 AND day >= $2 AND day <= $3
            GROUP BY 1, 2 ORDER BY 1, 2"#,
        store_id.0,
        from,
        to,
        granularity.field()
    )
    .fetch_all(conn)
    .await?;
    let totals = rows.into_iter().map(|row| {
        let totals = SalesTotals {
            currency: row.currency,
            orders: row.orders,
            units: row.units,
            products_minor: row.products_minor,
            postage_minor: row.postage_minor,
            discounts_minor: row.discounts_minor,
            manual_minor: row.manual_minor,
            fees_minor: row.fees_minor,
            gross_minor: row.gross_minor,
            cancellations: row.cancellations,
            refunds_minor: row.refunds_minor,
            net_minor: row.net_minor,
        };
        (row.start, totals)
    });
    Ok(totals.collect())
}

async fn corrections_by_bucket(
    conn: &mut PgConnection,
    store_id: StoreId,
    (from, to): (NaiveDate, NaiveDate),
    granularity: Granularity,
) -> Result<Vec<(NaiveDate, i64)>, sqlx::Error> {
    let rows = sqlx::query!(
        r#"SELECT date_trunc($4, day::timestamp)::date AS "start!",
                  sum(corrections)::bigint AS "corrections!"
             FROM analytics_daily_stock
            WHERE store_id = $1 AND day >= $2 AND day <= $3 GROUP BY 1"#,
        store_id.0,
        from,
        to,
        granularity.field()
    )
    .fetch_all(conn)
    .await?;
    Ok(rows.into_iter().map(|row| (row.start, row.corrections)).collect())
}

fn zero(currency: &str) -> SalesTotals {
    SalesTotals {
        currency: currency.to_owned(),
        orders: 0,
        units: 0,
        products_minor: 0,
        postage_minor: 0,
        discounts_minor: 0,
        manual_minor: 0,
        fees_minor: 0,
        gross_minor: 0,
        cancellations: 0,
        refunds_minor: 0,
        net_minor: 0,
    }
}

fn add(to: &mut SalesTotals, more: &SalesTotals) {
    to.orders += more.orders;
    to.units += more.units;
    to.products_minor += more.products_minor;
    to.postage_minor += more.postage_minor;
    to.discounts_minor += more.discounts_minor;
    to.manual_minor += more.manual_minor;
    to.fees_minor += more.fees_minor;
    to.gross_minor += more.gross_minor;
    to.cancellations += more.cancellations;
    to.refunds_minor += more.refunds_minor;
    to.net_minor += more.net_minor;
}

#[cfg(test)]
mod tests {
    use super::*;

    fn day(text: &str) -> NaiveDate {
        text.parse().unwrap()
    }

    fn spans(from: &str, to: &str, granularity: Granularity) -> Vec<String> {
        let buckets = empty_buckets(day(from), day(to), granularity).unwrap();
        buckets.values().map(|bucket| format!("{}..{}", bucket.from, bucket.to)).collect()
    }

    #[test]
    fn weeks_begin_on_monday_and_are_cut_at_the_ends() {
        assert_eq!(
            spans("2010-12-01", "2010-12-14", Granularity::Week),
            ["2010-12-01..2010-12-05", "2010-12-06..2010-12-12", "2010-12-13..2010-12-14"]
        );
    }

    #[test]
    fn months_are_as_long_as_they_are() {
        assert_eq!(
            spans("2024-01-31", "2024-03-01", Granularity::Month),
            ["2024-01-31..2024-01-31", "2024-02-01..2024-02-29", "2024-03-01..2024-03-01"]
        );
    }

    #[test]
    fn a_report_ends_somewhere() {
        let report =
            |from, to| empty_buckets(from, to, Granularity::Day).map(|buckets| buckets.len());
        assert!(matches!(report(day("2020-01-01"), day("2023-01-04")), Ok(1_100)));
        assert!(matches!(
            report(day("2020-01-01"), day("2023-01-05")),
            Err(ReportError::TooManyBuckets)
        ));
        assert!(matches!(report(NaiveDate::MAX, NaiveDate::MAX), Ok(1)));
        assert!(matches!(
            report(day("2020-01-02"), day("2020-01-01")),
            Err(ReportError::Backwards)
        ));
    }
}
