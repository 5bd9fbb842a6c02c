//! Which way to the orders: a few looked at one by one, or through indexes, in one of two manners.

use event_schemas::ids::StoreId;
use sqlx::PgConnection;

use super::{OrderBy, OrderFilter, facets, statement};

/// Orders that are gathered from an index and then sorted; more are walked through in the order of
/// the list. So many are sorted in some 20 ms, and where there are more, one in ten of a million
/// passes and the walk is short.
pub(super) const GATHERED_MAX: i64 = 100_000;

/// How to come to the orders of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// To none: the search means nothing in this store.
    None,
    /// By customer, SKU, or several meanings of a search: few.
    Few(Search),
    /// Through the list of all, from the cursor on: nothing but its own column bounds it.
    All(Search),
    /// Through these combinations, each in the order of the list.
    Walk(Vec<String>, Search),
    /// Through these combinations: everything within the bounds, then sorted.
    Gather(Vec<String>, Search),
}

/// What a search means in this store.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Search {
    pub(super) number: bool,
    pub(super) customer: bool,
    pub(super) sku: bool,
}

impl Search {
    /// Whether it is the beginning of numbers and nothing else, so that it is a range.
    pub(super) fn is_range(self) -> bool {
        self.number && !self.customer && !self.sku
    }

    async fn find(
        conn: &mut PgConnection,
        store_id: StoreId,
        text: &str,
    ) -> Result<Search, sqlx::Error> {
        sqlx::query_as!(
            Search,
            r#"SELECT EXISTS (SELECT 1 FROM order_summaries o WHERE o.store_id = $1
                                 AND o.number >= $2 AND o.number < $3) AS "number!",
                      EXISTS (SELECT 1 FROM order_summaries o WHERE o.store_id = $1
                                 AND o.customer_reference = $2) AS "customer!",
                      EXISTS (SELECT 1 FROM order_lines l WHERE l.store_id = $1
                                 AND l.sku = $2) AS "sku!""#,
            store_id.0,
            text,
            statement::beyond(text)
        )
        .fetch_one(conn)
        .await
    }
}

impl Way {
    /// For a list in that order, or for a count.
    pub(super) async fn find(
        conn: &mut PgConnection,
        store_id: StoreId,
        filter: &OrderFilter,
        by: Option<OrderBy>,
    ) -> Result<Way, sqlx::Error> {
        // Right after a rebuild the server has no statistics yet, and would read whole tables.
        sqlx::query!(
            "SELECT set_config('enable_seqscan', 'off', true) AS seqscan,
                    set_config('jit', 'off', true) AS jit"
        )
        .fetch_one(&mut *conn)
        .await?;
        let search = match &filter.search {
            Some(text) => Search::find(&mut *conn, store_id, text).await?,
            None => Search::default(),
        };
        if filter.search.is_some() && search == Search::default() {
            return Ok(Way::None);
        }
        let other = filter.search.is_some() && !search.is_range();
        if filter.customer.is_some() || filter.sku.is_some() || other {
            return Ok(Way::Few(search));
        }
        let astray = filter.is_bounded_astray(search, by);
        let in_order = matches!(by, Some(OrderBy::PlacedAt | OrderBy::Number));
        if in_order && !astray && !filter.has_facets() {
            return Ok(Way::All(search));
        }
        let facets = facets::matching(&mut *conn, store_id, filter).await?;
        if !astray || by.is_none() {
            return Ok(Way::Walk(facets, search));
        }
        let within = Way::Walk(facets.clone(), search);
        let within = match statement::count(store_id, filter, &within, GATHERED_MAX) {
            Some(mut count) => {
                count.build_query_scalar::<i64>().persistent(false).fetch_one(conn).await?
            }
            None => 0,
        };
        Ok(if within < GATHERED_MAX {
            Way::Gather(facets, search)
        } else {
            Way::Walk(facets, search)
        })
    }
}

impl OrderFilter {
    fn has_facets(&self) -> bool {
        let lists = [
            &self.statuses,
            &self.financial_statuses,
            &self.channels,
            &self.currencies,
            &self.countries,
        ];
        lists.into_iter().any(|list| !list.is_empty())
    }

    /// Whether something bounds the list that it is not ordered by.
    fn is_bounded_astray(&self, search: Search, by: Option<OrderBy>) -> bool {
        let placed = self.placed_from.is_some() || self.placed_before.is_some();
        let total = self.total_from.is_some() || self.total_to.is_some();
        (placed && by != Some(OrderBy::PlacedAt))
            || (total && by != Some(OrderBy::Total))
            || (search.is_range() && by != Some(OrderBy::Number))
    }
}
