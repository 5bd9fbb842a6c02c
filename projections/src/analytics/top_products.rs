//! Products by what they brought in, or how many were sold: whole months and days of
//! `analytics_product_sales`, and what the days of a time zone have beyond those, from the orders
//! and refunds of these hours.
//!
//! A year of a large catalogue is a million rows, which PostgreSQL adds up in half a second. Whole
//! months and days are therefore kept as they were read (`kept`), and added up in memory.

use std::{cmp::Reverse, collections::HashMap};

use chrono::{DateTime, Months, NaiveDate, NaiveTime, Utc};
use event_schemas::ids::StoreId;
use serde::{Deserialize, Serialize};
use sqlx::PgConnection;
use tokio::task::{JoinError, spawn_blocking};
use uuid::Uuid;

use super::kept::{Kept, Span, Stretch, Sums, Totals};
use super::product_sales::month;
use super::spans::{DAY, floor};
use super::{DayRange, RangeError};

/// What a list of products is ordered by, most first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub enum RankBy {
    /// Revenue less what came back.
    #[default]
    #[serde(rename = "-revenue")]
    Revenue,
    /// Units less those that came back.
    #[serde(rename = "-units")]
    Units,
}

/// Which products.
#[derive(Clone, Debug)]
pub struct TopQuery {
    pub days: DayRange,
    /// ISO 4217 code.
    pub currency: String,
    pub by: RankBy,
    /// Those right behind this place.
    pub after: Option<TopCursor>,
    /// At most so many.
    pub limit: i64,
}

/// A place in the list: right behind this product.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TopCursor {
    /// Net revenue in minor units, or net units.
    pub rank: i64,
    pub product_id: Uuid,
}

/// A product and its sales in one currency, in its minor units.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopProduct {
    pub product_id: Uuid,
    /// As the newest order calls it.
    pub title: String,
    /// Of paid orders, when they were placed.
    pub units: i64,
    /// Their lines, without charges.
    pub revenue_minor: i64,
    /// Of refunds that name them and of cancellations, when they were given.
    pub returned_units: i64,
    /// At the price they were sold at.
    pub returned_minor: i64,
    /// What the list is ordered by.
    pub rank: i64,
}

/// Why there is no list.
#[derive(Debug, thiserror::Error)]
pub enum TopError {
    #[error(transparent)]
    Range(#[from] RangeError),
    #[error("database failed")]
    Database(#[from] sqlx::Error),
    #[error("adding up did not end")]
    Task(#[from] JoinError),
}

impl TopProduct {
    /// The place right behind it.
    pub fn cursor(&self) -> TopCursor {
        TopCursor { rank: self.rank, product_id: self.product_id }
    }
}

/// Stored months and days, and the times before and after them, which may be empty.
#[derive(Debug)]
struct Pieces {
    spans: Vec<Stretch>,
    /// Single parameters of the statement and no arrays: the planner sees how short they are.
    edges: [(DateTime<Utc>, DateTime<Utc>); 2],
}

impl Pieces {
    fn new(from: DateTime<Utc>, to: DateTime<Utc>) -> Pieces {
        let edges = [(from, from), (to, to)];
        let mut pieces = Pieces { spans: vec![], edges };
        let first = floor(from, DAY).date_naive();
        let whole = first.and_time(NaiveTime::MIN).and_utc() == from;
        let first = if whole { Some(first) } else { first.succ_opt() }.unwrap_or(first);
        let beyond = floor(to, DAY).date_naive();
        if first >= beyond {
            pieces.edges[0].1 = to;
            return pieces;
        }
        let midnight = |day: NaiveDate| day.and_time(NaiveTime::MIN).and_utc();
        pieces.edges = [(from, midnight(first)), (midnight(beyond), to)];
        let next_month = if month(first) == first {
            first
        } else {
            month(first).checked_add_months(Months::new(1)).unwrap_or(beyond)
        };
        let last_month = month(beyond);
        if next_month < last_month {
            pieces.span(Span::Day, first, next_month);
            pieces.span(Span::Month, next_month, last_month);
            pieces.span(Span::Day, last_month, beyond);
        } else {
            pieces.span(Span::Day, first, beyond);
        }
        pieces
    }

    fn span(&mut self, span: Span, first: NaiveDate, beyond: NaiveDate) {
        if first < beyond {
            self.spans.push(Stretch { span, first, beyond });
        }
    }
}

/// Products of a store by revenue or units. At most six round trips, three if what it needs of
/// whole days and months is in `kept` and the days begin at midnight UTC; adds up in memory what is
/// there of a product, a month, up to sixty single days, and the orders of less than two days.
pub async fn top_products(
    conn: &mut PgConnection,
    store_id: StoreId,
    query: &TopQuery,
    kept: &Kept,
) -> Result<Vec<TopProduct>, TopError> {
    let (from, to) = query.days.times()?;
    let pieces = Pieces::new(from, to);
    let whole = kept.read(conn, (store_id, &query.currency), &pieces.spans).await?;
    let rest = if pieces.edges.iter().any(|(from, to)| from < to) {
        edges(conn, store_id, &query.currency, pieces.edges).await?
    } else {
        Vec::new()
    };
    let TopQuery { by, after, limit, .. } = *query;
    let limit = usize::try_from(limit).unwrap_or(0);
    let ranking = spawn_blocking(move || {
        let mut sums = Sums::default();
        for piece in &whole {
            piece.add_to(&mut sums);
        }
        for (product_id, more) in &rest {
            *sums.entry(*product_id).or_default() += *more;
        }
        rank(sums, by, after, limit)
    });
    named(conn, store_id, ranking.await?).await
}

/// The first `limit` products behind a place.
fn rank(
    sums: Sums,
    by: RankBy,
    after: Option<TopCursor>,
    limit: usize,
) -> Vec<(TopCursor, Totals)> {
    let place = |(product_id, sum): (Uuid, Totals)| {
        let rank = match by {
            RankBy::Units => sum.units.saturating_sub(sum.returned_units),
            RankBy::Revenue => sum.revenue.saturating_sub(sum.returned),
        };
        (TopCursor { rank, product_id }, sum)
    };
    let order = |cursor: &TopCursor| (Reverse(cursor.rank), cursor.product_id);
    let behind =
        |(cursor, _): &(TopCursor, Totals)| after.is_none_or(|after| order(&after) < order(cursor));
    let mut found: Vec<_> = sums.into_iter().map(place).filter(behind).collect();
    if limit < found.len() {
        found.select_nth_unstable_by_key(limit, |(cursor, _)| order(cursor));
        found.truncate(limit);
    }
    found.sort_unstable_by_key(|(cursor, _)| order(cursor));
    found
}

async fn named(
    conn: &mut PgConnection,
    store_id: StoreId,
    found: Vec<(TopCursor, Totals)>,
) -> Result<Vec<TopProduct>, TopError> {
    let ids: Vec<Uuid> = found.iter().map(|(cursor, _)| cursor.product_id).collect();
    let titles = sqlx::query!(
        "SELECT product_id, title FROM analytics_products
          WHERE store_id = $1 AND product_id = ANY ($2)",
        store_id.0,
        &ids
    );
    let titles = titles.fetch_all(conn).await?.into_iter();
    let mut titles: HashMap<Uuid, String> = titles.map(|row| (row.product_id, row.title)).collect();
    let product = |(TopCursor { rank, product_id }, sum): (TopCursor, Totals)| TopProduct {
        product_id,
        title: titles.remove(&product_id).unwrap_or_default(),
        units: sum.units,
        revenue_minor: sum.revenue,
        returned_units: sum.returned_units,
        returned_minor: sum.returned,
        rank,
    };
    Ok(found.into_iter().map(product).collect())
}

/// What was sold and came back in parts of days.
async fn edges(
    conn: &mut PgConnection,
    store_id: StoreId,
    currency: &str,
    [before, after]: [(DateTime<Utc>, DateTime<Utc>); 2],
) -> Result<Vec<(Uuid, Totals)>, sqlx::Error> {
    let rows = sqlx::query!(
        r#"SELECT product_id AS "product_id!", sum(units)::bigint AS "units!",
                  sum(revenue)::bigint AS "revenue!", sum(returned_units)::bigint AS "returned_units!",
                  sum(returned)::bigint AS "returned!"
             FROM (SELECT l.product_id, l.units, l.units * l.unit_price_minor AS revenue,
                          0 AS returned_units, 0 AS returned
                     FROM (SELECT lines FROM analytics_orders
                            WHERE store_id = $1 AND currency = $2 AND counted
                              AND placed_at >= $3 AND placed_at < $4
                           UNION ALL
                           SELECT lines FROM analytics_orders
                            WHERE store_id = $1 AND currency = $2 AND counted
                              AND placed_at >= $5 AND placed_at < $6) AS o
                    CROSS JOIN jsonb_to_recordset(o.lines)
                       AS l (product_id uuid, units bigint, unit_price_minor bigint)
                   UNION ALL
                   SELECT l.product_id, 0, 0, l.units, l.amount_minor
                     FROM analytics_refunds r
                    CROSS JOIN jsonb_to_recordset(r.lines)
                       AS l (product_id uuid, units bigint, amount_minor bigint)
                    WHERE r.store_id = $1 AND r.currency = $2
                      AND ((r.given_at >= $3 AND r.given_at < $4)
                        OR (r.given_at >= $5 AND r.given_at < $6))) AS parts
            GROUP BY product_id"#,
        store_id.0,
        currency,
        before.0,
        before.1,
        after.0,
        after.1
    );
    let rows = rows.fetch_all(conn).await?.into_iter();
    let sums = rows.map(|row| {
        let (units, revenue) = (row.units, row.revenue);
        let (returned_units, returned) = (row.returned_units, row.returned);
        (row.product_id, Totals { units, revenue, returned_units, returned })
    });
    Ok(sums.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pieces(from: &str, to: &str) -> Vec<String> {
        let Pieces { spans, edges } = Pieces::new(from.parse().unwrap(), to.parse().unwrap());
        let edges = edges.iter().filter(|(from, to)| from < to);
        let edges = edges.map(|(from, to)| format!("{} h", (*to - *from).num_hours()));
        let name = |stretch: &Stretch| {
            format!("{} {}..{}", stretch.span.name(), stretch.first, stretch.beyond)
        };
        spans.iter().map(name).chain(edges).collect()
    }

    #[test]
    fn a_time_is_whole_months_days_around_them_and_hours_at_the_ends() {
        assert_eq!(
            pieces("2026-01-29T23:00:00Z", "2026-04-02T22:00:00Z"),
            [
                "day 2026-01-30..2026-02-01",
                "month 2026-02-01..2026-04-01",
                "day 2026-04-01..2026-04-02",
                "1 h",
                "22 h",
            ]
        );
        assert_eq!(
            pieces("2026-01-01T00:00:00Z", "2027-01-01T00:00:00Z"),
            ["month 2026-01-01..2027-01-01"]
        );
        assert_eq!(
            pieces("2026-01-15T00:00:00Z", "2026-02-15T00:00:00Z"),
            ["day 2026-01-15..2026-02-15"]
        );
        assert_eq!(pieces("2026-06-30T23:00:00Z", "2026-07-01T23:00:00Z"), ["24 h"]);
    }
}
