//! The statements of lists and counts.

use event_schemas::ids::StoreId;
use sqlx::{Postgres, QueryBuilder};

use super::{OrderBy, OrderCursor, OrderFilter, OrderKey, OrderSort, way::Search, way::Way};

/// Numbers that a search considers where it means other things as well: the last ones.
const NUMBERS_MAX: i64 = 10_000;

const COLUMNS: &str =
    "o.store_id, o.order_id, o.number, o.status, o.financial_status, o.fulfilment_status,
    o.total_minor, o.captured_minor, o.refunded_minor, o.currency, o.item_count,
    o.customer_reference, o.country, o.channel, o.checkout_id, o.payment_id, o.placed_at,
    o.updated_at, o.version";

/// Part of a list.
pub(super) struct Page<'a> {
    pub(super) sort: OrderSort,
    pub(super) cursor: Option<&'a OrderCursor>,
    pub(super) rows: i64,
}

/// `None` if it is clear that there are no such orders.
pub(super) fn list(
    store_id: StoreId,
    filter: &OrderFilter,
    way: &Way,
    page: &Page<'_>,
) -> Option<QueryBuilder<Postgres>> {
    let mut query = QueryBuilder::new("SELECT ");
    query.push(COLUMNS);
    match way {
        Way::None => return None,
        Way::Plain(_) | Way::All(_) => {
            query.push(" FROM order_summaries o WHERE o.store_id = ").push_bind(store_id.0);
            if let Way::Plain(search) = way {
                push_plain(&mut query, store_id, filter, *search);
            }
            push_bounds(&mut query, filter, way.search());
            push_cursor(&mut query, page);
            push_order(&mut query, page, "o");
            query.push(" LIMIT ").push_bind(page.rows);
        }
        Way::Walk(facets, _) | Way::Gather(facets, _) => {
            if facets.is_empty() {
                return None;
            }
            query.push(" FROM (SELECT k.order_id FROM unnest(").push_bind(facets.clone());
            query.push("::text[]) AS f (facets) CROSS JOIN LATERAL (");
            push_keys(&mut query, store_id, filter, (way, page));
            query.push(") k");
            push_order(&mut query, page, "k");
            query.push(" LIMIT ").push_bind(page.rows);
            query.push(") page JOIN order_summaries o ON o.order_id = page.order_id");
            query.push(" AND o.store_id = ").push_bind(store_id.0);
            push_order(&mut query, page, "o");
        }
    }
    Some(query)
}

/// The first rows of one combination: what is known of them without visiting the table.
fn push_keys(
    query: &mut QueryBuilder<Postgres>,
    store_id: StoreId,
    filter: &OrderFilter,
    (way, page): (&Way, &Page<'_>),
) {
    let gather = matches!(way, Way::Gather(..));
    if gather {
        query.push("SELECT * FROM (");
    }
    query.push("SELECT o.order_id, o.placed_at, o.number, o.total_minor FROM order_summaries o");
    query.push(" WHERE o.facets = f.facets AND o.store_id = ").push_bind(store_id.0);
    push_bounds(query, filter, way.search());
    push_cursor(query, page);
    if gather {
        // A wall: what lies within the bounds is found first, however few rows are wanted.
        query.push(" OFFSET 0) o");
    }
    push_order(query, page, "o");
    query.push(" LIMIT ").push_bind(page.rows);
}

/// How many there are, counted up to `max`; `None` if it is clear that there are none.
pub(super) fn count(
    store_id: StoreId,
    filter: &OrderFilter,
    way: &Way,
    max: i64,
) -> Option<QueryBuilder<Postgres>> {
    let mut query = QueryBuilder::new("SELECT count(*) FROM (SELECT 1 FROM ");
    match way {
        Way::None => return None,
        Way::Walk(facets, _) | Way::Gather(facets, _) => {
            if facets.is_empty() {
                return None;
            }
            query.push("unnest(").push_bind(facets.clone());
            query.push("::text[]) AS f (facets) CROSS JOIN LATERAL (SELECT 1");
            query.push(" FROM order_summaries o WHERE o.facets = f.facets AND o.store_id = ");
            query.push_bind(store_id.0);
            push_bounds(&mut query, filter, way.search());
            query.push(" LIMIT ").push_bind(max).push(") one");
        }
        Way::Plain(_) | Way::All(_) => {
            query.push("order_summaries o WHERE o.store_id = ").push_bind(store_id.0);
            if let Way::Plain(search) = way {
                push_plain(&mut query, store_id, filter, *search);
            }
            push_bounds(&mut query, filter, way.search());
        }
    }
    query.push(" LIMIT ").push_bind(max).push(") matching");
    Some(query)
}

impl Way {
    fn search(&self) -> Search {
        match self {
            Way::None => Search::default(),
            Way::Plain(search)
            | Way::All(search)
            | Way::Walk(_, search)
            | Way::Gather(_, search) => *search,
        }
    }
}

/// A text that sorts after everything that begins with this one.
pub(super) fn beyond(text: &str) -> String {
    // It sorts after every continuation.
    format!("{text}{}", char::MAX)
}

/// Days, totals, beginnings of numbers.
fn push_bounds(query: &mut QueryBuilder<Postgres>, filter: &OrderFilter, search: Search) {
    if let Some(from) = filter.placed_from {
        query.push(" AND o.placed_at >= ").push_bind(from);
    }
    if let Some(before) = filter.placed_before {
        query.push(" AND o.placed_at < ").push_bind(before);
    }
    if let Some(from) = filter.total_from {
        query.push(" AND o.total_minor >= ").push_bind(from);
    }
    if let Some(to) = filter.total_to {
        query.push(" AND o.total_minor <= ").push_bind(to);
    }
    if let Some(text) = filter.search.as_ref().filter(|_| search.is_range()) {
        query.push(" AND o.number >= ").push_bind(text.clone());
        query.push(" AND o.number < ").push_bind(beyond(text));
    }
}

/// Customer, SKU, a search that means them, and the filters of few values, each by itself.
fn push_plain(
    query: &mut QueryBuilder<Postgres>,
    store_id: StoreId,
    filter: &OrderFilter,
    search: Search,
) {
    if let Some(customer) = &filter.customer {
        query.push(" AND o.customer_reference = ").push_bind(customer.clone());
    }
    if let Some(sku) = &filter.sku {
        query.push(" AND o.order_id IN (SELECT l.order_id FROM order_lines l WHERE l.store_id = ");
        query.push_bind(store_id.0).push(" AND l.sku = ").push_bind(sku.clone()).push(")");
    }
    let lists = [
        ("status", &filter.statuses),
        ("financial_status", &filter.financial_statuses),
        ("channel", &filter.channels),
        ("currency", &filter.currencies),
        ("country", &filter.countries),
    ];
    for (column, list) in lists.into_iter().filter(|(_, list)| !list.is_empty()) {
        query.push(format!(" AND o.{column} = ANY (")).push_bind(list.clone()).push(")");
    }
    if let Some(text) = filter.search.as_ref().filter(|_| !search.is_range()) {
        push_search(query, store_id, text);
    }
}

/// One index each; an OR would use none of them.
fn push_search(query: &mut QueryBuilder<Postgres>, store_id: StoreId, text: &str) {
    query.push(" AND o.order_id IN ((SELECT n.order_id FROM order_summaries n WHERE n.store_id = ");
    query.push_bind(store_id.0).push(" AND n.number >= ").push_bind(text.to_owned());
    query.push(" AND n.number < ").push_bind(beyond(text));
    query.push(" ORDER BY n.number DESC LIMIT ").push_bind(NUMBERS_MAX);
    query.push(") UNION SELECT c.order_id FROM order_summaries c WHERE c.store_id = ");
    query.push_bind(store_id.0).push(" AND c.customer_reference = ").push_bind(text.to_owned());
    query.push(" UNION SELECT l.order_id FROM order_lines l WHERE l.store_id = ");
    query.push_bind(store_id.0).push(" AND l.sku = ").push_bind(text.to_owned()).push(")");
}

fn push_cursor(query: &mut QueryBuilder<Postgres>, page: &Page<'_>) {
    let Some(OrderCursor { key, order_id }) = page.cursor else { return };
    let than = if page.sort.descending { " < " } else { " > " };
    match key {
        // No two orders have the same.
        OrderKey::Number(number) => {
            query.push(" AND o.number").push(than).push_bind(number.clone());
            return;
        }
        OrderKey::PlacedAt(at) => {
            query.push(" AND (o.placed_at, o.order_id)").push(than).push("(").push_bind(*at);
        }
        OrderKey::Total(minor) => {
            query.push(" AND (o.total_minor, o.order_id)").push(than).push("(").push_bind(*minor);
        }
    }
    query.push(", ").push_bind(*order_id).push(")");
}

fn push_order(query: &mut QueryBuilder<Postgres>, page: &Page<'_>, table: &str) {
    let direction = if page.sort.descending { " DESC" } else { "" };
    let column = match page.sort.by {
        OrderBy::PlacedAt => "placed_at",
        OrderBy::Total => "total_minor",
        OrderBy::Number => {
            query.push(format!(" ORDER BY {table}.number{direction}"));
            return;
        }
    };
    query.push(format!(" ORDER BY {table}.{column}{direction}, {table}.order_id{direction}"));
}
