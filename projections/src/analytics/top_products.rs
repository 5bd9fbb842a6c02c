//! Products by what they brought in, or how many were sold: whole months and days of
//! `analytics_product_sales`, and what the days of a time zone have beyond those, from the orders
//! and refunds of these hours.

use chrono::{DateTime, Months, NaiveDate, NaiveTime, Utc};
use event_schemas::ids::StoreId;
use serde::{Deserialize, Serialize};
use sqlx::PgConnection;
use uuid::Uuid;

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
    spans: Vec<String>,
    first: Vec<NaiveDate>,
    beyond: Vec<NaiveDate>,
    /// Single parameters of the statement and no arrays: the planner sees how short they are.
    edges: [(DateTime<Utc>, DateTime<Utc>); 2],
}

impl Pieces {
    fn new(from: DateTime<Utc>, to: DateTime<Utc>) -> Pieces {
        let edges = [(from, from), (to, to)];
        let mut pieces = Pieces { spans: vec![], first: vec![], beyond: vec![], edges };
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
            pieces.span("day", first, next_month);
            pieces.span("month", next_month, last_month);
            pieces.span("day", last_month, beyond);
        } else {
            pieces.span("day", first, beyond);
        }
        pieces
    }

    fn span(&mut self, span: &str, first: NaiveDate, beyond: NaiveDate) {
        if first < beyond {
            self.spans.push(span.to_owned());
            self.first.push(first);
            self.beyond.push(beyond);
        }
    }
}

/// Products of a store by revenue or units. One round trip; reads a row per product and month,
/// up to sixty days of single days, and the orders of less than two days.
pub async fn top_products(
    conn: &mut PgConnection,
    store_id: StoreId,
    query: &TopQuery,
) -> Result<Vec<TopProduct>, TopError> {
    let (from, to) = query.days.times()?;
    let pieces = Pieces::new(from, to);
    let [before, after] = pieces.edges;
    let rows = sqlx::query_as!(
        TopProduct,
        r#"SELECT top.product_id AS "product_id!", coalesce(p.title, '') AS "title!",
                  top.units AS "units!", top.revenue AS "revenue_minor!",
                  top.returned_units AS "returned_units!", top.returned AS "returned_minor!",
                  top.rank AS "rank!"
             FROM (SELECT *
                     FROM (SELECT product_id, sum(units)::bigint AS units,
                                  sum(revenue)::bigint AS revenue,
                                  sum(returned_units)::bigint AS returned_units,
                                  sum(returned)::bigint AS returned,
                                  CASE WHEN $3 THEN sum(units - returned_units)
                                               ELSE sum(revenue - returned) END::bigint AS rank
                             FROM (SELECT s.product_id, s.units, s.revenue_minor AS revenue,
                                          s.returned_units, s.returned_minor AS returned
                                     FROM unnest($4::text[], $5::date[], $6::date[])
                                              AS part (span, first, beyond)
                                     JOIN analytics_product_sales s
                                       ON s.store_id = $1 AND s.currency = $2
                                      AND s.span = part.span AND s.starts_on >= part.first
                                      AND s.starts_on < part.beyond
                                   UNION ALL
                                   SELECT l.product_id, l.units, l.units * l.unit_price_minor, 0, 0
                                     FROM (SELECT lines FROM analytics_orders
                                            WHERE store_id = $1 AND currency = $2 AND counted
                                              AND placed_at >= $7 AND placed_at < $8
                                           UNION ALL
                                           SELECT lines FROM analytics_orders
                                            WHERE store_id = $1 AND currency = $2 AND counted
                                              AND placed_at >= $9 AND placed_at < $10) AS o
                                    CROSS JOIN jsonb_to_recordset(o.lines)
                                       AS l (product_id uuid, units bigint, unit_price_minor bigint)
                                   UNION ALL
                                   SELECT l.product_id, 0, 0, l.units, l.amount_minor
                                     FROM analytics_refunds r
                                    CROSS JOIN jsonb_to_recordset(r.lines)
                                       AS l (product_id uuid, units bigint, amount_minor bigint)
                                    WHERE r.store_id = $1 AND r.currency = $2
                                      AND ((r.given_at >= $7 AND r.given_at < $8)
                                        OR (r.given_at >= $9 AND r.given_at < $10))) AS pieces
                            GROUP BY product_id) AS sums
                    WHERE $11::bigint IS NULL OR rank < $11
                       OR (rank = $11 AND product_id > $12::uuid)
                    ORDER BY rank DESC, product_id LIMIT $13) AS top
             LEFT JOIN analytics_products p
               ON p.store_id = $1 AND p.product_id = top.product_id
            ORDER BY top.rank DESC, top.product_id"#,
        store_id.0,
        query.currency,
        query.by == RankBy::Units,
        &pieces.spans,
        &pieces.first,
        &pieces.beyond,
        before.0,
        before.1,
        after.0,
        after.1,
        query.after.map(|after| after.rank),
        query.after.map(|after| after.product_id),
        query.limit
    );
    Ok(rows.fetch_all(conn).await?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pieces(from: &str, to: &str) -> Vec<String> {
        let Pieces { spans, first, beyond, edges } =
            Pieces::new(from.parse().unwrap(), to.parse().unwrap());
        let spans = spans.iter().zip(first.iter().zip(&beyond));
        let edges = edges.iter().filter(|(from, to)| from < to);
        let edges = edges.map(|(from, to)| format!("{} h", (*to - *from).num_hours()));
        spans.map(|(span, (from, to))| format!("{span} {from}..{to}")).chain(edges).collect()
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
