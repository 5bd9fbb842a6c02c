//! Reports, the star schema, and its files: the same figures wherever one looks, and no others.

use std::{collections::BTreeSet, fs, path::Path};

use conche::{admin::analysts, export};
use event_schemas::ids::StoreId;
use parquet::{
    file::reader::{FileReader as _, SerializedFileReader},
    record::Field,
};
use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _, PgConnection};

use crate::{
    app::{App, STORE, story},
    import::real_data,
};

/// A PostgreSQL role of one test. Roles belong to the server, so that its name is its own.
struct Analyst(String);

impl Analyst {
    async fn new(name: &str) -> Analyst {
        let role = format!("conche_test_{name}_{}", std::process::id());
        test_database::administer(&format!("DROP ROLE IF EXISTS {role}")).await;
        test_database::administer(&format!("CREATE ROLE {role} LOGIN PASSWORD '{role}'")).await;
        Analyst(role)
    }

    async fn connect(&self, app: &App) -> PgConnection {
        let options = (*app.owner.connect_options()).clone();
        options.username(&self.0).password(&self.0).connect().await.unwrap()
    }

    async fn leave(self, conn: PgConnection) {
        conn.close().await.unwrap();
        test_database::administer(&format!("DROP ROLE {}", self.0)).await;
    }
}

async fn number(conn: &mut PgConnection, sql: &str) -> i64 {
    let sql = format!("SELECT ({sql})::bigint");
    sqlx::query_scalar(AssertSqlSafe(sql)).fetch_one(conn).await.unwrap()
}

/// Orders, gross and net sales in pence.
type Totals = (i64, i64, i64);

async fn totals_by_sql(conn: &mut PgConnection) -> Totals {
    let paid = "FROM analytics.fact_orders WHERE is_paid AND currency = 'GBP'";
    let orders = number(conn, &format!("SELECT count(*) {paid}")).await;
    let gross = number(conn, &format!("SELECT sum(total_minor) {paid}")).await;
    let parts = "SELECT (SELECT sum(total_minor) FROM analytics.fact_order_lines WHERE is_paid)
                      + (SELECT sum(amount_minor) FROM analytics.fact_order_charges WHERE is_paid)";
    assert_eq!(number(conn, parts).await, gross, "lines and charges are the orders");
    let refunds = "SELECT sum(amount_minor) FROM analytics.fact_refunds WHERE currency = 'GBP'";
    (orders, gross, gross - number(conn, refunds).await)
}

async fn totals_by_api(app: &App, zone: &str) -> Totals {
    let path = "/api/v1/analytics/sales?dateFrom=2010-11-30&dateTo=2010-12-31&granularity=week";
    let report = app.get(&format!("{path}&time_zone={zone}")).await;
    assert_eq!(report.body["time_zone"], zone, "{:#}", report.body);
    let totals = &report.body["totals"]["currencies"][0];
    let amount = |name: &str| totals[name]["amount_minor"].as_i64().unwrap();
    (totals["orders"].as_i64().unwrap(), amount("gross"), amount("net"))
}

/// Adds up a column of a file, over the rows that `counts` lets pass.
fn sum(dir: &Path, table: &str, column: &str, counts: impl Fn(&str, &Field) -> bool) -> (i64, i64) {
    let file = fs::File::open(dir.join(format!("{table}.parquet"))).unwrap();
    let reader = SerializedFileReader::new(file).unwrap();
    let (mut rows, mut sum) = (0, 0);
    for row in reader.get_row_iter(None).unwrap() {
        let row = row.unwrap();
        let fields: Vec<_> = row.get_column_iter().collect();
        if fields.iter().all(|(name, field)| counts(name, field)) {
            let (_, field) = fields.iter().find(|(name, _)| *name == column).unwrap();
            let Field::Long(amount) = field else { panic!("{field:?}") };
            (rows, sum) = (rows + 1, sum + amount);
        }
    }
    (rows, sum)
}

fn totals_of_files(dir: &Path) -> Totals {
    let paid = |name: &str, field: &Field| name != "is_paid" || *field == Field::Bool(true);
    let (orders, gross) = sum(dir, "fact_orders", "total_minor", paid);
    let (_, refunds) = sum(dir, "fact_refunds", "amount_minor", |_, _| true);
    (orders, gross, gross - refunds)
}

#[test]
fn a_real_history_adds_up_alike_by_sql_by_api_and_in_the_files() {
    const EXPECTED: Totals = (259, 10_405_557, 10_218_924);
    let Some(file) = real_data("online-retail-5k.csv") else { return };
    story(async move |app: App| {
        app.import_orders(&file).await;
        app.project().await;
        let analyst = Analyst::new("history").await;
        analysts::allow(&app.owner, &analyst.0, STORE).await.unwrap();
        let mut sql = analyst.connect(&app).await;

        assert_eq!(totals_by_sql(&mut sql).await, EXPECTED);
        for zone in ["UTC", "Europe/London", "Asia/Kathmandu", "Pacific/Apia"] {
            assert_eq!(totals_by_api(&app, zone).await, EXPECTED, "{zone}");
        }
        let dir = tempfile::tempdir().unwrap();
        export::write(&app.reader, StoreId::of_slug(STORE), dir.path()).await.unwrap();
        assert_eq!(totals_of_files(dir.path()), EXPECTED);

        products_agree(&app, &mut sql).await;
        customers_agree(&app, &mut sql).await;
        // Views follow the tables they were made of: a swap must not leave them behind.
        for projection in projections::ALL {
            projections::rebuild(&app.owner, projection, &|_, _| {}).await.unwrap();
            assert_eq!(projections::verify(&app.owner, projection).await.unwrap(), []);
        }
        let old = "UPDATE read_old_orders.order_summaries SET total_minor = 0";
        assert!(sqlx::query(old).execute(&app.owner).await.unwrap().rows_affected() > 0);
        sqlx::query("TRUNCATE read_old_sales.analytics_refunds").execute(&app.owner).await.unwrap();
        assert_eq!(totals_by_sql(&mut sql).await, EXPECTED);
        analyst.leave(sql).await;
    });
}

async fn products_agree(app: &App, sql: &mut PgConnection) {
    let path = "/api/v1/analytics/products?dateFrom=2010-12-01&dateTo=2010-12-31&currency=GBP\
                &time_zone=Europe/London&sort=-units&limit=100";
    let (mut products, mut units, mut revenue, mut after) = (0, 0, 0, String::new());
    loop {
        let page = app.get(&format!("{path}{after}")).await.body;
        for product in page["data"].as_array().unwrap() {
            products += 1;
            units += product["units"].as_i64().unwrap();
            revenue += product["revenue"]["amount_minor"].as_i64().unwrap();
            assert_ne!(product["title"], "", "{product:#}");
        }
        let Some(next) = page["page"]["next"].as_str() else { break };
        after = format!("&after={next}");
    }
    let of_lines = |what| format!("SELECT {what} FROM analytics.fact_order_lines WHERE is_paid");
    assert_eq!(products, number(sql, &of_lines("count(DISTINCT product_id)")).await);
    assert_eq!(units, number(sql, &of_lines("sum(quantity)")).await);
    assert_eq!(revenue, number(sql, &of_lines("sum(total_minor)")).await);
}

async fn customers_agree(app: &App, sql: &mut PgConnection) {
    let path = "/api/v1/analytics/customers?dateFrom=2010-12-01&dateTo=2010-12-31";
    let report = app.get(path).await.body;
    let paid = "FROM analytics.fact_orders WHERE is_paid";
    let customers = number(sql, &format!("SELECT count(DISTINCT customer_reference) {paid}")).await;
    let guests = format!("SELECT count(*) {paid} AND customer_reference IS NULL");
    assert!(customers > 100);
    assert_eq!((&report["total"], &report["new"]), (&customers.into(), &customers.into()));
    assert_eq!(report["guest_orders"], number(sql, &guests).await);
    let value = &report["lifetime_values"][0];
    assert_eq!(value["customers"], customers);
    let gross = format!("SELECT sum(total_minor) {paid} AND customer_reference IS NOT NULL");
    assert_eq!(value["gross"]["amount_minor"], number(sql, &gross).await);

    let best: String = sqlx::query_scalar(
        "SELECT customer_reference FROM analytics.fact_customer_spending ORDER BY net_minor DESC, 1",
    )
    .fetch_one(&mut *sql)
    .await
    .unwrap();
    let one = app.get(&format!("/api/v1/analytics/customers/{best}")).await.body;
    let own = format!("{paid} AND customer_reference = '{best}'");
    assert_eq!(one["orders_count"], number(sql, &format!("SELECT count(*) {own}")).await);
    let spending = &one["spending"][0];
    let spent = number(sql, &format!("SELECT sum(total_minor) {own}")).await;
    assert_eq!(spending["gross"]["amount_minor"], spent);
}

#[test]
fn files_are_the_same_for_the_same_rows_and_whole_or_not_there() {
    story(async |app: App| {
        let product = app.product("Sea salt bar \u{1F36B}", 450, 10).await;
        let checkout = app.begin(&product.variant_id, 2).await.text("/id");
        app.pay(&checkout, "4242424242424242").await;
        app.project().await;
        let (first, second) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        for dir in [&first, &second, &second] {
            export::write(&app.reader, StoreId::of_slug(STORE), dir.path()).await.unwrap();
        }
        let names = |dir: &Path| -> BTreeSet<String> {
            let entries = fs::read_dir(dir).unwrap();
            entries.map(|it| it.unwrap().file_name().into_string().unwrap()).collect()
        };
        assert_eq!(names(first.path()), names(second.path()));
        for name in names(first.path()) {
            let read = |dir: &Path| fs::read(dir.join(&name)).unwrap();
            assert_eq!(read(first.path()), read(second.path()), "{name}");
        }
        // Every view has its file, and nothing unfinished is left.
        let views = "SELECT relname::text FROM pg_class WHERE relkind = 'v'
                        AND relnamespace = 'analytics'::regnamespace AND relname <> 'visible_stores'";
        let views: Vec<String> = sqlx::query_scalar(views).fetch_all(&app.owner).await.unwrap();
        let mut expected: BTreeSet<_> = views.iter().map(|it| format!("{it}.parquet")).collect();
        expected.insert("README.md".to_owned());
        assert_eq!(names(first.path()), expected);

        // An export that fails half-way leaves the files of the last one.
        let before = fs::read(first.path().join("fact_orders.parquet")).unwrap();
        sqlx::raw_sql("ALTER VIEW analytics.fact_refunds RENAME TO hidden")
            .execute(&app.owner)
            .await
            .unwrap();
        let checkout = app.begin(&product.variant_id, 1).await.text("/id");
        app.pay(&checkout, "4242424242424242").await;
        app.project().await;
        export::write(&app.reader, StoreId::of_slug(STORE), first.path()).await.unwrap_err();
        assert_eq!(fs::read(first.path().join("fact_orders.parquet")).unwrap(), before);
        // Nor does a store see the rows of another one.
        sqlx::raw_sql("ALTER VIEW analytics.hidden RENAME TO fact_refunds")
            .execute(&app.owner)
            .await
            .unwrap();
        export::write(&app.reader, StoreId::of_slug("elsewhere"), first.path()).await.unwrap();
        assert_eq!(sum(first.path(), "fact_orders", "total_minor", |_, _| true), (0, 0));
    });
}

#[test]
fn every_table_and_column_says_what_it_means() {
    story(async |app: App| {
        let silent: Vec<String> = sqlx::query_scalar(
            "SELECT c.relname || '.' || coalesce(a.attname, '') FROM pg_class c
               LEFT JOIN LATERAL (SELECT 0::int2 AS attnum, NULL::name AS attname
                             UNION ALL
                            SELECT attnum, attname FROM pg_attribute
                             WHERE attrelid = c.oid AND attnum > 0) a ON true
              WHERE c.relnamespace = 'analytics'::regnamespace AND c.relkind IN ('r', 'v')
                AND coalesce(CASE WHEN a.attnum = 0 THEN obj_description(c.oid, 'pg_class')
                                  ELSE col_description(c.oid, a.attnum) END, '') = ''",
        )
        .fetch_all(&app.owner)
        .await
        .unwrap();
        assert_eq!(silent, Vec::<String>::new());
    });
}

/// SQLSTATE of what an analyst is refused.
async fn refused(conn: &mut PgConnection, sql: &str) -> String {
    let done = sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).execute(conn).await;
    match done {
        Ok(done) => panic!("{sql} did something to {} rows", done.rows_affected()),
        Err(error) => error.as_database_error().unwrap().code().unwrap().into_owned(),
    }
}

#[test]
fn an_analyst_reads_the_star_schema_of_the_granted_store_and_nothing_else() {
    story(async |app: App| {
        let product = app.product("Canary praline", 700, 5).await;
        let checkout = app.begin(&product.variant_id, 1).await.text("/id");
        app.pay(&checkout, "4242424242424242").await;
        app.project().await;
        let (insider, stranger) = (Analyst::new("insider").await, Analyst::new("stranger").await);
        analysts::allow(&app.owner, &insider.0, STORE).await.unwrap();
        analysts::allow(&app.owner, &stranger.0, "elsewhere").await.unwrap();
        let unknown = analysts::allow(&app.owner, "conche_test_nobody", STORE).await;
        assert!(unknown.unwrap_err().to_string().contains("CREATE ROLE first"));

        // What the operator set stays.
        let own = format!("ALTER ROLE {} SET statement_timeout = '7min'", insider.0);
        test_database::administer(&own).await;
        analysts::allow(&app.owner, &insider.0, STORE).await.unwrap();

        let mut inside = insider.connect(&app).await;
        assert_eq!(limits(&mut inside).await, limited("7min"));
        let mut outside = stranger.connect(&app).await;
        for (table, _) in export::TABLES.iter().filter(|(table, _)| table.starts_with("fact_o")) {
            let count = format!("SELECT count(*) FROM analytics.{table}");
            let charges = i64::from(*table != "fact_order_charges");
            assert_eq!(number(&mut inside, &count).await, charges, "{table}");
            assert_eq!(number(&mut outside, &count).await, 0, "{table}");
        }
        assert_eq!(limits(&mut outside).await, limited("5min"));
        writes_and_other_schemas_are_refused(&mut inside).await;
        no_trick_shows_another_store(&app, &mut outside).await;

        analysts::deny(&app.owner, &insider.0, STORE).await.unwrap();
        assert_eq!(number(&mut inside, "SELECT count(*) FROM analytics.dim_product").await, 0);
        insider.leave(inside).await;
        stranger.leave(outside).await;
    });
}

/// Settings that sessions of the role begin with, unless they bring others as those of this test do,
/// and how many there may be at once.
async fn limits(conn: &mut PgConnection) -> (String, i32) {
    let limits = "SELECT array_to_string(rolconfig, ' '), rolconnlimit FROM pg_roles
                   WHERE rolname = current_user";
    sqlx::query_as(limits).fetch_one(conn).await.unwrap()
}

fn limited(statement: &str) -> (String, i32) {
    let pause = "idle_in_transaction_session_timeout=1min";
    (format!("statement_timeout={statement} {pause}"), 8)
}

async fn writes_and_other_schemas_are_refused(analyst: &mut PgConnection) {
    let forbidden = [
        "INSERT INTO analytics.dim_channel VALUES ('x', 'x')",
        "UPDATE analytics.fact_orders SET total_minor = 0",
        "DELETE FROM analytics.fact_refunds",
        "TRUNCATE analytics.store_grants",
        "SELECT * FROM analytics.store_grants",
        "INSERT INTO analytics.store_grants SELECT 'conche_analyst'::regrole, gen_random_uuid()",
        "CREATE TABLE analytics.mine ()",
        "CREATE OR REPLACE VIEW analytics.visible_stores AS SELECT gen_random_uuid() AS store_id",
        "SELECT * FROM read.order_summaries",
        "SELECT read.protect('read', 'order_summaries')",
        "SELECT * FROM log.events",
        "SELECT read.swap('read', 'log')",
        "SELECT log.append()",
        "SELECT * FROM process.work",
        "SELECT * FROM public._sqlx_migrations",
        "SET ROLE conche_reader",
        "SET ROLE conche_projector",
        "SELECT pg_read_file('/etc/passwd')",
        "COPY analytics.fact_orders TO PROGRAM 'cat'",
    ];
    for sql in forbidden {
        let code = refused(analyst, sql).await;
        // 42501: no right; 55000, 0A000: a view that cannot be written; 42883: not even visible.
        assert!(["42501", "55000", "0A000", "42883"].contains(&code.as_str()), "{sql}: {code}");
    }
}

async fn no_trick_shows_another_store(app: &App, stranger: &mut PgConnection) {
    let store = StoreId::of_slug(STORE).0;
    // The setting is for readers, and anybody may set it.
    let forged = format!("SET app.store = '{store}'; SET row_security = off");
    sqlx::raw_sql(AssertSqlSafe(forged)).execute(&mut *stranger).await.unwrap();
    // A function that costs nothing and tells what it is shown would be called first.
    let leak = "CREATE FUNCTION pg_temp.leak(text) RETURNS boolean LANGUAGE plpgsql COST 0.0000001
                AS $$ BEGIN RAISE EXCEPTION 'leaked %', $1; END $$";
    sqlx::raw_sql(leak).execute(&mut *stranger).await.unwrap();
    for (table, column) in [
        ("fact_orders", "number"),
        ("fact_order_lines", "title"),
        ("dim_product", "title"),
        ("fact_payments", "provider"),
    ] {
        let rows = format!("SELECT count(*) FROM analytics.{table}");
        assert_eq!(number(stranger, &format!("{rows} WHERE pg_temp.leak({column})")).await, 0);
        assert_eq!(number(stranger, &format!("{rows} WHERE store_id = '{store}'")).await, 0);
        assert!(number(&mut app.owner.acquire().await.unwrap(), &rows).await >= 0);
    }
    sqlx::raw_sql("SET row_security = on").execute(stranger).await.unwrap();
}
