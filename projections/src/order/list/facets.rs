//! Combinations of the filters that have few values each.

use event_schemas::ids::StoreId;
use sqlx::PgConnection;

use super::OrderFilter;

/// The combinations of a store that pass the filter, as in column `facets`. One round trip that
/// jumps from one combination to the next in an index.
pub(super) async fn matching(
    conn: &mut PgConnection,
    store_id: StoreId,
    filter: &OrderFilter,
) -> Result<Vec<String>, sqlx::Error> {
    let all = sqlx::query_scalar!(
        r#"WITH RECURSIVE found AS (
               (SELECT o.facets FROM order_summaries o WHERE o.store_id = $1
                 ORDER BY o.facets LIMIT 1)
               UNION ALL
               SELECT (SELECT o.facets FROM order_summaries o
                        WHERE o.store_id = $1 AND o.facets > found.facets
                        ORDER BY o.facets LIMIT 1)
                 FROM found WHERE found.facets IS NOT NULL)
           SELECT facets AS "facets!" FROM found WHERE facets IS NOT NULL"#,
        store_id.0
    );
    let mut all = all.fetch_all(conn).await?;
    all.retain(|facets| passes(facets, filter));
    Ok(all)
}

/// `facets` has its parts in the order of the migration; only the last may hold a bar itself.
fn passes(facets: &str, filter: &OrderFilter) -> bool {
    let wanted = [
        &filter.statuses,
        &filter.financial_statuses,
        &filter.channels,
        &filter.currencies,
        &filter.countries,
    ];
    let mut parts = facets.splitn(wanted.len(), '|');
    wanted.into_iter().all(|wanted| {
        let part = parts.next().unwrap_or_default();
        wanted.is_empty() || wanted.iter().any(|wanted| wanted == part)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_part_must_be_one_of_those_wanted() {
        let some = |values: &[&str]| values.iter().map(|&value| value.to_owned()).collect();
        let facets = "paid|refunded|api|GBP|Trinidad|Tobago";
        assert!(passes(facets, &OrderFilter::default()));
        let filter = OrderFilter { statuses: some(&["placed", "paid"]), ..OrderFilter::default() };
        assert!(passes(facets, &filter));
        let filter = OrderFilter { countries: some(&["Trinidad|Tobago"]), ..filter };
        assert!(passes(facets, &filter));
        let filter = OrderFilter { currencies: some(&["EUR"]), ..filter };
        assert!(!passes(facets, &filter));
    }
}
