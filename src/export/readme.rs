//! What stands beside the files, for who finds them.

use std::fmt::Write as _;

use event_schemas::ids::StoreId;

use super::{Table, table::Column};

const INTRODUCTION: &str = "\
One Parquet file per table of a star schema: facts (`fact_…`) to add up, dimensions (`dim_…`) to group
them by. Amounts (`…_minor`) are integers of the currency's minor unit, such as pence: add up one
`currency` at a time. Times are when it happened, in UTC; dates are days in UTC.

Gross sales are `fact_orders.total_minor` where `is_paid`; net sales are these less
`fact_refunds.amount_minor`.

    import duckdb
    duckdb.sql(\"\"\"SELECT placed_date, currency, sum(total_minor)
                  FROM 'fact_orders.parquet' WHERE is_paid GROUP BY ALL ORDER BY ALL\"\"\")
";

/// The text of `README.md`: what the comments of the schema say.
pub(super) fn text(store_id: StoreId, tables: &[Table]) -> String {
    let mut text = format!("# Sales of store {store_id}\n\n{INTRODUCTION}");
    for Table { name, comment, columns, .. } in tables {
        // Writing into a text does not fail.
        let _ = write!(text, "\n## {name}\n\n{comment}\n\n| column | type | |\n|---|---|---|\n");
        for column in columns {
            let Column { name, comment, .. } = column;
            let _ = writeln!(text, "| `{name}` | {} | {comment} |", column.type_name());
        }
    }
    text
}
