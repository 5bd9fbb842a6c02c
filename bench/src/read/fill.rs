//! Loading, and how fast the read models follow, beside COPY of the rows they come to.

use std::{
    path::Path,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context as _, ensure};
use event_schemas::ids::StoreId;
use serde::Serialize;
use sqlx::{
    AssertSqlSafe, Connection as _, Executor as _, PgConnection, postgres::PgConnectOptions,
};
use tokio::time::sleep;

use super::{Arguments, STORE, progress};
use crate::{
    figures::{count, rounded},
    place::Place,
    program::{self, Running},
};

/// Between two looks how far the read models are.
const POLL: Duration = Duration::from_millis(100);
/// Between two lines about it.
const SAY_EVERY: Duration = Duration::from_secs(10);

/// Part of the orders that is loaded before projectors begin, so that they catch up with it.
const FIRST_PART: u32 = 3;

/// How fast something was.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Pace {
    pub(super) what: String,
    /// Events, or rows.
    pub(super) count: u64,
    pub(super) seconds: f64,
}

impl Pace {
    pub(super) fn rate(&self) -> f64 {
        count(self.count) / self.seconds.max(1e-3)
    }
}

/// What filling the store has shown; nothing if it was full.
#[derive(Clone, Debug, Default, Serialize)]
pub(super) struct Filled {
    pub(super) load: Option<Pace>,
    /// The projector of orders alone.
    pub(super) orders: Option<Pace>,
    /// The same rows, by COPY, into tables with the same indexes.
    pub(super) copy: Option<Pace>,
    /// The other projectors, beside each other.
    pub(super) others: Vec<Pace>,
}

/// Loads what is missing and brings the read models up to date.
pub(super) async fn fill(
    conche: &Path,
    folder: &Path,
    arguments: &Arguments,
) -> anyhow::Result<Filled> {
    let place = Place::open(folder).await?;
    let result = steps(conche, folder, (place.options(), arguments)).await;
    place.close().await?;
    result
}

async fn steps(
    conche: &Path,
    folder: &Path,
    (options, arguments): (&PgConnectOptions, &Arguments),
) -> anyhow::Result<Filled> {
    let mut conn = PgConnection::connect_with(options).await?;
    let (mut filled, before) = (Filled::default(), head(&mut conn).await?);
    if before == 0 {
        progress("loading the first part");
        let began = Instant::now();
        load(conche, folder, arguments, Some(arguments.orders / FIRST_PART))?.finish()?;
        let events = head(&mut conn).await?;
        filled.load = Some(pace("load", events, began));
        progress("the projector of orders catches up");
        let alone = ["orders"];
        filled.orders = follow(conche, folder, &mut conn, &alone).await?.pop();
        filled.copy = Some(copy(&mut conn, folder).await?);
        progress("the other projectors catch up");
        let others: Vec<&str> = projections::ALL.iter().map(|it| it.name).collect();
        let others: Vec<&str> = others.into_iter().filter(|name| *name != "orders").collect();
        filled.others = follow(conche, folder, &mut conn, &others).await?;
    }
    progress("loading the rest, projectors beside");
    let projectors = Projectors::start(conche, folder, projections::ALL.iter().map(|it| it.name))?;
    load(conche, folder, arguments, None)?.finish()?;
    for projection in projections::ALL {
        let head = head(&mut conn).await?;
        reached(&mut conn, projection.name, head).await?;
    }
    projectors.stop()?;
    more_orders(&mut conn, arguments).await?;
    progress("tidying up");
    // What the server does by itself in time; the log is not read by queries.
    let tables = "SELECT relname::text FROM pg_stat_user_tables WHERE schemaname = 'read'";
    let tables: Vec<String> = sqlx::query_scalar(tables).fetch_all(&mut conn).await?;
    for table in tables {
        conn.execute(AssertSqlSafe(format!("VACUUM (ANALYZE) read.{table}"))).await?;
    }
    conn.execute("CHECKPOINT").await?;
    conn.close().await?;
    Ok(filled)
}

fn pace(what: &str, events: i64, began: Instant) -> Pace {
    let seconds = rounded(began.elapsed().as_secs_f64());
    Pace { what: what.to_owned(), count: u64::try_from(events).unwrap_or(0), seconds }
}

/// A loader at work.
struct Loader(Running);

fn load(
    conche: &Path,
    folder: &Path,
    arguments: &Arguments,
    first: Option<u32>,
) -> anyhow::Result<Loader> {
    let (products, orders) = (arguments.products.to_string(), arguments.orders.to_string());
    let mut command = child(conche, folder);
    command.args(["bench", "load", "--store", STORE, "--products", &products, "--orders", &orders]);
    if let Some(first) = first {
        command.args(["--first", &first.to_string()]);
    }
    Ok(Loader(Running(command.spawn()?)))
}

impl Loader {
    fn finish(mut self) -> anyhow::Result<()> {
        let status = self.0.0.wait()?;
        ensure!(status.success(), "loading failed: {status}");
        Ok(())
    }
}

fn child(conche: &Path, folder: &Path) -> Command {
    let mut command = Command::new(conche);
    command.arg("--data-dir").arg(folder).env_remove("DATABASE_URL");
    command.stdin(Stdio::null()).stdout(Stdio::null());
    command
}

/// Projectors in processes of their own.
struct Projectors(Vec<Running>);

impl Projectors {
    fn start<'a>(
        conche: &Path,
        folder: &Path,
        names: impl IntoIterator<Item = &'a str>,
    ) -> anyhow::Result<Projectors> {
        let start = |name| child(conche, folder).args(["projector", name]).spawn().map(Running);
        let children: Result<Vec<Running>, _> = names.into_iter().map(start).collect();
        Ok(Projectors(children.context("starting projectors")?))
    }

    fn stop(self) -> anyhow::Result<()> {
        self.0.into_iter().try_for_each(program::stop)
    }
}

/// Runs projectors until they are where the log is. How long each took.
async fn follow(
    conche: &Path,
    folder: &Path,
    conn: &mut PgConnection,
    names: &[&str],
) -> anyhow::Result<Vec<Pace>> {
    let (head, began) = (head(conn).await?, Instant::now());
    let projectors = Projectors::start(conche, folder, names.iter().copied())?;
    let mut paces = Vec::new();
    for name in names {
        reached(conn, name, head).await?;
        paces.push(pace(name, head, began));
    }
    projectors.stop()?;
    Ok(paces)
}

async fn reached(conn: &mut PgConnection, name: &str, head: i64) -> anyhow::Result<()> {
    let mut said = Instant::now();
    loop {
        let position = "SELECT coalesce((SELECT position FROM log.checkpoints WHERE name = $1), 0)";
        let position: i64 = sqlx::query_scalar(position).bind(name).fetch_one(&mut *conn).await?;
        if head <= position {
            return Ok(());
        }
        if SAY_EVERY <= said.elapsed() {
            said = Instant::now();
            progress(&format!("{name}: {position} of {head}"));
        }
        sleep(POLL).await;
    }
}

pub(super) async fn head(conn: &mut PgConnection) -> anyhow::Result<i64> {
    Ok(sqlx::query_scalar("SELECT position FROM log.head").fetch_one(conn).await?)
}

/// Copies of orders and their lines, with numbers, customers and times of their own, until there are
/// as many rows as asked for.
async fn more_orders(conn: &mut PgConnection, arguments: &Arguments) -> anyhow::Result<()> {
    let there = "SELECT count(*) FROM read.order_summaries";
    let there: i64 = sqlx::query_scalar(there).fetch_one(&mut *conn).await?;
    let (orders, wanted) = (i64::from(arguments.orders), i64::from(arguments.order_rows));
    if wanted <= there || orders < there {
        return Ok(());
    }
    for nth in 1..=(wanted - 1) / orders.max(1) {
        progress(&format!("copies of orders, {} of {wanted}", nth * orders));
        for copy in [COPIED_ORDERS, COPIED_LINES] {
            let copied = sqlx::query(copy).bind(StoreId::of_slug(STORE).0).bind(nth).bind(orders);
            copied.execute(&mut *conn).await?;
        }
    }
    Ok(())
}

/// Store, which copy, and how many orders were placed, whose numbers begin at 1,000,001.
const COPIED_ORDERS: &str = "
    INSERT INTO read.order_summaries (store_id, order_id, number, status, financial_status,
        total_minor, captured_minor, refunded_minor, currency, item_count, customer_reference,
        country, channel, checkout_id, payment_id, placed_at, updated_at, version)
    SELECT store_id, md5(order_id::text || $2::text)::uuid, (number::bigint + $2::bigint * $3::bigint)::text, status,
           financial_status, total_minor + $2::bigint, captured_minor + $2::bigint, refunded_minor, currency,
           item_count, customer_reference || '-' || $2::text, country, channel,
           md5(checkout_id::text || $2::text)::uuid, md5(payment_id::text || $2::text)::uuid,
           placed_at + $2::float8 * interval '37 seconds', updated_at, version
      FROM read.order_summaries
     WHERE store_id = $1 AND number::bigint <= 1000000 + $3::bigint";
const COPIED_LINES: &str = "
    INSERT INTO read.order_lines (store_id, order_id, position, line_id, product_id, variant_id, sku,
        title, quantity, unit_price_minor, currency)
    SELECT l.store_id, md5(l.order_id::text || $2::text)::uuid, l.position, l.line_id, l.product_id,
           l.variant_id, l.sku, l.title, l.quantity, l.unit_price_minor, l.currency
      FROM read.order_lines l JOIN read.order_summaries o USING (store_id, order_id)
     WHERE store_id = $1 AND o.number::bigint <= 1000000 + $3::bigint";

/// The rows of the tables of orders, from a file into empty copies of the tables.
async fn copy(conn: &mut PgConnection, folder: &Path) -> anyhow::Result<Pace> {
    progress("COPY of the same rows");
    // Where the server may write.
    let file = folder.join("postgres/bench-copy.bin");
    let file = file.to_str().context("the data directory's name is text")?.replace('\'', "''");
    conn.execute("DROP SCHEMA IF EXISTS bench_copy CASCADE; CREATE SCHEMA bench_copy").await?;
    // As the projectors have it.
    conn.execute("SET synchronous_commit = off").await?;
    let (mut rows, mut took) = (0, Duration::ZERO);
    for table in projections::order::PROJECTION.tables {
        let shape = format!("SELECT read.copy_shape('{table}', 'bench_copy')");
        conn.execute(AssertSqlSafe(shape)).await?;
        let out = format!("COPY read.{table} TO '{file}' (FORMAT binary)");
        rows += conn.execute(AssertSqlSafe(out)).await?.rows_affected();
        let began = Instant::now();
        let back = format!("COPY bench_copy.{table} FROM '{file}' (FORMAT binary)");
        conn.execute(AssertSqlSafe(back)).await?;
        took += began.elapsed();
    }
    conn.execute("RESET synchronous_commit").await?;
    conn.execute("DROP SCHEMA bench_copy CASCADE").await?;
    Ok(Pace { what: "COPY".to_owned(), count: rows, seconds: rounded(took.as_secs_f64()) })
}
