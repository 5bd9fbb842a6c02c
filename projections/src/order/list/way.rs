//! Which way to the orders: a few looked at one by one, or through indexes, in one of two manners.

use event_schemas::ids::StoreId;
use sqlx::PgConnection;

use super::{OrderBy, OrderFilter, facets, statement};

/// Orders that are gathered from an index and then sorted; where there are more, the list is walked
/// through in its order, which is short if they stand anywhere in it.
pub(super) const GATHERED_MAX: i64 = 10_000;

/// The same between days and numbers: both rise with time, so those wanted may all stand at the far
/// end, and the walk would be long.
pub(super) const GATHERED_IN_TIME_MAX: i64 = 100_000;

/// How to come to the orders of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// To none: the search means nothing in this store.
    None,
    /// Every filter by itself, through whichever index the server likes best: by customer, SKU, or
    /// several meanings of a search, which leave few; or because there are too many combinations.
    Plain(Search),
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
            return Ok(Way::Plain(search));
        }
        let astray = by.and_then(|by| filter.gathered_max(search, by));
        let in_order = matches!(by, Some(OrderBy::PlacedAt | OrderBy::Number));
        if in_order && astray.is_none() && !filter.has_facets() {
            return Ok(Way::All(search));
        }
        let Some(facets) = facets::matching(&mut *conn, store_id, filter).await? else {
            return Ok(Way::Plain(search));
        };
        let Some(max) = astray else { return Ok(Way::Walk(facets, search)) };
        let within = Way::Walk(facets.clone(), search);
        let within = match statement::count(store_id, filter, &within, max) {
            Some(mut count) => {
                count.build_query_scalar::<i64>().persistent(false).fetch_one(conn).await?
            }
            None => 0,
        };
        Ok(if within < max { Way::Gather(facets, search) } else { Way::Walk(facets, search) })
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

    /// If something bounds the list that it is not ordered by: how many orders within the bounds
    /// are better gathered than walked to.
    fn gathered_max(&self, search: Search, by: OrderBy) -> Option<i64> {
        let placed = self.placed_from.is_some() || self.placed_before.is_some();
        let total = self.total_from.is_some() || self.total_to.is_some();
        let number = search.is_range();
        match by {
            OrderBy::Number if placed => Some(GATHERED_IN_TIME_MAX),
            OrderBy::PlacedAt if number => Some(GATHERED_IN_TIME_MAX),
            OrderBy::Number | OrderBy::PlacedAt => total.then_some(GATHERED_MAX),
            OrderBy::Total => (placed || number).then_some(GATHERED_MAX),
        }
    }
}
