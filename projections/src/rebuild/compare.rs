//! What differs between the tables that serve and those filled anew.

use serde::Serialize;
use serde_json::Value;
use sqlx::{PgConnection, types::Json};

/// Rows of a table that are shown per kind of difference: enough to see a pattern.
const EXAMPLES_MAX: i32 = 20;

/// Memory for matching the rows of two tables; beyond it goes to the disk.
const COMPARE_MEMORY: &str = "SET LOCAL work_mem = '64MB'";

/// Two sets of tables of a projection, at the same position of the log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Comparison {
    /// Up to which event both go.
    pub position: i64,
    /// Every table, in the order of the projection.
    pub tables: Vec<TableDifference>,
}

/// How many rows of a table differ.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct TableDifference {
    /// Which table.
    pub table: &'static str,
    /// Rows that only the table that serves has.
    pub live_only: i64,
    /// Rows that only the table filled anew has.
    pub rebuilt_only: i64,
    /// Rows with the same key that differ in something else.
    pub changed: i64,
    /// Some of them: at most 20 of each kind.
    pub examples: Vec<Example>,
}

/// A row that differs; one side is `None` if it has no row with this key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, serde::Deserialize)]
pub struct Example {
    /// The row of the table that serves.
    pub live: Option<Value>,
    /// The row of the table filled anew.
    pub rebuilt: Option<Value>,
}

/// A row that is in one of the two tables only. A row that differs shows twice.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// Which table.
    pub table: &'static str,
    /// `live`: only in the table that serves; `rebuilt`: only in what the log says.
    pub side: String,
    /// The row.
    pub row: Value,
}

impl Comparison {
    /// Rows that differ, of all tables.
    pub fn rows(&self) -> i64 {
        let rows = self.tables.iter();
        rows.map(|table| table.live_only + table.rebuilt_only + table.changed).sum()
    }

    /// The examples, side by side.
    pub fn differences(self) -> Vec<Difference> {
        let mut differences = Vec::new();
        for TableDifference { table, examples, .. } in self.tables {
            for Example { live, rebuilt } in examples {
                let sides = [("live", live), ("rebuilt", rebuilt)];
                differences.extend(sides.into_iter().filter_map(|(side, row)| {
                    Some(Difference { table, side: side.to_owned(), row: row? })
                }));
            }
        }
        differences
    }
}

/// Compares a live table with the one of its name in `schema`, as `conn` sees them.
pub(super) async fn table(
    conn: &mut PgConnection,
    table: &'static str,
    schema: &str,
) -> Result<TableDifference, sqlx::Error> {
    sqlx::raw_sql(COMPARE_MEMORY).execute(&mut *conn).await?;
    let found = sqlx::query!(
        r#"SELECT live_only AS "live_only!", rebuilt_only AS "rebuilt_only!",
                  changed AS "changed!", examples AS "examples!: Json<Vec<Example>>"
             FROM read.compare($1, $2, $3)"#,
        table,
        schema,
        EXAMPLES_MAX
    )
    .fetch_one(conn)
    .await?;
    Ok(TableDifference {
        table,
        live_only: found.live_only,
        rebuilt_only: found.rebuilt_only,
        changed: found.changed,
        examples: found.examples.0,
    })
}
