//! Sixty days of a chocolate shop, thrown with loaded dice: the same throws on every machine.

use std::collections::BTreeMap;

use chrono::{DateTime, Datelike as _, Days, TimeDelta, Utc, Weekday};
use domain::catalog::NewProduct;
use domain::inventory::MAIN_LOCATION;
use event_schemas::ids::VariantId;

use super::{CELLAR, DAYS, Lot, pounds};

/// Orders in all.
const SALES: usize = 300;
/// Customers who come back.
const CUSTOMERS: u32 = 90;
/// Pence for carriage, and the value from which it is free.
const POSTAGE: i64 = 395;
const POSTAGE_FREE_FROM: i64 = 4_000;
/// Seed of the dice. Another one is another shop.
const SEED: u64 = 1_847;

/// A sale and what became of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Sale {
    /// Number of the order.
    pub(super) number: String,
    pub(super) at: DateTime<Utc>,
    /// None for a guest.
    pub(super) customer: Option<String>,
    pub(super) country: &'static str,
    pub(super) lines: Vec<Line>,
    /// Pence; zero if carriage is free.
    pub(super) postage: i64,
    pub(super) ending: Ending,
}

/// One line of a sale.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Line {
    pub(super) variant_id: VariantId,
    pub(super) quantity: u32,
    /// Pence.
    pub(super) price: i64,
}

/// What became of a sale.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ending {
    /// Paid, and kept.
    Kept,
    /// The card was refused; the shopper took another one.
    SecondCard,
    /// The card was refused and the shopper left.
    Left,
    /// Cancelled later, for a reason.
    Cancelled(TimeDelta, &'static str),
    /// One unit of the first line was refunded later, for a reason.
    Refunded(TimeDelta, &'static str),
}

/// A linear congruential generator with Knuth's constants: not random, only varied.
#[derive(Debug)]
struct Dice(u64);

impl Dice {
    /// A number below `sides`.
    fn roll(&mut self, sides: u32) -> u32 {
        const MULTIPLIER: u64 = 6_364_136_223_846_793_005;
        const INCREMENT: u64 = 1_442_695_040_888_963_407;
        self.0 = self.0.wrapping_mul(MULTIPLIER).wrapping_add(INCREMENT);
        // The low bits of such a generator repeat quickly, the high ones do not.
        let high = u32::try_from(self.0 >> 33).expect("31 bits fit");
        high % sides
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        let sides = u32::try_from(from.len()).expect("lists here are short");
        from[self.roll(sides) as usize]
    }
}

/// All sales, by time. `base` is midnight after the last day.
pub(super) fn sales(shelf: &[NewProduct], base: DateTime<Utc>) -> Vec<Sale> {
    let mut dice = Dice(SEED);
    let mut times: Vec<DateTime<Utc>> = (0..SALES).map(|_| moment(&mut dice, base)).collect();
    times.sort();
    let sale = |(index, at)| sale(&mut dice, shelf, index, at);
    times.into_iter().enumerate().map(sale).collect()
}

/// More at the weekend, and more as the shop becomes known.
fn moment(dice: &mut Dice, base: DateTime<Utc>) -> DateTime<Utc> {
    let days = u32::try_from(DAYS).expect("two months");
    // The smaller of two throws is nearer to the end, twice as often as not.
    let day =
        |dice: &mut Dice| base - Days::new(u64::from(1 + dice.roll(days).min(dice.roll(days))));
    let mut date = day(dice);
    if !matches!(date.weekday(), Weekday::Sat | Weekday::Sun) && dice.roll(3) == 0 {
        date = day(dice);
    }
    let minutes = 9 * 60 + dice.roll(12 * 60);
    date + TimeDelta::minutes(minutes.into())
}

fn sale(dice: &mut Dice, shelf: &[NewProduct], index: usize, at: DateTime<Utc>) -> Sale {
    let lines = lines(dice, shelf);
    let value: i64 = lines.iter().map(|line| line.price * i64::from(line.quantity)).sum();
    // Low numbers come back more often than high ones.
    let customer = 1 + dice.roll(CUSTOMERS).min(dice.roll(CUSTOMERS));
    let guest = dice.roll(4) == 0;
    let countries = ["United Kingdom"; 8].into_iter().chain(["Ireland", "France", "Germany"]);
    Sale {
        number: format!("CH-{}", 1_001 + index),
        at,
        customer: (!guest).then(|| format!("cust-{customer:04}")),
        country: dice.pick(&countries.collect::<Vec<_>>()),
        lines,
        postage: if value < POSTAGE_FREE_FROM { POSTAGE } else { 0 },
        ending: ending(dice),
    }
}

fn lines(dice: &mut Dice, shelf: &[NewProduct]) -> Vec<Line> {
    let count = dice.pick(&[1, 1, 1, 2, 2, 2, 3, 3, 4, 6]);
    let mut lines: Vec<Line> = Vec::new();
    for _ in 0..count {
        // Half of what is bought is what everybody buys.
        let loved = |product: &&NewProduct| product.tags.iter().any(|tag| tag == "bestseller");
        let product = if dice.roll(2) == 0 {
            dice.pick(&shelf.iter().filter(loved).collect::<Vec<_>>())
        } else {
            dice.pick(&shelf.iter().collect::<Vec<_>>())
        };
        let variant = dice.pick(&product.variants.iter().collect::<Vec<_>>());
        if lines.iter().any(|line| line.variant_id == variant.variant_id) {
            continue;
        }
        let price = variant.price.map_or(0, |price| price.amount_minor);
        let quantity = if price < 1_500 { dice.pick(&[1, 1, 1, 2, 2, 3, 5]) } else { 1 };
        lines.push(Line { variant_id: variant.variant_id, quantity, price });
    }
    lines
}

fn ending(dice: &mut Dice) -> Ending {
    match dice.roll(100) {
        0..=2 => {
            let reasons = ["ordered twice by mistake", "would arrive after the birthday"];
            Ending::Cancelled(TimeDelta::minutes((20 + dice.roll(600)).into()), dice.pick(&reasons))
        }
        3..=6 => {
            let reasons = ["arrived broken", "melted on the way", "one box was missing"];
            Ending::Refunded(TimeDelta::hours((40 + dice.roll(90)).into()), dice.pick(&reasons))
        }
        7..=8 => Ending::SecondCard,
        9..=10 => Ending::Left,
        _ => Ending::Kept,
    }
}

/// What has to be there on the first day: all that is sold and some more, most of it in the shop
/// and the rest in the cellar. Of a few variants nothing is left over, so that the shop also has
/// something that is sold out.
pub(super) fn opening_stock(shelf: &[NewProduct], sales: &[Sale]) -> Vec<Lot> {
    let mut sold: BTreeMap<VariantId, u32> = BTreeMap::new();
    for line in sales.iter().flat_map(|sale| &sale.lines) {
        *sold.entry(line.variant_id).or_default() += line.quantity;
    }
    let mut dice = Dice(SEED + 1);
    let mut lots = Vec::new();
    for variant in shelf.iter().flat_map(|product| &product.variants) {
        let needed = sold.get(&variant.variant_id).copied().unwrap_or(0);
        let spare = if dice.roll(20) == 0 { 0 } else { 5 + dice.roll(120) };
        let price = variant.price.map_or(0, |price| price.amount_minor);
        let cellar = (needed + spare) / 3;
        for (location, quantity) in [(MAIN_LOCATION, needed + spare - cellar), (CELLAR, cellar)] {
            if quantity > 0 {
                let unit_cost = pounds(price * 2 / 5);
                lots.push(Lot { variant_id: variant.variant_id, location, quantity, unit_cost });
            }
        }
    }
    lots
}
