//! Days and months of `analytics_product_sales`, kept in memory as they were read.
//!
//! What is kept is used only while `analytics_product_spans` says, in the snapshot of the reader,
//! that nothing was added since: an answer is the same with and without it.

use std::{
    collections::{BTreeMap, HashMap},
    fmt,
    ops::AddAssign,
    sync::Arc,
};

use chrono::{Datelike as _, Months, NaiveDate};
use event_schemas::ids::StoreId;
use foldhash::fast::RandomState;
use futures::TryStreamExt as _;
use quick_cache::{Weighter, sync::Cache};
use sqlx::PgConnection;
use uuid::Uuid;

/// Bytes of all that is kept: four million products of a day or month.
const BYTES_MAX: u64 = 128 * 1024 * 1024;

/// Days and months kept, about: sizes the cache's own tables.
const PIECES: usize = 16_384;

/// Bytes of a piece beside its rows: key, counters, pointers.
const PIECE_OVERHEAD: usize = 256;

/// Whole days and months of product sales, of every store. Cheap to ask, and bounded.
pub struct Kept {
    pieces: Cache<Key, Arc<Piece>, Weigh>,
}

/// Length of a stored row's time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Span {
    Day,
    Month,
}

/// Whole days or months in a row.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stretch {
    pub(super) span: Span,
    pub(super) first: NaiveDate,
    /// The first that does not belong to it.
    pub(super) beyond: NaiveDate,
}

/// What a product sold, in minor units of one currency.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Totals {
    pub(super) units: i64,
    pub(super) revenue: i64,
    pub(super) returned_units: i64,
    pub(super) returned: i64,
}

/// By product.
pub(super) type Sums = HashMap<Uuid, Totals, RandomState>;

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Key {
    store_id: Uuid,
    currency: String,
    span: Span,
    starts_on: NaiveDate,
}

/// A day or month as it was read.
pub(super) struct Piece {
    state: State,
    /// Product, units, revenue.
    sold: Vec<(Uuid, i64, i64)>,
    /// Product, units, amount: of few products anything comes back.
    returned: Vec<(Uuid, i64, i64)>,
}

/// What tells one state of the rows of a day or month from another: the table they are in, which a
/// rebuild replaces, and how much was added to them.
type State = (u32, i64);

#[derive(Clone)]
struct Weigh;

impl Weighter<Key, Arc<Piece>> for Weigh {
    fn weight(&self, _: &Key, piece: &Arc<Piece>) -> u64 {
        let rows = piece.sold.len() + piece.returned.len();
        (rows * size_of::<(Uuid, i64, i64)>() + PIECE_OVERHEAD) as u64
    }
}

impl Kept {
    /// With nothing in it.
    pub fn new() -> Kept {
        Kept { pieces: Cache::with_weighter(PIECES, BYTES_MAX, Weigh) }
    }

    /// All days and months of `stretches` in which anything was sold, read where what is kept does
    /// not hold any more. One round trip, two if anything has to be read.
    pub(super) async fn read(
        &self,
        conn: &mut PgConnection,
        of: (StoreId, &str),
        stretches: &[Stretch],
    ) -> Result<Vec<Arc<Piece>>, sqlx::Error> {
        let Some(states) = states(conn, of, stretches).await? else { return Ok(Vec::new()) };
        let (mut pieces, mut missing) = (Vec::new(), BTreeMap::new());
        for stretch in stretches {
            self.choose(of, *stretch, &states, &mut |(span, starts_on), state| {
                let key = key(of, span, starts_on);
                match self.pieces.get(&key).filter(|piece| piece.state == state) {
                    Some(piece) => pieces.push(piece),
                    None => drop(missing.insert((span, starts_on), Piece::empty(state))),
                }
            });
        }
        if missing.is_empty() {
            return Ok(pieces);
        }
        fill(conn, of, &mut missing).await?;
        for ((span, starts_on), mut piece) in missing {
            piece.sold.shrink_to_fit();
            piece.returned.shrink_to_fit();
            let piece = Arc::new(piece);
            self.pieces.insert(key(of, span, starts_on), Arc::clone(&piece));
            pieces.push(piece);
        }
        Ok(pieces)
    }

    /// The days and months to add up. A month that has changed since it was kept is one in which
    /// things are sold just now: of its days only the last will change.
    fn choose(
        &self,
        of: (StoreId, &str),
        Stretch { span, first, beyond }: Stretch,
        states: &BTreeMap<(Span, NaiveDate), State>,
        wanted: &mut impl FnMut((Span, NaiveDate), State),
    ) {
        for (&(span, starts_on), &state) in states.range((span, first)..(span, beyond)) {
            let old = |piece: Arc<Piece>| span == Span::Month && piece.state != state;
            let changes = self.pieces.get(&key(of, span, starts_on)).is_some_and(old);
            let next = starts_on.with_day(1).and_then(|day| day.checked_add_months(Months::new(1)));
            match next {
                Some(next) if changes => states
                    .range((Span::Day, starts_on)..(Span::Day, next))
                    .for_each(|(day, state)| wanted(*day, *state)),
                _ => wanted((span, starts_on), state),
            }
        }
    }
}

impl Default for Kept {
    fn default() -> Kept {
        Kept::new()
    }
}

impl fmt::Debug for Kept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Kept").field("pieces", &self.pieces.len()).finish_non_exhaustive()
    }
}

fn key((store_id, currency): (StoreId, &str), span: Span, starts_on: NaiveDate) -> Key {
    Key { store_id: store_id.0, currency: currency.to_owned(), span, starts_on }
}

/// Of every day and month between the first and the last that is wanted; `None` if none is.
async fn states(
    conn: &mut PgConnection,
    (store_id, currency): (StoreId, &str),
    stretches: &[Stretch],
) -> Result<Option<BTreeMap<(Span, NaiveDate), State>>, sqlx::Error> {
    let first = stretches.iter().map(|stretch| stretch.first).min();
    let beyond = stretches.iter().map(|stretch| stretch.beyond).max();
    let (Some(first), Some(beyond)) = (first, beyond) else { return Ok(None) };
    let rows = sqlx::query!(
        r#"SELECT span, starts_on, additions,
                  'analytics_product_sales'::regclass::oid AS "source!"
             FROM analytics_product_spans
            WHERE store_id = $1 AND currency = $2 AND span IN ('day', 'month')
              AND starts_on >= $3 AND starts_on < $4"#,
        store_id.0,
        currency,
        first,
        beyond
    );
    let rows = rows.fetch_all(conn).await?.into_iter();
    let state = |source: sqlx::postgres::types::Oid, additions| (source.0, additions);
    let states =
        rows.map(|row| ((Span::of(&row.span), row.starts_on), state(row.source, row.additions)));
    Ok(Some(states.collect()))
}

/// Reads the rows of days and months.
async fn fill(
    conn: &mut PgConnection,
    (store_id, currency): (StoreId, &str),
    pieces: &mut BTreeMap<(Span, NaiveDate), Piece>,
) -> Result<(), sqlx::Error> {
    let (spans, days): (Vec<String>, Vec<NaiveDate>) =
        pieces.keys().map(|(span, starts_on)| (span.name().to_owned(), *starts_on)).unzip();
    let mut rows = sqlx::query!(
        "SELECT s.span, s.starts_on, s.product_id, s.units, s.revenue_minor, s.returned_units,
                s.returned_minor
           FROM unnest($3::text[], $4::date[]) AS wanted (span, starts_on)
           JOIN analytics_product_sales s
             ON s.store_id = $1 AND s.currency = $2
            AND s.span = wanted.span AND s.starts_on = wanted.starts_on",
        store_id.0,
        currency,
        &spans,
        &days
    )
    .fetch(conn);
    while let Some(row) = rows.try_next().await? {
        let Some(piece) = pieces.get_mut(&(Span::of(&row.span), row.starts_on)) else { continue };
        piece.sold.push((row.product_id, row.units, row.revenue_minor));
        if row.returned_units != 0 || row.returned_minor != 0 {
            piece.returned.push((row.product_id, row.returned_units, row.returned_minor));
        }
    }
    Ok(())
}

impl Span {
    /// As stored.
    pub(super) fn name(self) -> &'static str {
        match self {
            Span::Day => "day",
            Span::Month => "month",
        }
    }

    fn of(name: &str) -> Span {
        if name == "day" { Span::Day } else { Span::Month }
    }
}

impl Piece {
    fn empty(state: State) -> Piece {
        Piece { state, sold: Vec::new(), returned: Vec::new() }
    }

    /// Adds what each product sold.
    pub(super) fn add_to(&self, sums: &mut Sums) {
        for &(product_id, units, revenue) in &self.sold {
            *sums.entry(product_id).or_default() += Totals { units, revenue, ..Totals::default() };
        }
        for &(product_id, returned_units, returned) in &self.returned {
            let more = Totals { returned_units, returned, ..Totals::default() };
            *sums.entry(product_id).or_default() += more;
        }
    }
}

impl AddAssign for Totals {
    fn add_assign(&mut self, more: Totals) {
        self.units = self.units.saturating_add(more.units);
        self.revenue = self.revenue.saturating_add(more.revenue);
        self.returned_units = self.returned_units.saturating_add(more.returned_units);
        self.returned = self.returned.saturating_add(more.returned);
    }
}
