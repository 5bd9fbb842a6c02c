//! How many customers there are, new and returning ones, and what they are worth.

use chrono::{DateTime, Utc};
use event_schemas::ids::StoreId;
use sqlx::PgConnection;

use super::sales::{Activity, Parts, activity_by_bucket};
use super::zone::floor_of_time;
use super::{DayRange, RangeError};

/// Customers of a time. Guests are in `guest_orders` only.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CustomerReport {
    /// Whose first paid order was placed before the end of the time.
    pub total: i64,
    /// Whose first paid order was placed in the time.
    pub new: i64,
    /// Who ordered in the time, and for the first time before it.
    pub returning: i64,
    /// Paid orders without a customer, placed in the time.
    pub guest_orders: i64,
    /// By currency code, over all time.
    pub values: Vec<CustomerValue>,
}

/// What customers have spent in one currency until now, in its minor units.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CustomerValue {
    /// ISO 4217 code.
    pub currency: String,
    /// Customers with a paid order in the currency.
    pub customers: i64,
    /// Totals of these orders.
    pub gross_minor: i64,
    /// Money given back to these customers.
    pub refunded_minor: i64,
}

/// Why there is no report.
#[derive(Debug, thiserror::Error)]
pub enum CustomerReportError {
    #[error(transparent)]
    Range(#[from] RangeError),
    #[error("database failed")]
    Database(#[from] sqlx::Error),
}

/// Customers of a store on some days. Four round trips at most. Reads a row per customer and, if
/// there are orders after the time, the index entries of those in it.
pub async fn customer_report(
    conn: &mut PgConnection,
    store_id: StoreId,
    days: DayRange,
) -> Result<CustomerReport, CustomerReportError> {
    let (from, to) = days.times()?;
    let mut parts = Parts::default();
    parts.add(IN_TIME, (from, to));
    parts.add(SO_FAR, (floor_of_time(), to));
    let (mut in_time, mut so_far) = (Activity::default(), Activity::default());
    for (part, activity) in activity_by_bucket(conn, store_id, &parts).await? {
        *(if part == IN_TIME { &mut in_time } else { &mut so_far }) = activity;
    }
    Ok(CustomerReport {
        total: so_far.new_customers,
        new: in_time.new_customers,
        returning: returning(conn, store_id, (from, to)).await?,
        guest_orders: in_time.guest_orders,
        values: values(conn, store_id).await?,
    })
}

const IN_TIME: i32 = 0;
const SO_FAR: i32 = 1;

/// Customers of before who ordered in the time. Whose last order is in it is known without a look
/// at orders; so if the time has not ended yet, no order is read.
async fn returning(
    conn: &mut PgConnection,
    store_id: StoreId,
    (from, to): (DateTime<Utc>, DateTime<Utc>),
) -> Result<i64, sqlx::Error> {
    let known = sqlx::query!(
        r#"SELECT count(*) FILTER (WHERE last_order_at < $3) AS "last_in_time!",
                  count(*) FILTER (WHERE last_order_at >= $3) AS "last_later!"
             FROM analytics_customers
            WHERE store_id = $1 AND first_order_at < $2 AND last_order_at >= $2"#,
        store_id.0,
        from,
        to
    );
    let known = known.fetch_one(&mut *conn).await?;
    if known.last_later == 0 {
        return Ok(known.last_in_time);
    }
    let also_in_time = sqlx::query_scalar!(
        r#"SELECT count(*) AS "count!"
             FROM (SELECT DISTINCT customer_reference FROM analytics_orders
                    WHERE store_id = $1 AND counted AND placed_at >= $2 AND placed_at < $3) o
             JOIN analytics_customers c
               ON c.store_id = $1 AND c.customer_reference = o.customer_reference
            WHERE c.first_order_at < $2 AND c.last_order_at >= $3"#,
        store_id.0,
        from,
        to
    );
    Ok(known.last_in_time + also_in_time.fetch_one(conn).await?)
}

async fn values(
    conn: &mut PgConnection,
    store_id: StoreId,
) -> Result<Vec<CustomerValue>, sqlx::Error> {
    sqlx::query_as!(
        CustomerValue,
        "SELECT currency, customers, gross_minor, refunded_minor
           FROM analytics_customer_totals WHERE store_id = $1 ORDER BY currency",
        store_id.0
    )
    .fetch_all(conn)
    .await
}
