//! Combinations of the filters that have few values each.

use event_schemas::ids::StoreId;
use sqlx::PgConnection;

use super::OrderFilter;

/// Combinations of a store that a list is put together from, whichever of them it wants. Countries
/// are any text that shoppers gave, so that there is no end to them; each combination costs about
/// 20 µs, so these cost some 20 ms, and a shop has some hundreds.
pub(super) const COMBINATIONS_MAX: i64 = 1_000;

/// The combinations of a store that pass the filter, as in column `facets`; `None` if the store has
/// more than [`COMBINATIONS_MAX`]. One round trip that jumps from one combination to the next in an
/// index.
pub(super) async fn matching(
    conn: &mut PgConnection,
    store_id: StoreId,
    filter: &OrderFilter,
) -> Result<Option<Vec<String>>, sqlx::Error> {
    let all = sqlx::query_scalar!(
        r#"WITH RECURSIVE found AS (
               (SELECT o.facets FROM order_summaries o WHERE o.store_id = $1
                 ORDER BY o.facets LIMIT 1)
               UNION ALL
               SELECT (SELECT o.facets FROM order_summaries o
                        WHERE o.store_id = $1 AND o.facets > found.facets
                        ORDER BY o.facets LIMIT 1)
                 FROM found WHERE found.facets IS NOT NULL)
           SELECT facets AS "facets!" FROM found WHERE facets IS NOT NULL LIMIT $2"#,
        store_id.0,
        COMBINATIONS_MAX + 1
    );
    let mut all = all.fetch_all(conn).await?;
    if i64::try_from(all.len()).is_ok_and(|found| COMBINATIONS_MAX < found) {
        return Ok(None);
    }
    all.retain(|facets| passes(facets, filter));
    Ok(Some(all))
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
