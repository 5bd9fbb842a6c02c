//! Searches for orders: any filters, any order.

use chrono::{DateTime, TimeDelta, Utc};
use projections::order::list::{OrderBy, OrderFilter, OrderSort};

use super::samples::{Samples, below, escaped, pick};
use crate::load::Random;

/// A search, as an address and as the read model takes it.
pub(super) struct Search {
    pub(super) path: String,
    pub(super) filter: OrderFilter,
    pub(super) sort: OrderSort,
}

const STATUSES: [&str; 3] = ["paid", "cancelled", "placed"];
const FINANCIAL: [&str; 3] = ["paid", "refunded", "partially_refunded"];
const SORTS: [(&str, OrderBy); 3] =
    [("placed_at", OrderBy::PlacedAt), ("number", OrderBy::Number), ("total", OrderBy::Total)];

/// Up to four filters out of ten.
pub(super) fn search(samples: &Samples, turn: u64) -> Search {
    let mut chance = Random(turn.wrapping_mul(0x9E37_79B9));
    let chance = &mut chance;
    let (mut path, mut filter) = ("/api/v1/orders?limit=20".to_owned(), OrderFilter::default());
    for _ in 0..below(chance, 5) {
        add(samples, chance, &mut path, &mut filter);
    }
    let (name, by) = SORTS[below(chance, SORTS.len())];
    let descending = below(chance, 2) == 0;
    path.extend(["&sort=", if descending { "-" } else { "" }, name]);
    Search { path, filter, sort: OrderSort { by, descending } }
}

/// One more filter, unless it is there.
fn add(samples: &Samples, chance: &mut Random, path: &mut String, filter: &mut OrderFilter) {
    let opened: DateTime<Utc> = DateTime::from_timestamp(1_730_419_200, 0).unwrap_or_default();
    let mut say = |name: &str, value: &str| path.extend(["&", name, "=", &escaped(value)]);
    let one = |chance: &mut Random, of: &[&str]| of[below(chance, of.len())].to_owned();
    match below(chance, 10) {
        0 if filter.statuses.is_empty() => {
            filter.statuses = vec![one(chance, &STATUSES)];
            say("filter[status]", &filter.statuses[0]);
        }
        1 if filter.financial_statuses.is_empty() => {
            filter.financial_statuses = vec![one(chance, &FINANCIAL)];
            say("filter[financial_status]", &filter.financial_statuses[0]);
        }
        2 if filter.channels.is_empty() => {
            filter.channels = vec![one(chance, &["api", "import"])];
            say("filter[channel]", &filter.channels[0]);
        }
        3 if filter.countries.is_empty() => {
            filter.countries = vec![pick(chance, &samples.countries).to_owned()];
            say("filter[country]", &filter.countries[0]);
        }
        4 if filter.currencies.is_empty() => {
            filter.currencies = vec![one(chance, &["GBP", "EUR", "USD"])];
            say("filter[currency]", &filter.currencies[0]);
        }
        5 if filter.placed_from.is_none() => {
            let from = opened + TimeDelta::days(i64::try_from(below(chance, 730)).unwrap_or(0));
            let days = [1, 7, 30, 365][below(chance, 4)];
            let before = from + TimeDelta::days(days);
            (filter.placed_from, filter.placed_before) = (Some(from), Some(before));
            say("filter[placed_at][gte]", &from.to_rfc3339());
            say("filter[placed_at][lt]", &before.to_rfc3339());
        }
        6 if filter.total_from.is_none() => {
            let from = [1_000, 3_000, 20_000][below(chance, 3)];
            filter.total_from = Some(from);
            say("filter[total_minor][gte]", &from.to_string());
        }
        7 if filter.customer.is_none() => {
            filter.customer = Some(pick(chance, &samples.customers).to_owned());
            say("filter[customer]", filter.customer.as_deref().unwrap_or_default());
        }
        8 if filter.sku.is_none() => {
            filter.sku = Some(pick(chance, &samples.skus).to_owned());
            say("filter[sku]", filter.sku.as_deref().unwrap_or_default());
        }
        9 if filter.search.is_none() => {
            let number = pick(chance, &samples.numbers);
            let length = 3 + below(chance, number.len().saturating_sub(2));
            filter.search = Some(number.chars().take(length).collect());
            say("q", filter.search.as_deref().unwrap_or_default());
        }
        _ => {}
    }
}
