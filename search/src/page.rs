//! One page of what matches, in one of the orders, and the facets of all of it. One pass over the
//! matches of each segment, which keeps the best and counts the rest.

use serde::{Deserialize, Serialize};
use tantivy::collector::{Collector, SegmentCollector};
use tantivy::columnar::{Column, StrColumn, TermOrdHit};
use tantivy::{DocId, Score, SegmentOrdinal, SegmentReader, i64_to_u64};
use uuid::Uuid;

use crate::facets::{Counter, Facet, Facets, Totals};
use crate::schema::{CREATED_AT, ID_HIGH, ID_LOW, PRICE, TITLE_ORDER};

/// Order of a result. Ties go by newest, then by id.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Sort {
    /// The whole title first, then by where the words were found.
    Relevance,
    /// Created last comes first.
    #[default]
    Newest,
    /// By title in lower case, code point by code point.
    Title,
    /// Cheapest first; what has no price comes last.
    PriceUp,
    /// Most expensive first; what has no price comes last.
    PriceDown,
}

/// A place in a result: between this product and the next.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Place {
    /// In lower case; empty unless the order is by title.
    title: String,
    /// What the order goes by; smaller comes first.
    rank: u64,
    /// Among equal ranks.
    then: u64,
    product_id: Uuid,
}

/// A found product.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hit {
    pub product_id: Uuid,
    /// The place right behind it.
    pub place: Place,
}

/// What a search found.
#[derive(Clone, Debug, Default)]
pub struct Found {
    /// In the order of the result; nearest to the place first if the page goes backward.
    pub hits: Vec<Hit>,
    /// All products that match, on whichever page.
    pub total: u64,
    pub facets: Facets,
}

/// Which page.
#[derive(Clone, Debug, Default)]
pub struct PageOf {
    pub sort: Sort,
    /// Only what comes after this place, or before it if `backward`.
    pub from: Option<Place>,
    pub backward: bool,
    /// Hits at most; 1 or more.
    pub limit: usize,
    /// To count over all matches.
    pub facets: Vec<Facet>,
}

/// Rank, then, id, as they compare in a segment: turned round if the page goes backward.
type Key = (u64, u64, u128);

/// Carries a page out.
pub(crate) struct Collecting<'a>(pub(crate) &'a PageOf);

impl Collector for Collecting<'_> {
    type Fruit = Found;
    type Child = SegmentPage;

    fn for_segment(
        &self,
        _: SegmentOrdinal,
        segment: &SegmentReader,
    ) -> tantivy::Result<SegmentPage> {
        let Collecting(page) = self;
        let columns = segment.fast_fields();
        let titles = match page.sort {
            Sort::Title => columns.str(TITLE_ORDER)?,
            _ => None,
        };
        let from = page.from.as_ref().map(|place| page.bound(place, titles.as_ref()));
        Ok(SegmentPage {
            sort: page.sort,
            backward: page.backward,
            limit: page.limit.max(1),
            from: from.transpose()?,
            ids: (columns.u64(ID_HIGH)?, columns.u64(ID_LOW)?),
            created: columns.i64(CREATED_AT)?,
            prices: columns.i64(PRICE)?,
            titles,
            best: Vec::with_capacity(2 * page.limit),
            worst: u64::MAX,
            total: 0,
            counter: Counter::new(segment, &page.facets)?,
        })
    }

    fn requires_scoring(&self) -> bool {
        self.0.sort == Sort::Relevance
    }

    fn merge_fruits(&self, segments: Vec<std::io::Result<Part>>) -> tantivy::Result<Found> {
        let Collecting(page) = self;
        let (mut places, mut total, mut totals) = (Vec::new(), 0, Totals::default());
        for part in segments {
            let part = part?;
            places.extend(part.places);
            total += part.total;
            totals.add(part.totals);
        }
        places.sort_unstable();
        if page.backward {
            places.reverse();
        }
        places.truncate(page.limit);
        let hits = places.into_iter().map(|place| Hit { product_id: place.product_id, place });
        Ok(Found { hits: hits.collect(), total, facets: totals.finish(&page.facets) })
    }
}

impl PageOf {
    /// The key of a segment that only the keys of the page are greater than.
    fn bound(&self, place: &Place, titles: Option<&StrColumn>) -> std::io::Result<Key> {
        let id = place.product_id.as_u128();
        let key = match titles {
            None => (place.rank, place.then, id),
            // Titles compare by their number in the segment, which may not have this one.
            Some(titles) => match titles.dictionary().term_ord_or_next(&place.title)? {
                TermOrdHit::Exact(title) => (title, place.then, id),
                // All of the next title comes after the place.
                TermOrdHit::Next(next) => match next.checked_sub(1) {
                    Some(last) => (last, u64::MAX, u128::MAX),
                    None => (0, 0, 0),
                },
            },
        };
        Ok(turned(key, self.backward))
    }
}

/// What a segment is asked for while its matches pass.
pub(crate) struct SegmentPage {
    sort: Sort,
    backward: bool,
    limit: usize,
    from: Option<Key>,
    ids: (Column<u64>, Column<u64>),
    created: Column<i64>,
    prices: Column<i64>,
    titles: Option<StrColumn>,
    /// Up to twice as many as the page has: only then the better half is picked.
    best: Vec<Key>,
    /// The worst rank of a better half; what is worse is not on the page.
    worst: u64,
    total: u64,
    counter: Counter,
}

/// What a segment has.
pub(crate) struct Part {
    places: Vec<Place>,
    total: u64,
    totals: Totals,
}

impl SegmentCollector for SegmentPage {
    type Fruit = std::io::Result<Part>;

    fn collect(&mut self, doc: DocId, score: Score) {
        self.total += 1;
        self.counter.count(doc);
        let rank = if self.backward { !self.rank(doc, score) } else { self.rank(doc, score) };
        // Most matches are neither on this page nor near it: one column says so.
        if rank > self.worst || self.from.is_some_and(|(from, ..)| rank < from) {
            return;
        }
        let (_, then, id) = turned((0, self.newest_first(doc), self.id(doc)), self.backward);
        let key = (rank, then, id);
        if self.from.is_none_or(|from| key > from) {
            self.best.push(key);
            if self.best.len() >= 2 * self.limit {
                let (_, worst, _) = self.best.select_nth_unstable(self.limit - 1);
                self.worst = worst.0;
                self.best.truncate(self.limit);
            }
        }
    }

    fn harvest(self) -> std::io::Result<Part> {
        let SegmentPage { backward, titles, best, total, counter, .. } = self;
        let places = best.into_iter().map(|key| {
            let (rank, then, id) = turned(key, backward);
            let product_id = Uuid::from_u128(id);
            let mut title = String::new();
            let Some(titles) = &titles else { return Ok(Place { title, rank, then, product_id }) };
            titles.ord_to_str(rank, &mut title)?;
            Ok(Place { title, rank: 0, then, product_id })
        });
        let places = places.collect::<std::io::Result<_>>()?;
        Ok(Part { places, total, totals: counter.finish()? })
    }
}

impl SegmentPage {
    fn rank(&self, doc: DocId, score: Score) -> u64 {
        match self.sort {
            // Bits of positive floats compare like the floats.
            Sort::Relevance => !u64::from(score.to_bits()),
            Sort::Newest => self.newest_first(doc),
            Sort::Title => {
                let title = self.titles.as_ref().and_then(|titles| titles.ords().first(doc));
                title.unwrap_or(u64::MAX)
            }
            Sort::PriceUp => self.prices.first(doc).map_or(u64::MAX, i64_to_u64),
            Sort::PriceDown => self.prices.first(doc).map_or(u64::MAX, |price| !i64_to_u64(price)),
        }
    }

    fn newest_first(&self, doc: DocId) -> u64 {
        !i64_to_u64(self.created.first(doc).unwrap_or(i64::MIN))
    }

    fn id(&self, doc: DocId) -> u128 {
        let half = |column: &Column<u64>| u128::from(column.first(doc).unwrap_or_default());
        half(&self.ids.0) << 64 | half(&self.ids.1)
    }
}

/// The order of keys, or its reverse.
fn turned((rank, then, id): Key, backward: bool) -> Key {
    if backward { (!rank, !then, !id) } else { (rank, then, id) }
}
