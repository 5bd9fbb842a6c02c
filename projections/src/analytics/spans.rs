//! Figures by time: tables `analytics_sales` and, for what is in no currency,
//! `analytics_activity`. Every figure is in three rows, of a quarter of an hour, an hour and a day
//! (UTC), so that any time is the sum of few rows.
//!
//! Adding is not repeatable by itself: what makes it happen once is the checkpoint in the same
//! transaction.

use std::collections::BTreeMap;
use std::ops::AddAssign;

use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use uuid::Uuid;

/// Lengths of spans in minutes, shortest first; each divides the next. No time zone has been off
/// the quarters of an hour since 1972.
pub(super) const MINUTES: [i16; 3] = [QUARTER, HOUR, DAY];
pub(super) const QUARTER: i16 = 15;
pub(super) const HOUR: i16 = 60;
pub(super) const DAY: i16 = 24 * 60;

/// Additions to one row of `analytics_sales`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Figures {
    pub(super) orders: i64,
    pub(super) units: i64,
    pub(super) products: i64,
    pub(super) postage: i64,
    pub(super) discounts: i64,
    pub(super) manual: i64,
    pub(super) fees: i64,
    pub(super) cancellations: i64,
    pub(super) refunds: i64,
}

/// Additions to one row of `analytics_activity`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Activity {
    pub(super) orders: i64,
    pub(super) guest_orders: i64,
    pub(super) new_customers: i64,
    pub(super) stock_corrections: i64,
}

/// By store, quarter of an hour and currency.
#[derive(Default)]
pub(super) struct Sales(BTreeMap<(Uuid, DateTime<Utc>, String), Figures>);

/// By store and quarter of an hour.
#[derive(Default)]
pub(super) struct Activities(BTreeMap<(Uuid, DateTime<Utc>), Activity>);

impl Sales {
    /// What is added to the span of a moment.
    pub(super) fn at(&mut self, store_id: Uuid, at: DateTime<Utc>, currency: &str) -> &mut Figures {
        self.0.entry((store_id, floor(at, QUARTER), currency.to_owned())).or_default()
    }
}

impl Activities {
    /// What is added to the span of a moment.
    pub(super) fn at(&mut self, store_id: Uuid, at: DateTime<Utc>) -> &mut Activity {
        self.0.entry((store_id, floor(at, QUARTER))).or_default()
    }
}

impl AddAssign for Figures {
    fn add_assign(&mut self, more: Figures) {
        self.orders += more.orders;
        self.units += more.units;
        self.products += more.products;
        self.postage += more.postage;
        self.discounts += more.discounts;
        self.manual += more.manual;
        self.fees += more.fees;
        self.cancellations += more.cancellations;
        self.refunds += more.refunds;
    }
}

impl AddAssign for Activity {
    fn add_assign(&mut self, more: Activity) {
        self.orders += more.orders;
        self.guest_orders += more.guest_orders;
        self.new_customers += more.new_customers;
        self.stock_corrections += more.stock_corrections;
    }
}

/// The start of the span of so many minutes that a moment is in.
pub(super) fn floor(at: DateTime<Utc>, minutes: i16) -> DateTime<Utc> {
    let seconds = i64::from(minutes) * 60;
    let start = at.timestamp().div_euclid(seconds) * seconds;
    DateTime::from_timestamp(start, 0).unwrap_or(at)
}

/// One statement.
pub(super) async fn store_sales(conn: &mut PgConnection, sales: Sales) -> Result<(), sqlx::Error> {
    if sales.0.is_empty() {
        return Ok(());
    }
    let mut rows: BTreeMap<(Uuid, i16, DateTime<Utc>, &str), Figures> = BTreeMap::new();
    for ((store_id, at, currency), figures) in &sales.0 {
        for minutes in MINUTES {
            *rows.entry((*store_id, minutes, floor(*at, minutes), currency)).or_default() +=
                *figures;
        }
    }
    let amounts = |of: fn(&Figures) -> i64| rows.values().map(of).collect::<Vec<i64>>();
    sqlx::query!(
        "INSERT INTO analytics_sales AS s (store_id, minutes, starts_at, currency, orders, units,
             products_minor, postage_minor, discounts_minor, manual_minor, fees_minor,
             cancellations, refunds_minor)
         SELECT * FROM unnest($1::uuid[], $2::smallint[], $3::timestamptz[], $4::text[],
             $5::bigint[], $6::bigint[], $7::bigint[], $8::bigint[], $9::bigint[], $10::bigint[],
             $11::bigint[], $12::bigint[], $13::bigint[])
         ON CONFLICT (store_id, minutes, starts_at, currency) DO UPDATE
            SET orders = s.orders + excluded.orders,
                units = s.units + excluded.units,
                products_minor = s.products_minor + excluded.products_minor,
                postage_minor = s.postage_minor + excluded.postage_minor,
                discounts_minor = s.discounts_minor + excluded.discounts_minor,
                manual_minor = s.manual_minor + excluded.manual_minor,
                fees_minor = s.fees_minor + excluded.fees_minor,
                cancellations = s.cancellations + excluded.cancellations,
                refunds_minor = s.refunds_minor + excluded.refunds_minor",
        &rows.keys().map(|key| key.0).collect::<Vec<_>>(),
        &rows.keys().map(|key| key.1).collect::<Vec<_>>(),
        &rows.keys().map(|key| key.2).collect::<Vec<_>>(),
        &rows.keys().map(|key| key.3.to_owned()).collect::<Vec<_>>(),
        &amounts(|row| row.orders),
        &amounts(|row| row.units),
        &amounts(|row| row.products),
        &amounts(|row| row.postage),
        &amounts(|row| row.discounts),
        &amounts(|row| row.manual),
        &amounts(|row| row.fees),
        &amounts(|row| row.cancellations),
        &amounts(|row| row.refunds)
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// One statement.
pub(super) async fn store_activities(
    conn: &mut PgConnection,
    activities: Activities,
) -> Result<(), sqlx::Error> {
    if activities.0.is_empty() {
        return Ok(());
    }
    let mut rows: BTreeMap<(Uuid, i16, DateTime<Utc>), Activity> = BTreeMap::new();
    for ((store_id, at), activity) in &activities.0 {
        for minutes in MINUTES {
            *rows.entry((*store_id, minutes, floor(*at, minutes))).or_default() += *activity;
        }
    }
    let counts = |of: fn(&Activity) -> i64| rows.values().map(of).collect::<Vec<i64>>();
    sqlx::query!(
        "INSERT INTO analytics_activity AS a (store_id, minutes, starts_at, orders, guest_orders,
             new_customers, stock_corrections)
         SELECT * FROM unnest($1::uuid[], $2::smallint[], $3::timestamptz[], $4::bigint[],
             $5::bigint[], $6::bigint[], $7::bigint[])
         ON CONFLICT (store_id, minutes, starts_at) DO UPDATE
            SET orders = a.orders + excluded.orders,
                guest_orders = a.guest_orders + excluded.guest_orders,
                new_customers = a.new_customers + excluded.new_customers,
                stock_corrections = a.stock_corrections + excluded.stock_corrections",
        &rows.keys().map(|key| key.0).collect::<Vec<_>>(),
        &rows.keys().map(|key| key.1).collect::<Vec<_>>(),
        &rows.keys().map(|key| key.2).collect::<Vec<_>>(),
        &counts(|row| row.orders),
        &counts(|row| row.guest_orders),
        &counts(|row| row.new_customers),
        &counts(|row| row.stock_corrections)
    )
    .execute(conn)
    .await?;
    Ok(())
}
