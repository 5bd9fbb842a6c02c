//! Units and revenue of products by time. Table `analytics_product_sales`: every figure is in two
//! rows, of a day and of a month (UTC); `analytics_product_spans` says how often those of a day or
//! month have changed. What falls between the days of another time zone is added
//! from the orders themselves (`top_products`). Names are in `analytics_products`.

use std::collections::BTreeMap;
use std::ops::AddAssign;

use chrono::{DateTime, Datelike as _, NaiveDate, Utc};
use sqlx::PgConnection;
use uuid::Uuid;

/// Additions to one row.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Figures {
    pub(super) units: i64,
    pub(super) revenue: i64,
    pub(super) returned_units: i64,
    pub(super) returned: i64,
    /// How many lines of orders and refunds these are.
    additions: i64,
}

/// Store, currency, length and first day.
type Span<'a> = (Uuid, &'a str, &'a str, NaiveDate);

/// What a batch adds.
#[derive(Default)]
pub(super) struct Products {
    /// By store, currency, day and product.
    sales: BTreeMap<(Uuid, String, NaiveDate, Uuid), Figures>,
    /// By store and product.
    titles: BTreeMap<(Uuid, Uuid), String>,
}

impl Products {
    /// For one more line: what is added to a product at a moment.
    pub(super) fn at(
        &mut self,
        store_id: Uuid,
        currency: &str,
        at: DateTime<Utc>,
        product_id: Uuid,
    ) -> &mut Figures {
        let key = (store_id, currency.to_owned(), at.date_naive(), product_id);
        let figures = self.sales.entry(key).or_default();
        figures.additions += 1;
        figures
    }

    /// What the newest order calls a product.
    pub(super) fn name(&mut self, store_id: Uuid, product_id: Uuid, title: &str) {
        title.clone_into(self.titles.entry((store_id, product_id)).or_default());
    }
}

impl AddAssign for Figures {
    fn add_assign(&mut self, more: Figures) {
        self.units += more.units;
        self.revenue += more.revenue;
        self.returned_units += more.returned_units;
        self.returned += more.returned;
        self.additions += more.additions;
    }
}

/// First day of a day's month.
pub(super) fn month(day: NaiveDate) -> NaiveDate {
    day.with_day(1).unwrap_or(day)
}

/// Three statements. What makes it happen once is the checkpoint in the same transaction.
pub(super) async fn store(conn: &mut PgConnection, products: Products) -> Result<(), sqlx::Error> {
    store_titles(conn, products.titles).await?;
    if products.sales.is_empty() {
        return Ok(());
    }
    let mut rows: BTreeMap<(Uuid, &str, &str, NaiveDate, Uuid), Figures> = BTreeMap::new();
    let mut spans: BTreeMap<Span<'_>, i64> = BTreeMap::new();
    for ((store_id, currency, day, product_id), figures) in &products.sales {
        for (span, start) in [("day", *day), ("month", month(*day))] {
            *rows.entry((*store_id, currency, span, start, *product_id)).or_default() += *figures;
            *spans.entry((*store_id, currency, span, start)).or_default() += figures.additions;
        }
    }
    let amounts = |of: fn(&Figures) -> i64| rows.values().map(of).collect::<Vec<i64>>();
    sqlx::query!(
        "INSERT INTO analytics_product_sales AS p (store_id, currency, span, starts_on, product_id,
             units, revenue_minor, returned_units, returned_minor)
         SELECT * FROM unnest($1::uuid[], $2::text[], $3::text[], $4::date[], $5::uuid[],
             $6::bigint[], $7::bigint[], $8::bigint[], $9::bigint[])
         ON CONFLICT (store_id, currency, span, starts_on, product_id) DO UPDATE
            SET units = p.units + excluded.units,
                revenue_minor = p.revenue_minor + excluded.revenue_minor,
                returned_units = p.returned_units + excluded.returned_units,
                returned_minor = p.returned_minor + excluded.returned_minor",
        &rows.keys().map(|key| key.0).collect::<Vec<_>>(),
        &rows.keys().map(|key| key.1.to_owned()).collect::<Vec<_>>(),
        &rows.keys().map(|key| key.2.to_owned()).collect::<Vec<_>>(),
        &rows.keys().map(|key| key.3).collect::<Vec<_>>(),
        &rows.keys().map(|key| key.4).collect::<Vec<_>>(),
        &amounts(|row| row.units),
        &amounts(|row| row.revenue),
        &amounts(|row| row.returned_units),
        &amounts(|row| row.returned)
    )
    .execute(&mut *conn)
    .await?;
    store_spans(conn, &spans).await
}

async fn store_spans(
    conn: &mut PgConnection,
    spans: &BTreeMap<Span<'_>, i64>,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "INSERT INTO analytics_product_spans AS s (store_id, currency, span, starts_on, additions)
         SELECT * FROM unnest($1::uuid[], $2::text[], $3::text[], $4::date[], $5::bigint[])
         ON CONFLICT (store_id, currency, span, starts_on) DO UPDATE
            SET additions = s.additions + excluded.additions",
        &spans.keys().map(|key| key.0).collect::<Vec<_>>(),
        &spans.keys().map(|key| key.1.to_owned()).collect::<Vec<_>>(),
        &spans.keys().map(|key| key.2.to_owned()).collect::<Vec<_>>(),
        &spans.keys().map(|key| key.3).collect::<Vec<_>>(),
        &spans.values().copied().collect::<Vec<_>>()
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// A row is written only if the name is another one: nearly always it is not.
async fn store_titles(
    conn: &mut PgConnection,
    titles: BTreeMap<(Uuid, Uuid), String>,
) -> Result<(), sqlx::Error> {
    if titles.is_empty() {
        return Ok(());
    }
    sqlx::query!(
        "INSERT INTO analytics_products AS p (store_id, product_id, title)
         SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::text[])
         ON CONFLICT (store_id, product_id) DO UPDATE SET title = excluded.title
          WHERE p.title <> excluded.title",
        &titles.keys().map(|key| key.0).collect::<Vec<_>>(),
        &titles.keys().map(|key| key.1).collect::<Vec<_>>(),
        &titles.into_values().collect::<Vec<_>>()
    )
    .execute(conn)
    .await?;
    Ok(())
}
