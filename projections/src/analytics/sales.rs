//! The sales report: days, weeks or months of a time zone, made of the spans of `analytics_sales`
//! and `analytics_activity`.

use std::collections::BTreeMap;

use chrono::{DateTime, Datelike as _, Days, Months, NaiveDate, Utc};
use event_schemas::ids::StoreId;
use serde::{Deserialize, Serialize};
use sqlx::PgConnection;

use super::DayRange;
use super::zone::{start_after, start_of_day, stretches};

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
#[derive(Clone, Debug, PartialEq, Eq)]
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
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SalesBucket {
    /// First day.
    pub from: NaiveDate,
    /// Last day.
    pub to: NaiveDate,
    /// What is in no currency.
    pub activity: Activity,
    /// By currency code; empty if nothing happened.
    pub totals: Vec<SalesTotals>,
}

/// What is in no currency.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Activity {
    /// Of the paid orders, those without a customer.
    pub guest_orders: i64,
    /// Customers whose first paid order was placed then.
    pub new_customers: i64,
    /// Corrections of stock counts.
    pub stock_corrections: i64,
}

/// Sales from one day to another, both included, in business time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SalesReport {
    pub granularity: Granularity,
    pub days: DayRange,
    /// Without a gap, oldest first.
    pub buckets: Vec<SalesBucket>,
    /// The whole time, by currency code.
    pub totals: Vec<SalesTotals>,
    /// The whole time.
    pub activity: Activity,
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

/// Sales of a store on some days. Two round trips; reads at most 27 rows per day and currency, and
/// for weeks and months about one.
pub async fn sales(
    conn: &mut PgConnection,
    store_id: StoreId,
    days: DayRange,
    granularity: Granularity,
) -> Result<SalesReport, ReportError> {
    let mut buckets = empty_buckets(days.from, days.to, granularity)?;
    let parts = Parts::new(&buckets, days);
    let mut totals = BTreeMap::new();
    for (bucket, row) in totals_by_bucket(conn, store_id, &parts).await? {
        let whole = totals.entry(row.currency.clone()).or_insert_with(|| zero(&row.currency));
        add(whole, &row);
        if let Some(bucket) = usize::try_from(bucket).ok().and_then(|at| buckets.get_mut(at)) {
            bucket.totals.push(row);
        }
    }
    let mut whole = Activity::default();
    for (bucket, activity) in activity_by_bucket(conn, store_id, &parts).await? {
        whole.guest_orders += activity.guest_orders;
        whole.new_customers += activity.new_customers;
        whole.stock_corrections += activity.stock_corrections;
        if let Some(bucket) = usize::try_from(bucket).ok().and_then(|at| buckets.get_mut(at)) {
            bucket.activity = activity;
        }
    }
    let totals = totals.into_values().collect();
    Ok(SalesReport { granularity, days, buckets, totals, activity: whole })
}

/// Which stored spans make up which bucket, as columns for `unnest`.
#[derive(Default)]
pub(super) struct Parts {
    buckets: Vec<i32>,
    minutes: Vec<i16>,
    from: Vec<DateTime<Utc>>,
    to: Vec<DateTime<Utc>>,
}

impl Parts {
    fn new(buckets: &[SalesBucket], days: DayRange) -> Parts {
        let mut parts = Parts::default();
        for (number, bucket) in (0..).zip(buckets) {
            let from = start_of_day(days.zone, bucket.from);
            parts.add(number, (from, start_after(days.zone, bucket.to)));
        }
        parts
    }

    /// Adds the spans of a time to a bucket.
    pub(super) fn add(&mut self, bucket: i32, (from, to): (DateTime<Utc>, DateTime<Utc>)) {
        for stretch in stretches(from, to) {
            self.buckets.push(bucket);
            self.minutes.push(stretch.minutes);
            self.from.push(stretch.from);
            self.to.push(stretch.to);
        }
    }
}

impl Granularity {
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

/// Without a gap, oldest first.
fn empty_buckets(
    from: NaiveDate,
    to: NaiveDate,
    granularity: Granularity,
) -> Result<Vec<SalesBucket>, ReportError> {
    if to < from {
        return Err(ReportError::Backwards);
    }
    let mut buckets = Vec::new();
    let mut start = granularity.start(from);
    while start <= to {
        if buckets.len() == BUCKETS_MAX {
            return Err(ReportError::TooManyBuckets);
        }
        let next = granularity.next(start);
        let last = next.and_then(|next| next.pred_opt()).unwrap_or(to);
        buckets.push(SalesBucket {
            from: start.max(from),
            to: last.min(to),
            activity: Activity::default(),
            totals: Vec::new(),
        });
        let Some(next) = next else { break };
        start = next;
    }
    Ok(buckets)
}

/// The inner sums make it a probe of the index per part, which is what the key is made for.
async fn totals_by_bucket(
    conn: &mut PgConnection,
    store_id: StoreId,
    parts: &Parts,
) -> Result<Vec<(i32, SalesTotals)>, sqlx::Error> {
    let rows = sqlx::query!(
        r#"SELECT part.bucket AS "bucket!", s.currency AS "currency!",
                  sum(s.orders)::bigint AS "orders!", sum(s.units)::bigint AS "units!",
                  sum(s.products)::bigint AS "products!", sum(s.postage)::bigint AS "postage!",
                  sum(s.discounts)::bigint AS "discounts!", sum(s.manual)::bigint AS "manual!",
                  sum(s.fees)::bigint AS "fees!",
                  sum(s.cancellations)::bigint AS "cancellations!",
                  sum(s.refunds)::bigint AS "refunds!"
             FROM unnest($2::int[], $3::smallint[], $4::timestamptz[], $5::timestamptz[])
                      AS part (bucket, minutes, starts, ends)
            CROSS JOIN LATERAL (
                  SELECT currency, sum(orders) AS orders, sum(units) AS units,
                         sum(products_minor) AS products, sum(postage_minor) AS postage,
                         sum(discounts_minor) AS discounts, sum(manual_minor) AS manual,
                         sum(fees_minor) AS fees, sum(cancellations) AS cancellations,
                         sum(refunds_minor) AS refunds
                    FROM analytics_sales
                   WHERE store_id = $1 AND minutes = part.minutes
                     AND starts_at >= part.starts AND starts_at < part.ends
                   GROUP BY currency) s
            GROUP BY part.bucket, s.currency ORDER BY part.bucket, s.currency"#,
        store_id.0,
        &parts.buckets,
        &parts.minutes,
        &parts.from,
        &parts.to
    )
    .fetch_all(conn)
    .await?;
    let totals = rows.into_iter().map(|row| {
        let charges = row.postage + row.discounts + row.manual + row.fees;
        let gross_minor = row.products + charges;
        let totals = SalesTotals {
            currency: row.currency,
            orders: row.orders,
            units: row.units,
            products_minor: row.products,
            postage_minor: row.postage,
            discounts_minor: row.discounts,
            manual_minor: row.manual,
            fees_minor: row.fees,
            gross_minor,
            cancellations: row.cancellations,
            refunds_minor: row.refunds,
            net_minor: gross_minor - row.refunds,
        };
        (row.bucket, totals)
    });
    Ok(totals.collect())
}

/// What is in no currency, by bucket; nothing for a bucket in which nothing happened.
pub(super) async fn activity_by_bucket(
    conn: &mut PgConnection,
    store_id: StoreId,
    parts: &Parts,
) -> Result<Vec<(i32, Activity)>, sqlx::Error> {
    let rows = sqlx::query!(
        r#"SELECT part.bucket AS "bucket!",
                  coalesce(sum(a.guest_orders), 0)::bigint AS "guest_orders!",
                  coalesce(sum(a.new_customers), 0)::bigint AS "new_customers!",
                  coalesce(sum(a.stock_corrections), 0)::bigint AS "stock_corrections!"
             FROM unnest($2::int[], $3::smallint[], $4::timestamptz[], $5::timestamptz[])
                      AS part (bucket, minutes, starts, ends)
            CROSS JOIN LATERAL (
                  SELECT sum(guest_orders) AS guest_orders, sum(new_customers) AS new_customers,
                         sum(stock_corrections) AS stock_corrections
                    FROM analytics_activity
                   WHERE store_id = $1 AND minutes = part.minutes
                     AND starts_at >= part.starts AND starts_at < part.ends) a
            GROUP BY part.bucket"#,
        store_id.0,
        &parts.buckets,
        &parts.minutes,
        &parts.from,
        &parts.to
    )
    .fetch_all(conn)
    .await?;
    let activity = rows.into_iter().map(|row| {
        let activity = Activity {
            guest_orders: row.guest_orders,
            new_customers: row.new_customers,
            stock_corrections: row.stock_corrections,
        };
        (row.bucket, activity)
    });
    Ok(activity.collect())
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
        buckets.iter().map(|bucket| format!("{}..{}", bucket.from, bucket.to)).collect()
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
