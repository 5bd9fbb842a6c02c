//! Lists of orders in a store that has many: every filter with every other, in every order, right
//! and without a look at the whole table.

use chrono::{DateTime, TimeDelta, Utc};
use event_schemas::ids::StoreId;
use projections::as_store;
use projections::order::list::{self, OrderBy, OrderFilter, OrderSort, OrdersFrom};
use projections::order::summaries::Order;
use sqlx::{PgConnection, Row as _};

use crate::db::Db;
use crate::shop::{OTHER_STORE, STORE};

/// Orders of the store: enough that looking at all of them is not what a planner would choose.
const ORDERS: i64 = 20_000;

const OPENED: &str = "2025-01-01T00:00:00Z";

fn opened() -> DateTime<Utc> {
    OPENED.parse().unwrap()
}

/// Straight into the table, with values that are tied to each other as in life: channels change
/// over time, numbers rise, few countries have other currencies.
async fn filled() -> Db {
    let db = Db::new().await;
    let orders = format!(
        "INSERT INTO read.order_summaries (store_id, order_id, number, status, financial_status,
             total_minor, captured_minor, refunded_minor, currency, item_count, customer_reference,
             country, channel, checkout_id, payment_id, placed_at, updated_at, version)
         SELECT $1, gen_random_uuid(), (100000 + n)::text,
                CASE WHEN n % 50 = 0 THEN 'cancelled' ELSE 'paid' END,
                CASE WHEN n % 25 = 0 THEN 'refunded' ELSE 'paid' END,
                100 + (n * 7919) % 10000, 100, 0, CASE WHEN n % 20 = 3 THEN 'EUR' ELSE 'GBP' END, 1,
                CASE WHEN n % 3 > 0 THEN 'cust-' || n % 500 END,
                CASE WHEN n % 20 = 3 THEN 'Malta' WHEN n % 9 > 0 THEN 'Ireland' END,
                CASE WHEN n < {ORDERS} / 3 THEN 'import' ELSE 'api' END,
                gen_random_uuid(), gen_random_uuid(),
                '{OPENED}'::timestamptz + n * interval '10 minutes', now(), 1
           FROM generate_series(1, $2) n"
    );
    let lines = "INSERT INTO read.order_lines (store_id, order_id, position, line_id, product_id,
             variant_id, sku, title, quantity, unit_price_minor, currency)
         SELECT store_id, order_id, 1, order_id, order_id, order_id,
                'SKU-' || number::bigint % 700, 'Bar', 1, 100, 'GBP' FROM read.order_summaries";
    for (store, orders_of_it) in [(STORE, ORDERS), (OTHER_STORE, 500)] {
        let query = sqlx::query(sqlx::AssertSqlSafe(orders.clone()));
        query.bind(store.0).bind(orders_of_it).execute(&db.owner).await.unwrap();
    }
    sqlx::query(lines).execute(&db.owner).await.unwrap();
    for analyze in ["ANALYZE read.order_summaries", "ANALYZE read.order_lines"] {
        sqlx::query(analyze).execute(&db.owner).await.unwrap();
    }
    db
}

/// A filter by itself, as clients and as an auditor would put it.
type Case = (OrderFilter, &'static str);

fn cases() -> Vec<Case> {
    let all = OrderFilter::default;
    let some = |value: &str| vec![value.to_owned()];
    let text = |value: &str| Some(value.to_owned());
    let day = |days| Some(opened() + TimeDelta::days(days));
    vec![
        (OrderFilter { statuses: some("cancelled"), ..all() }, "status = 'cancelled'"),
        (OrderFilter { statuses: some("placed"), ..all() }, "status = 'placed'"),
        (OrderFilter { financial_statuses: some("paid"), ..all() }, "financial_status = 'paid'"),
        (OrderFilter { channels: some("import"), ..all() }, "channel = 'import'"),
        (OrderFilter { currencies: some("EUR"), ..all() }, "currency = 'EUR'"),
        (OrderFilter { countries: some("Ireland"), ..all() }, "country = 'Ireland'"),
        (OrderFilter { placed_from: day(100), ..all() }, "placed_at >= '2025-04-11T00:00:00Z'"),
        (OrderFilter { placed_before: day(2), ..all() }, "placed_at < '2025-01-03T00:00:00Z'"),
        (OrderFilter { total_from: Some(9_900), ..all() }, "total_minor >= 9900"),
        (OrderFilter { total_to: Some(7_000), ..all() }, "total_minor <= 7000"),
        (OrderFilter { customer: text("cust-17"), ..all() }, "customer_reference = 'cust-17'"),
        (OrderFilter { sku: text("SKU-8"), ..all() }, "number::bigint % 700 = 8"),
        (OrderFilter { search: text("1000"), ..all() }, "number LIKE '1000%'"),
        (OrderFilter { search: text("1"), ..all() }, "true"),
        (OrderFilter { search: text("cust-3"), ..all() }, "customer_reference = 'cust-3'"),
        (OrderFilter { search: text("nobody"), ..all() }, "false"),
    ]
}

/// Both filters say something about the same thing.
struct Twice;

/// Both at once.
fn both(one: &OrderFilter, other: &OrderFilter) -> Result<OrderFilter, Twice> {
    Ok(OrderFilter {
        statuses: list_of(&one.statuses, &other.statuses)?,
        financial_statuses: list_of(&one.financial_statuses, &other.financial_statuses)?,
        channels: list_of(&one.channels, &other.channels)?,
        currencies: list_of(&one.currencies, &other.currencies)?,
        countries: list_of(&one.countries, &other.countries)?,
        placed_from: value_of(one.placed_from.as_ref(), other.placed_from.as_ref())?,
        placed_before: value_of(one.placed_before.as_ref(), other.placed_before.as_ref())?,
        total_from: value_of(one.total_from.as_ref(), other.total_from.as_ref())?,
        total_to: value_of(one.total_to.as_ref(), other.total_to.as_ref())?,
        customer: value_of(one.customer.as_ref(), other.customer.as_ref())?,
        sku: value_of(one.sku.as_ref(), other.sku.as_ref())?,
        search: value_of(one.search.as_ref(), other.search.as_ref())?,
    })
}

fn list_of(one: &[String], other: &[String]) -> Result<Vec<String>, Twice> {
    match (one, other) {
        ([], list) | (list, []) => Ok(list.to_vec()),
        _ => Err(Twice),
    }
}

fn value_of<T: Clone>(one: Option<&T>, other: Option<&T>) -> Result<Option<T>, Twice> {
    match (one, other) {
        (Some(_), Some(_)) => Err(Twice),
        (one, other) => Ok(one.or(other).cloned()),
    }
}

const SORTS: [(OrderBy, &str); 3] = [
    (OrderBy::PlacedAt, "placed_at"),
    (OrderBy::Number, "number"),
    (OrderBy::Total, "total_minor"),
];

/// Looks at whole tables in this transaction so far.
async fn whole_tables(conn: &mut PgConnection) -> i64 {
    let scans = "SELECT coalesce(sum(seq_scan), 0)::bigint FROM pg_stat_xact_user_tables
                  WHERE relname IN ('order_summaries', 'order_lines')";
    sqlx::query(scans).fetch_one(conn).await.unwrap().get(0)
}

fn ids(rows: &[Order]) -> Vec<uuid::Uuid> {
    rows.iter().map(|order| order.order_id).collect()
}

/// The first two pages and the way back are what an auditor's statement says, and come from indexes.
async fn check(db: &Db, filter: &OrderFilter, condition: &str, sort: (OrderSort, &str)) {
    let what = format!("{condition} in the order of {sort:?}");
    let direction = if sort.0.descending { "DESC" } else { "ASC" };
    let statement = format!(
        "SELECT order_id FROM read.order_summaries WHERE store_id = $1 AND {condition}
          ORDER BY {} {direction}, order_id {direction} LIMIT 10",
        sort.1
    );
    let audited = sqlx::query_scalar(sqlx::AssertSqlSafe(statement)).bind(STORE.0);
    let audited: Vec<uuid::Uuid> = audited.fetch_all(&db.owner).await.unwrap();

    let mut tx = as_store(&db.reader, STORE).await.unwrap();
    let first = list::list(&mut tx, STORE, filter, (sort.0, &OrdersFrom::Start), 5).await.unwrap();
    assert_eq!(ids(&first.rows), audited[..audited.len().min(5)], "{what}");
    assert_eq!(first.more, 5 < audited.len(), "{what}");
    if first.more {
        let after = OrdersFrom::After(first.rows[4].cursor(sort.0.by));
        let second = list::list(&mut tx, STORE, filter, (sort.0, &after), 5).await.unwrap();
        assert_eq!(ids(&second.rows), audited[5..], "{what}, second page");
        let before = OrdersFrom::Before(second.rows[0].cursor(sort.0.by));
        let again = list::list(&mut tx, STORE, filter, (sort.0, &before), 5).await.unwrap();
        assert_eq!(ids(&again.rows), audited[..5], "{what}, way back");
        assert!(!again.more, "{what}, way back");
    }
    assert_eq!(whole_tables(&mut tx).await, 0, "{what}");
}

async fn counted(db: &Db, filter: &OrderFilter, condition: &str) {
    let statement = format!(
        "SELECT least(count(*), {}) FROM read.order_summaries WHERE store_id = $1 AND {condition}",
        list::COUNT_MAX
    );
    let audited = sqlx::query_scalar(sqlx::AssertSqlSafe(statement)).bind(STORE.0);
    let audited: i64 = audited.fetch_one(&db.owner).await.unwrap();
    let mut tx = as_store(&db.reader, STORE).await.unwrap();
    assert_eq!(list::count(&mut tx, STORE, filter).await.unwrap(), audited, "{condition}");
    assert_eq!(whole_tables(&mut tx).await, 0, "count of {condition}");
}

#[tokio::test]
async fn every_filter_and_every_pair_of_them_is_answered_from_indexes() {
    let db = filled().await;
    let (mut turn, cases) = (0, cases());
    counted(&db, &OrderFilter::default(), "true").await;
    for (nth, (one, condition)) in cases.iter().enumerate() {
        for (by, column) in SORTS {
            for descending in [true, false] {
                check(&db, one, condition, (OrderSort { by, descending }, column)).await;
            }
        }
        counted(&db, one, condition).await;
        for (other, other_condition) in &cases[nth + 1..] {
            let Ok(filter) = both(one, other) else { continue };
            let condition = format!("{condition} AND {other_condition}");
            let (by, column) = SORTS[turn % SORTS.len()];
            let sort = OrderSort { by, descending: (turn / SORTS.len()).is_multiple_of(2) };
            check(&db, &filter, &condition, (sort, column)).await;
            counted(&db, &filter, &condition).await;
            turn += 1;
        }
    }
    assert!(100 < turn, "{turn} pairs");
}

#[tokio::test]
async fn a_list_of_one_store_holds_nothing_of_another() {
    let db = filled().await;
    let count = async |store: StoreId| {
        let mut tx = as_store(&db.reader, store).await.unwrap();
        list::count(&mut tx, store, &OrderFilter::default()).await.unwrap()
    };
    assert_eq!((count(STORE).await, count(OTHER_STORE).await), (list::COUNT_MAX, 500));
}

/// Countries are any text: a crowd of shoppers may give as many as it likes.
#[tokio::test]
async fn a_store_with_too_many_countries_has_the_same_lists() {
    let db = filled().await;
    let many = "UPDATE read.order_summaries SET country = 'Country ' || number::bigint % 1200
                 WHERE number::bigint % 20 <> 3 AND store_id = $1";
    sqlx::query(many).bind(STORE.0).execute(&db.owner).await.unwrap();
    sqlx::query("ANALYZE read.order_summaries").execute(&db.owner).await.unwrap();
    let one = OrderFilter { countries: vec!["Country 7".to_owned()], ..OrderFilter::default() };
    let cases = cases().into_iter().chain([(one, "country = 'Country 7'")]);
    for (filter, condition) in cases {
        for (by, column) in SORTS {
            check(&db, &filter, condition, (OrderSort { by, descending: true }, column)).await;
        }
        counted(&db, &filter, condition).await;
    }
}
