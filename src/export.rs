//! The star schema of a store as Parquet files, for notebooks and BI tools.
//!
//! What is exported, and what it means, is read from schema `analytics` itself: its views, their
//! columns and comments. All files show one moment. The same rows make the same bytes. Memory
//! holds one group of rows, whatever the size of a table.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use event_schemas::ids::StoreId;
use event_store::pool::Role;
use sqlx::{AssertSqlSafe, PgConnection, PgPool, Row as _};

use crate::{
    config::{ExportAnalytics, Place},
    database::Database,
    terminal::say,
};

mod readme;
mod table;

use table::{Column, TableFile};

/// Views of the star schema, and what their rows are ordered by.
pub const TABLES: &[(&str, &str)] = &[
    ("dim_channel", "channel"),
    ("dim_country", "country"),
    ("dim_customer", "customer_reference"),
    ("dim_date", "date"),
    ("dim_product", "product_id"),
    ("dim_variant", "variant_id"),
    ("fact_customer_spending", "customer_reference, currency"),
    ("fact_order_charges", "order_id, charge_number"),
    ("fact_order_lines", "order_id, line_number"),
    ("fact_orders", "order_id"),
    ("fact_payments", "payment_id"),
    ("fact_refunds", "log_position"),
    ("fact_stock_movements", "log_position"),
];

/// Rows of a row group, which is what memory holds: about 30 MB of the widest table.
const GROUP_ROWS: usize = 32_768;

/// Longest run of one statement: the first one of a table sorts it.
const STATEMENT_TIMEOUT: &str = "SET LOCAL statement_timeout = '30min'";

/// A view of the star schema.
#[derive(Debug)]
struct Table {
    name: &'static str,
    order: &'static str,
    comment: String,
    columns: Vec<Column>,
}

/// What became of one table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exported {
    pub file: PathBuf,
    pub rows: usize,
}

/// Writes the files of a store and says which.
pub async fn run(place: &Place, export: &ExportAnalytics) -> anyhow::Result<()> {
    let database = Database::open_existing(place).await?;
    let result = match database.require_migrated().await {
        Ok(()) => {
            let reader = database.pool(Role::Reader).await?;
            let result = write(&reader, StoreId::of_slug(&export.store), &export.parquet).await;
            reader.close().await;
            result
        }
        Err(error) => Err(error),
    };
    database.close().await?;
    for Exported { file, rows } in result? {
        say(&format!("{:>10} rows  {}", rows, file.display()))?;
    }
    Ok(())
}

/// Writes one file per view into `dir`, which is made if missing, and a README. A file has its name
/// only when all of them are complete; until then what was there before stays. `reader` is a pool
/// of `conche_reader`.
pub async fn write(
    reader: &PgPool,
    store_id: StoreId,
    dir: &Path,
) -> anyhow::Result<Vec<Exported>> {
    fs::create_dir_all(dir).with_context(|| format!("making {}", dir.display()))?;
    // One state of all tables, and no store but this one.
    let mut tx = projections::as_store(reader, store_id).await?;
    sqlx::raw_sql(STATEMENT_TIMEOUT).execute(&mut *tx).await?;
    let mut tables = Vec::new();
    let mut exported = Vec::new();
    for (name, order) in TABLES {
        let table = describe(&mut tx, name, order).await?;
        let file = dir.join(format!("{name}.parquet"));
        let rows = export(&mut tx, &table, &partial(&file)).await;
        let rows = rows.with_context(|| format!("writing {}", file.display()))?;
        exported.push(Exported { file, rows });
        tables.push(table);
    }
    let readme = dir.join("README.md");
    fs::write(partial(&readme), readme::text(store_id, &tables))?;
    for file in exported.iter().map(|exported| &exported.file).chain([&readme]) {
        fs::rename(partial(file), file)?;
    }
    // The names are on the disk too.
    File::open(dir)?.sync_all()?;
    Ok(exported)
}

/// Where a file is while it is not complete.
fn partial(file: &Path) -> PathBuf {
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    file.with_file_name(format!(".{name}.partial"))
}

async fn describe(
    conn: &mut PgConnection,
    name: &'static str,
    order: &'static str,
) -> anyhow::Result<Table> {
    let rows = sqlx::query!(
        r#"SELECT a.attname::text AS "name!", t.typname::text AS "kind!",
                  coalesce(col_description(a.attrelid, a.attnum), '') AS "comment!",
                  coalesce(obj_description(c.oid, 'pg_class'), '') AS "table_comment!"
             FROM pg_class c
             JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
             JOIN pg_type t ON t.oid = a.atttypid
            WHERE c.relnamespace = 'analytics'::regnamespace AND c.relname = $1
            ORDER BY a.attnum"#,
        name
    );
    let rows = rows.fetch_all(conn).await?;
    let comment = rows.first().map(|row| row.table_comment.clone()).unwrap_or_default();
    let columns = rows.into_iter().map(|row| Column::new(row.name, &row.kind, row.comment));
    let columns = columns.collect::<anyhow::Result<Vec<_>>>();
    Ok(Table { name, order, comment, columns: columns.with_context(|| name.to_owned())? })
}

/// Writes a table, a group of rows at a time. Returns how many rows it has.
async fn export(conn: &mut PgConnection, table: &Table, path: &Path) -> anyhow::Result<usize> {
    let Table { name, order, columns, .. } = table;
    let selected: Vec<String> = columns.iter().map(Column::sql).collect();
    let declare = format!(
        "DECLARE export_{name} NO SCROLL CURSOR FOR SELECT {} FROM analytics.{name} ORDER BY {order}",
        selected.join(", ")
    );
    sqlx::raw_sql(AssertSqlSafe(declare)).execute(&mut *conn).await?;
    let mut file = TableFile::create(path, name, &table.comment, columns)?;
    let mut total = 0;
    loop {
        let fetch = format!("FETCH {GROUP_ROWS} FROM export_{name}");
        let rows = sqlx::query(AssertSqlSafe(fetch)).persistent(false);
        let rows = rows.fetch_all(&mut *conn).await?;
        if rows.is_empty() {
            break;
        }
        debug_assert_eq!(rows[0].len(), columns.len());
        total += rows.len();
        file.append(columns, &rows)?;
    }
    sqlx::raw_sql(AssertSqlSafe(format!("CLOSE export_{name}"))).execute(conn).await?;
    file.finish()?;
    Ok(total)
}
