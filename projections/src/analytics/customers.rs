//! Customers by the merchant's own reference: what they ordered, paid and got back. Tables
//! `analytics_customers`, `analytics_customer_spending` by currency and, summed up,
//! `analytics_customer_totals`.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use event_schemas::ids::StoreId;
use sqlx::PgConnection;
use uuid::Uuid;

use super::refunds::Refund;
use super::spans::Activities;

/// Currencies of a customer that [`get`] shows at most: there are fewer than 200 in the world.
const CURRENCIES_MAX: i64 = 200;

/// A customer as of now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Customer {
    pub customer_reference: String,
    /// Paid orders; 0 for somebody who was only given money back.
    pub orders: i64,
    /// Business time.
    pub first_order_at: Option<DateTime<Utc>>,
    /// Business time.
    pub last_order_at: Option<DateTime<Utc>>,
    /// By currency code.
    pub spending: Vec<Spending>,
}

/// What a customer has spent in one currency, in its minor units.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spending {
    /// ISO 4217 code.
    pub currency: String,
    /// Paid orders in the currency.
    pub orders: i64,
    /// Their totals.
    pub gross_minor: i64,
    /// Money given back.
    pub refunded_minor: i64,
}

/// One customer. Two round trips.
pub async fn get(
    conn: &mut PgConnection,
    store_id: StoreId,
    reference: &str,
) -> Result<Option<Customer>, sqlx::Error> {
    let found = sqlx::query!(
        "SELECT customer_reference, orders, first_order_at, last_order_at
           FROM analytics_customers WHERE store_id = $1 AND customer_reference = $2",
        store_id.0,
        reference
    );
    let Some(row) = found.fetch_optional(&mut *conn).await? else {
        return Ok(None);
    };
    let spending = sqlx::query_as!(
        Spending,
        "SELECT currency, orders, gross_minor, refunded_minor
           FROM analytics_customer_spending
          WHERE store_id = $1 AND customer_reference = $2 ORDER BY currency LIMIT $3",
        store_id.0,
        reference,
        CURRENCIES_MAX
    );
    Ok(Some(Customer {
        customer_reference: row.customer_reference,
        orders: row.orders,
        first_order_at: row.first_order_at,
        last_order_at: row.last_order_at,
        spending: spending.fetch_all(conn).await?,
    }))
}

/// What a batch adds, by store and reference.
#[derive(Default)]
pub(super) struct Changes(BTreeMap<(Uuid, String), Change>);

/// What a batch adds to one customer.
#[derive(Default)]
struct Change {
    person: Person,
    spent: BTreeMap<String, Spent>,
}

/// A row of `analytics_customers`, or what is added to it.
#[derive(Clone, Copy, Default)]
struct Person {
    orders: i64,
    first_order_at: Option<DateTime<Utc>>,
    last_order_at: Option<DateTime<Utc>>,
}

/// A row of `analytics_customer_spending`, or what is added to it.
#[derive(Clone, Copy, Default)]
struct Spent {
    orders: i64,
    gross: i64,
    refunded: i64,
}

/// What is added to a row of `analytics_customer_totals`.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
struct Totals {
    customers: i64,
    gross: i64,
    refunded: i64,
}

impl Changes {
    /// A paid order: when it was placed, its currency and total.
    pub(super) fn order(
        &mut self,
        store_id: Uuid,
        customer: &str,
        (at, currency, gross_minor): (DateTime<Utc>, &str, i64),
    ) {
        let change = self.0.entry((store_id, customer.to_owned())).or_default();
        let one = Person { orders: 1, first_order_at: Some(at), last_order_at: Some(at) };
        change.person = change.person.and(one);
        let spent = change.spent.entry(currency.to_owned()).or_default();
        spent.orders += 1;
        spent.gross += gross_minor;
    }

    /// Money given back, unless to a guest.
    pub(super) fn refund(&mut self, refund: &Refund) {
        let Some(customer) = &refund.customer_reference else { return };
        let change = self.0.entry((refund.store_id, customer.clone())).or_default();
        change.spent.entry(refund.currency.clone()).or_default().refunded += refund.amount_minor;
    }
}

impl Person {
    fn and(self, more: Person) -> Person {
        let (first, last) = (self.first_order_at, self.last_order_at);
        Person {
            orders: self.orders + more.orders,
            first_order_at: first.into_iter().chain(more.first_order_at).min(),
            last_order_at: last.into_iter().chain(more.last_order_at).max(),
        }
    }
}

impl Spent {
    fn and(self, more: Spent) -> Spent {
        Spent {
            orders: self.orders + more.orders,
            gross: self.gross + more.gross,
            refunded: self.refunded + more.refunded,
        }
    }

    /// What it adds to the totals: nothing before the first order.
    fn totals(self) -> Totals {
        if self.orders == 0 {
            return Totals::default();
        }
        Totals { customers: 1, gross: self.gross, refunded: self.refunded }
    }
}

impl Totals {
    /// Adds what a customer has become, in place of what the customer was.
    fn replace(&mut self, before: Totals, after: Totals) {
        self.customers += after.customers - before.customers;
        self.gross += after.gross - before.gross;
        self.refunded += after.refunded - before.refunded;
    }
}

/// Reads the rows of these customers, adds to them and writes them back. A customer counts as new
/// at the time of the first order, which a later event may move back. Five statements.
pub(super) async fn store(
    conn: &mut PgConnection,
    Changes(changes): Changes,
    activity: &mut Activities,
) -> Result<(), sqlx::Error> {
    if changes.is_empty() {
        return Ok(());
    }
    let (stores, references): (Vec<Uuid>, Vec<String>) = changes.keys().cloned().unzip();
    let known = load_persons(conn, &stores, &references).await?;
    let spent_before = load_spent(conn, &stores, &references).await?;
    let mut persons = BTreeMap::new();
    let mut spending = BTreeMap::new();
    let mut totals: BTreeMap<(Uuid, String), Totals> = BTreeMap::new();
    for (key, change) in changes {
        let before = known.get(&key).copied().unwrap_or_default();
        let after = before.and(change.person);
        if before.first_order_at != after.first_order_at {
            for (first, count) in [(before.first_order_at, -1), (after.first_order_at, 1)] {
                if let Some(at) = first {
                    activity.at(key.0, at).new_customers += count;
                }
            }
        }
        for (currency, spent) in change.spent {
            let key = (key.0, key.1.clone(), currency);
            let before = spent_before.get(&key).copied().unwrap_or_default();
            let after = before.and(spent);
            let sums = totals.entry((key.0, key.2.clone())).or_default();
            sums.replace(before.totals(), after.totals());
            spending.insert(key, after);
        }
        persons.insert(key, after);
    }
    // A sum without a customer has no row, however the events came in batches.
    totals.retain(|_, sums| *sums != Totals::default());
    store_persons(conn, &persons).await?;
    store_spending(conn, &spending).await?;
    add_to_totals(conn, &totals).await
}

async fn load_persons(
    conn: &mut PgConnection,
    stores: &[Uuid],
    references: &[String],
) -> Result<BTreeMap<(Uuid, String), Person>, sqlx::Error> {
    let rows = sqlx::query!(
        "SELECT c.store_id, c.customer_reference, orders, first_order_at, last_order_at
           FROM unnest($1::uuid[], $2::text[]) AS wanted (store_id, customer_reference)
           JOIN analytics_customers c ON c.store_id = wanted.store_id
                                     AND c.customer_reference = wanted.customer_reference",
        stores,
        references
    );
    let rows = rows.fetch_all(conn).await?.into_iter().map(|row| {
        let (orders, first, last) = (row.orders, row.first_order_at, row.last_order_at);
        let person = Person { orders, first_order_at: first, last_order_at: last };
        ((row.store_id, row.customer_reference), person)
    });
    Ok(rows.collect())
}

async fn load_spent(
    conn: &mut PgConnection,
    stores: &[Uuid],
    references: &[String],
) -> Result<BTreeMap<(Uuid, String, String), Spent>, sqlx::Error> {
    let rows = sqlx::query!(
        "SELECT s.store_id, s.customer_reference, currency, orders, gross_minor, refunded_minor
           FROM unnest($1::uuid[], $2::text[]) AS wanted (store_id, customer_reference)
           JOIN analytics_customer_spending s ON s.store_id = wanted.store_id
                                             AND s.customer_reference = wanted.customer_reference",
        stores,
        references
    );
    let rows = rows.fetch_all(conn).await?.into_iter().map(|row| {
        let (orders, gross, refunded) = (row.orders, row.gross_minor, row.refunded_minor);
        ((row.store_id, row.customer_reference, row.currency), Spent { orders, gross, refunded })
    });
    Ok(rows.collect())
}

async fn store_persons(
    conn: &mut PgConnection,
    persons: &BTreeMap<(Uuid, String), Person>,
) -> Result<(), sqlx::Error> {
    let (stores, references): (Vec<Uuid>, Vec<String>) = persons.keys().cloned().unzip();
    let times = |of: fn(&Person) -> Option<DateTime<Utc>>| {
        persons.values().map(of).collect::<Vec<Option<DateTime<Utc>>>>()
    };
    sqlx::query!(
        "INSERT INTO analytics_customers (store_id, customer_reference, orders, first_order_at,
             last_order_at)
         SELECT * FROM unnest($1::uuid[], $2::text[], $3::bigint[], $4::timestamptz[],
             $5::timestamptz[])
         ON CONFLICT (store_id, customer_reference) DO UPDATE
            SET orders = excluded.orders, first_order_at = excluded.first_order_at,
                last_order_at = excluded.last_order_at",
        &stores,
        &references,
        &persons.values().map(|person| person.orders).collect::<Vec<_>>(),
        &times(|person| person.first_order_at) as _,
        &times(|person| person.last_order_at) as _
    )
    .execute(conn)
    .await?;
    Ok(())
}

async fn store_spending(
    conn: &mut PgConnection,
    spending: &BTreeMap<(Uuid, String, String), Spent>,
) -> Result<(), sqlx::Error> {
    let amounts = |of: fn(&Spent) -> i64| spending.values().map(of).collect::<Vec<i64>>();
    sqlx::query!(
        "INSERT INTO analytics_customer_spending (store_id, customer_reference, currency, orders,
             gross_minor, refunded_minor)
         SELECT * FROM unnest($1::uuid[], $2::text[], $3::text[], $4::bigint[], $5::bigint[],
             $6::bigint[])
         ON CONFLICT (store_id, customer_reference, currency) DO UPDATE
            SET orders = excluded.orders, gross_minor = excluded.gross_minor,
                refunded_minor = excluded.refunded_minor",
        &spending.keys().map(|key| key.0).collect::<Vec<_>>(),
        &spending.keys().map(|key| key.1.clone()).collect::<Vec<_>>(),
        &spending.keys().map(|key| key.2.clone()).collect::<Vec<_>>(),
        &amounts(|spent| spent.orders),
        &amounts(|spent| spent.gross),
        &amounts(|spent| spent.refunded)
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// What makes it happen once is the checkpoint in the same transaction.
async fn add_to_totals(
    conn: &mut PgConnection,
    totals: &BTreeMap<(Uuid, String), Totals>,
) -> Result<(), sqlx::Error> {
    if totals.is_empty() {
        return Ok(());
    }
    let (stores, currencies): (Vec<Uuid>, Vec<String>) = totals.keys().cloned().unzip();
    let amounts = |of: fn(&Totals) -> i64| totals.values().map(of).collect::<Vec<i64>>();
    sqlx::query!(
        "INSERT INTO analytics_customer_totals AS t (store_id, currency, customers, gross_minor,
             refunded_minor)
         SELECT * FROM unnest($1::uuid[], $2::text[], $3::bigint[], $4::bigint[], $5::bigint[])
         ON CONFLICT (store_id, currency) DO UPDATE
            SET customers = t.customers + excluded.customers,
                gross_minor = t.gross_minor + excluded.gross_minor,
                refunded_minor = t.refunded_minor + excluded.refunded_minor",
        &stores,
        &currencies,
        &amounts(|sums| sums.customers),
        &amounts(|sums| sums.gross),
        &amounts(|sums| sums.refunded)
    )
    .execute(conn)
    .await?;
    Ok(())
}
