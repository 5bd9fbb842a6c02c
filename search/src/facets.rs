//! How many of the found products have which value.

use std::collections::HashMap;

use tantivy::columnar::{Column, StrColumn};
use tantivy::{DocId, SegmentReader};

use crate::schema::{CATEGORY, CURRENCY, IN_STOCK, PRICE, TAG, VENDOR, folded_tag};

/// Values of a facet in an answer, the most frequent first: more is no choice for people.
pub const VALUES_MAX: usize = 50;

/// Values of a segment that are looked at, the most frequent first. Counts are exact as long as a
/// segment has no more of them.
const CANDIDATES_MAX: usize = 2_000;

/// Where price ranges begin, in minor units: 0, 1, 2, 5, 10, 20, 50, …, up to the last such number
/// of an `i64`. They fit any currency, and do not move when prices do.
const STARTS: [i64; 58] = starts();

const fn starts() -> [i64; 58] {
    let (mut starts, mut power, mut nth) = ([0; 58], 1, 1);
    while nth < starts.len() {
        starts[nth] = power;
        starts[nth + 1] = power * 2;
        starts[nth + 2] = power * 5;
        nth += 3;
        if nth < starts.len() {
            power *= 10;
        }
    }
    starts
}

/// A choice that narrows a search.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Facet {
    Tags,
    Category,
    Vendor,
    Price,
    InStock,
}

/// A value and how many of the found products have it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Count {
    pub value: String,
    pub count: u64,
}

/// Prices from here to below there, and how many of the found products cost that.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PriceRange {
    pub currency: String,
    /// In minor units.
    pub from: i64,
    /// In minor units, not included; `None` for the last range there can be.
    pub to: Option<i64>,
    pub count: u64,
}

/// What was asked for, over all found products. At most [`VALUES_MAX`] values each, the most
/// frequent first; prices from low to high.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facets {
    pub tags: Option<Vec<Count>>,
    pub categories: Option<Vec<Count>>,
    pub vendors: Option<Vec<Count>>,
    pub prices: Option<Vec<PriceRange>>,
    /// How many are in stock, and how many are not.
    pub in_stock: Option<(u64, u64)>,
}

/// Counts of one segment, and the columns they are taken from.
pub(crate) struct Counter {
    tags: Option<Values>,
    categories: Option<Values>,
    vendors: Option<Values>,
    prices: Option<Prices>,
    in_stock: Option<(Column<bool>, [u64; 2])>,
}

struct Values {
    column: StrColumn,
    counts: Vec<u64>,
}

struct Prices {
    prices: Column<i64>,
    currencies: StrColumn,
    /// By currency and range.
    counts: HashMap<(u64, usize), u64>,
}

/// Counts of all segments so far, by name.
#[derive(Default)]
pub(crate) struct Totals {
    tags: Option<HashMap<String, u64>>,
    categories: Option<HashMap<String, u64>>,
    vendors: Option<HashMap<String, u64>>,
    prices: Option<HashMap<(String, usize), u64>>,
    in_stock: Option<(u64, u64)>,
}

impl Counter {
    pub(crate) fn new(segment: &SegmentReader, wanted: &[Facet]) -> tantivy::Result<Counter> {
        let columns = segment.fast_fields();
        let values = |facet, name| -> tantivy::Result<Option<Values>> {
            let column = if wanted.contains(&facet) { columns.str(name)? } else { None };
            Ok(column.map(|column| {
                let counts = vec![0; column.num_terms()];
                Values { column, counts }
            }))
        };
        let prices = match columns.str(CURRENCY)? {
            Some(currencies) if wanted.contains(&Facet::Price) => {
                Some(Prices { prices: columns.i64(PRICE)?, currencies, counts: HashMap::new() })
            }
            _ => None,
        };
        let in_stock = wanted.contains(&Facet::InStock);
        let in_stock = if in_stock { Some((columns.bool(IN_STOCK)?, [0; 2])) } else { None };
        Ok(Counter {
            tags: values(Facet::Tags, TAG)?,
            categories: values(Facet::Category, CATEGORY)?,
            vendors: values(Facet::Vendor, VENDOR)?,
            prices,
            in_stock,
        })
    }

    pub(crate) fn count(&mut self, doc: DocId) {
        for values in [&mut self.tags, &mut self.categories, &mut self.vendors] {
            let Some(Values { column, counts }) = values else { continue };
            for ord in column.ords().values_for_doc(doc) {
                counts[index(ord)] += 1;
            }
        }
        if let Some(Prices { prices, currencies, counts }) = &mut self.prices {
            let range = prices.first(doc).map(range_of);
            if let Some((range, currency)) = range.zip(currencies.ords().first(doc)) {
                *counts.entry((currency, range)).or_default() += 1;
            }
        }
        if let Some((column, counts)) = &mut self.in_stock {
            counts[usize::from(column.first(doc) == Some(true))] += 1;
        }
    }

    pub(crate) fn finish(self) -> std::io::Result<Totals> {
        let named = |values: Option<Values>| values.map(Values::finish).transpose();
        let prices = self.prices.map(|Prices { currencies, counts, .. }| {
            let named = counts.into_iter().map(|((currency, range), count)| {
                let mut name = String::new();
                currencies.ord_to_str(currency, &mut name)?;
                Ok(((name, range), count))
            });
            named.collect::<std::io::Result<_>>()
        });
        Ok(Totals {
            tags: named(self.tags)?,
            categories: named(self.categories)?,
            vendors: named(self.vendors)?,
            prices: prices.transpose()?,
            in_stock: self.in_stock.map(|(_, [out, in_stock])| (in_stock, out)),
        })
    }
}

impl Values {
    fn finish(self) -> std::io::Result<HashMap<String, u64>> {
        let found = (0u64..).zip(&self.counts).filter(|(_, count)| **count > 0);
        let mut found: Vec<(u64, u64)> = found.map(|(ord, count)| (ord, *count)).collect();
        if found.len() > CANDIDATES_MAX {
            found.select_nth_unstable_by_key(CANDIDATES_MAX, |(_, count)| !count);
            found.truncate(CANDIDATES_MAX);
            found.sort_unstable();
        }
        let ords: Vec<u64> = found.iter().map(|(ord, _)| *ord).collect();
        let mut counts = found.iter().map(|(_, count)| *count);
        let mut named = HashMap::with_capacity(ords.len());
        self.column.dictionary().sorted_ords_to_term_cb(&ords, |name| {
            let name = String::from_utf8_lossy(name).into_owned();
            named.insert(name, counts.next().unwrap_or_default());
        })?;
        Ok(named)
    }
}

impl Totals {
    pub(crate) fn add(&mut self, other: Totals) {
        add(&mut self.tags, other.tags);
        add(&mut self.categories, other.categories);
        add(&mut self.vendors, other.vendors);
        add(&mut self.prices, other.prices);
        if let Some((more_in, more_out)) = other.in_stock {
            let (in_stock, out) = self.in_stock.get_or_insert_default();
            *in_stock += more_in;
            *out += more_out;
        }
    }

    /// What was `wanted` is there, be it empty.
    pub(crate) fn finish(self, wanted: &[Facet]) -> Facets {
        let prices = self.prices.unwrap_or_default().into_iter();
        let prices = prices.map(|((currency, range), count)| PriceRange {
            currency,
            from: STARTS[range],
            to: STARTS.get(range + 1).copied(),
            count,
        });
        let mut prices: Vec<PriceRange> = prices.collect();
        prices.sort_by(|a, b| (&a.currency, a.from).cmp(&(&b.currency, b.from)));
        let asked = |facet| wanted.contains(&facet);
        Facets {
            tags: asked(Facet::Tags).then(|| frequent(one_spelling(self.tags.unwrap_or_default()))),
            categories: asked(Facet::Category)
                .then(|| frequent(self.categories.unwrap_or_default())),
            vendors: asked(Facet::Vendor).then(|| frequent(self.vendors.unwrap_or_default())),
            prices: asked(Facet::Price).then_some(prices),
            in_stock: asked(Facet::InStock).then(|| self.in_stock.unwrap_or_default()),
        }
    }
}

fn add<K: Eq + std::hash::Hash>(
    totals: &mut Option<HashMap<K, u64>>,
    more: Option<HashMap<K, u64>>,
) {
    let Some(more) = more else { return };
    let totals = totals.get_or_insert_default();
    for (key, count) in more {
        *totals.entry(key).or_default() += count;
    }
}

/// Tags that differ in case only are one, spelt as it is most often.
fn one_spelling(tags: HashMap<String, u64>) -> HashMap<String, u64> {
    let mut by_fold: HashMap<String, (u64, u64, String)> = HashMap::with_capacity(tags.len());
    for (tag, count) in tags {
        let (total, most, spelling) = by_fold.entry(folded_tag(&tag)).or_default();
        *total += count;
        if spelling.is_empty() || (count, &*spelling) > (*most, &tag) {
            (*most, *spelling) = (count, tag);
        }
    }
    by_fold.into_values().map(|(total, _, spelling)| (spelling, total)).collect()
}

fn frequent(counts: HashMap<String, u64>) -> Vec<Count> {
    let counts = counts.into_iter().map(|(value, count)| Count { value, count });
    let mut counts: Vec<Count> = counts.collect();
    counts.sort_by(|a, b| b.count.cmp(&a.count).then_with(|| a.value.cmp(&b.value)));
    counts.truncate(VALUES_MAX);
    counts
}

/// Number of the range a price is in.
fn range_of(minor: i64) -> usize {
    STARTS.partition_point(|start| *start <= minor).saturating_sub(1)
}

fn index(ord: u64) -> usize {
    usize::try_from(ord).expect("values of a segment fit in memory")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn price_ranges_meet_without_gap() {
        let table = [(0, 0, 1), (1, 1, 2), (4, 2, 5), (5, 5, 10), (999, 500, 1000)];
        for (minor, from, to) in table {
            let range = range_of(minor);
            assert_eq!((STARTS[range], STARTS[range + 1]), (from, to), "{minor}");
        }
        assert!(STARTS.is_sorted_by(|a, b| a < b));
        assert_eq!(range_of(i64::MAX), STARTS.len() - 1);
        assert_eq!(range_of(i64::MIN), 0);
    }

    #[test]
    fn a_tag_is_spelt_as_it_is_most_often() {
        let tags = [("Vegan", 3), ("vegan", 2), ("VEGAN", 3), ("gift", 1)];
        let tags = tags.map(|(tag, count)| (tag.to_owned(), count)).into_iter().collect();
        let merged = frequent(one_spelling(tags));
        let expected = [("VEGAN", 8), ("gift", 1)];
        assert_eq!(merged, expected.map(|(tag, count)| Count { value: tag.to_owned(), count }));
    }
}
