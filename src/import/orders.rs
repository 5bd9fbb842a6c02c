//! An order history in the store: makes products of its codes, receives the stock its orders need,
//! checks out and captures, corrects stock, gives money back.
//!
//! The phases follow each other, because each rests on the one before: products, stock, orders,
//! corrections, cancellations. A killed run leaves some of them undone; the next one finds out
//! from the log what is missing.
//!
//! Stock arrives as one receipt per variant and run, for all orders and corrections of the file
//! that are still to come, dated and referenced by the first of them. A receipt per invoice line
//! would double the events and tell no more: the file knows what was sold, not when it came in.

use std::collections::HashMap;

use commands::inventory;
use domain::inventory::Correction;
use event_schemas::{ids::VariantId, inventory::StockItemEvent, money::Money};
use futures::FutureExt as _;

use super::{
    LOCATION,
    importer::{Failure, Importer, Outcome, tally},
    problem::Problems,
    report::Report,
};

mod articles;
mod cancellations;
mod file;
mod purchase;
mod refunds;
mod stock;

use file::{Cancellation, Invoice};
pub use file::{History, read};
use purchase::Standing;

/// What a run calls the things it counts.
pub const PRODUCTS: &str = "products";
/// See [`PRODUCTS`].
pub const RECEIPTS: &str = "receipts";
/// See [`PRODUCTS`].
pub const ORDERS: &str = "orders";
/// See [`PRODUCTS`].
pub const CORRECTIONS: &str = "stock corrections";
/// See [`PRODUCTS`].
pub const CANCELLATIONS: &str = "cancellations";

/// Variants by the merchant's code.
type Variants = HashMap<String, VariantId>;

impl History {
    /// What an import of it would do at most, in words, with the sums to check against.
    pub fn summary(&self) -> String {
        let sum = |amounts: &mut dyn Iterator<Item = Money>| {
            let first = amounts.next()?;
            Money::sum(first.currency, std::iter::once(first).chain(amounts))
        };
        let shown = |sum: Option<Money>| sum.map(|sum| format!(" of {sum}")).unwrap_or_default();
        let sold = sum(&mut self.orders.iter().flat_map(|it| &it.lines).map(|it| it.amount));
        let back = sum(&mut self.cancellations.iter().map(|it| it.amount));
        format!(
            "{} products, {} orders{}, {} stock corrections, {} cancellations{}",
            self.articles.len(),
            self.orders.len(),
            shown(sold),
            self.corrections.len(),
            self.cancellations.len(),
            shown(back)
        )
    }
}

/// Brings the store's history to what the file says.
pub async fn take_over(importer: &Importer, history: &History) -> anyhow::Result<Report> {
    let mut report = Report::default();
    let variants = articles::take_over(importer, history, &mut report).await?;
    // Before stock is counted, checkouts of a run that was killed end or give back what they hold.
    let work = history.orders.iter();
    let work = work.map(|it| (it.place, purchase::standing(importer, it).boxed())).collect();
    let standings = importer.each("looking", work, &mut report.problems).await?;
    let corrected = corrected(importer, history, &variants, &mut report.problems).await?;
    let open = Open { history, variants: &variants, standings: &standings, corrected: &corrected };
    stock::receive(importer, &open, &mut report).await?;
    buy(importer, &open, &mut report).await?;
    correct(importer, &open, &mut report).await?;
    refunds::take_over(importer, history, &mut report).await?;
    report.notes.push(format!("in the file: {}", history.summary()));
    report.problems.sort();
    Ok(report)
}

/// A file and what the store has of it already.
struct Open<'a> {
    history: &'a History,
    variants: &'a Variants,
    /// Beside the orders; none for those that cannot be taken over.
    standings: &'a [Option<Standing>],
    /// Beside the corrections: how many lines of each were made before.
    corrected: &'a [Option<usize>],
}

impl Open<'_> {
    /// Orders that are not in the store yet, and the attempt to begin with.
    fn orders(&self) -> impl Iterator<Item = (&Invoice, u32)> {
        let pairs = self.history.orders.iter().zip(self.standings);
        pairs.filter_map(|(order, standing)| match standing {
            Some(Standing::Open { attempt }) => Some((order, *attempt)),
            Some(Standing::Done) | None => None,
        })
    }

    /// Corrections that were not made yet, or not all of it, and how many lines were.
    fn corrections(&self) -> impl Iterator<Item = (&Invoice, usize)> {
        let pairs = self.history.corrections.iter().zip(self.corrected);
        let pairs = pairs.filter_map(|(invoice, made)| Some((invoice, (*made)?)));
        pairs.filter(|(invoice, made)| *made < invoice.lines.len())
    }
}

async fn buy(importer: &Importer, open: &Open<'_>, report: &mut Report) -> anyhow::Result<()> {
    let work = open.orders().map(|(order, attempt)| {
        (order.place, purchase::buy(importer, order, open.variants, attempt).boxed())
    });
    let done = importer.each(ORDERS, work.collect(), &mut report.problems).await?;
    let known = open.standings.iter().filter(|it| !matches!(it, Some(Standing::Open { .. })));
    let known = known.map(|standing| standing.map(|_| Outcome::Unchanged));
    report.tallies.push((ORDERS, tally(done.into_iter().chain(known))));
    Ok(())
}

/// How many lines of each correction were made before.
async fn corrected(
    importer: &Importer,
    history: &History,
    variants: &Variants,
    problems: &mut Problems,
) -> anyhow::Result<Vec<Option<usize>>> {
    let work = history
        .corrections
        .iter()
        .map(|invoice| (invoice.place, lines_made(importer, invoice, variants).boxed()));
    importer.each("looking", work.collect(), problems).await
}

/// Lines are made one after the other, and a killed run may have stopped between two. Several may
/// be of the same code: each is an event of its own.
async fn lines_made(
    importer: &Importer,
    invoice: &Invoice,
    variants: &Variants,
) -> Result<usize, Failure> {
    let reference = Some(invoice.number.as_str());
    let mut left: HashMap<&str, usize> = HashMap::new();
    for (index, line) in invoice.lines.iter().enumerate() {
        if !left.contains_key(line.code.as_str()) {
            let events = importer.stock_history(variant(variants, &line.code)?).await?;
            let made = events.iter().filter(|event| {
                matches!(event, StockItemEvent::Adjusted(it) if it.reference.as_deref() == reference)
            });
            left.insert(&line.code, made.count());
        }
        match left.get_mut(line.code.as_str()) {
            Some(left) if *left > 0 => *left -= 1,
            _ => return Ok(index),
        }
    }
    Ok(invoice.lines.len())
}

async fn correct(importer: &Importer, open: &Open<'_>, report: &mut Report) -> anyhow::Result<()> {
    let work = open.corrections().map(|(invoice, made)| {
        (invoice.place, one_correction(importer, (invoice, made), open.variants).boxed())
    });
    let done = importer.in_order(CORRECTIONS, work.collect(), &mut report.problems).await?;
    let known = open.history.corrections.iter().zip(open.corrected);
    let known = known.filter(|(it, made)| made.is_none_or(|made| made == it.lines.len()));
    let known = known.map(|(_, made)| made.map(|_| Outcome::Unchanged));
    report.tallies.push((CORRECTIONS, tally(done.into_iter().chain(known))));
    Ok(())
}

/// Makes the lines after the first `made` ones.
async fn one_correction(
    importer: &Importer,
    (invoice, made): (&Invoice, usize),
    variants: &Variants,
) -> Result<Outcome, Failure> {
    for (index, line) in invoice.lines.iter().enumerate().skip(made) {
        let correction = Correction {
            location: LOCATION.to_owned(),
            delta: line.quantity,
            reason: format!("stock correction {}", invoice.number),
            reference: Some(invoice.number.clone()),
            expected_on_hand: None,
        };
        let key = ["correction", &invoice.number, &index.to_string()];
        let intent = importer.intent(&key, invoice.at);
        let id = variant(variants, &line.code)?;
        inventory::adjust(&importer.ctx, &intent, id, correction).await?;
    }
    Ok(Outcome::Created)
}

/// The variant of a code, unless its product could not be made.
fn variant(variants: &Variants, code: &str) -> Result<VariantId, Failure> {
    variants.get(code).copied().ok_or_else(|| {
        let message = format!("needs product `{code}`, which could not be taken over");
        Failure::Refused(message)
    })
}
