//! Invoice lines as the history of a shop: what was sold, corrected and given back.

use std::{collections::HashMap, io::Read};

use chrono::{DateTime, Utc};
use event_schemas::{
    money::{Currency, Money},
    order::ChargeKind,
};

use super::cancellations;
use crate::import::{
    amount,
    columns::ONLINE_RETAIL,
    problem::{Place, Problem, Problems, shown},
    table::{self, Row},
};

/// Units of one line: the bound of one receipt.
const QUANTITY_MAX: i64 = domain::inventory::QUANTITY_MAX as i64;
/// Characters of an invoice number, which becomes the number of the order.
const NUMBER_CHARS_MAX: usize = domain::order::NUMBER_CHARS_MAX;
/// Characters of a code, a description, a customer and a country.
const TEXT_CHARS_MAX: usize = domain::catalog::TEXT_CHARS_MAX;

/// Everything a file tells, in its order.
#[derive(Debug, Default)]
pub struct History {
    /// What is sold, stocked or corrected, by the code's first row.
    pub(crate) articles: Vec<Article>,
    /// Paid orders.
    pub(crate) orders: Vec<Invoice>,
    /// Invoices of no value and no customer: somebody put the count of the stock right.
    pub(crate) corrections: Vec<Invoice>,
    /// Invoices whose number begins with `C`.
    pub(crate) cancellations: Vec<Cancellation>,
}

/// A product known by its code only.
#[derive(Clone, Debug)]
pub(crate) struct Article {
    pub(crate) place: Place,
    pub(crate) code: String,
    /// First description that is not empty, else the code.
    pub(crate) title: String,
    /// First price above zero; zero for what was only given away; none for what was never sold.
    pub(crate) price: Option<Money>,
    /// When it is first heard of.
    pub(crate) at: DateTime<Utc>,
}

/// All lines of one number.
#[derive(Clone, Debug)]
pub(crate) struct Invoice {
    /// Of its first line.
    pub(crate) place: Place,
    pub(crate) number: String,
    pub(crate) at: DateTime<Utc>,
    /// None for a guest.
    pub(crate) customer: Option<String>,
    pub(crate) country: Option<String>,
    pub(crate) lines: Vec<Line>,
}

/// One row.
#[derive(Clone, Debug)]
pub(crate) struct Line {
    pub(crate) place: Place,
    pub(crate) code: String,
    /// None for a product.
    pub(crate) charge: Option<ChargeKind>,
    pub(crate) title: String,
    /// As in the file: below zero in cancellations, for reductions and corrections. Never zero.
    pub(crate) quantity: i64,
    pub(crate) unit_price: Money,
    /// `quantity` times `unit_price`.
    pub(crate) amount: Money,
}

/// An invoice that gives money back.
#[derive(Clone, Debug)]
pub(crate) struct Cancellation {
    pub(crate) invoice: Invoice,
    /// What goes back; above zero.
    pub(crate) amount: Money,
    /// What it takes back; none if the file does not hold it.
    pub(crate) of: Option<Original>,
}

/// The order a cancellation belongs to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Original {
    /// Index into [`History::orders`].
    pub(crate) order: usize,
    /// Units that come back, by index among the order's product lines.
    pub(crate) lines: Vec<(usize, u32)>,
}

impl Invoice {
    /// Lines that are products, in order.
    pub(crate) fn products(&self) -> impl Iterator<Item = &Line> {
        self.lines.iter().filter(|line| line.charge.is_none())
    }

    /// Sum of all lines; none if it does not fit.
    fn total(&self, currency: Currency) -> Option<Money> {
        Money::sum(currency, self.lines.iter().map(|line| line.amount))
    }

    fn is_cancellation(&self) -> bool {
        self.number.starts_with(['C', 'c'])
    }
}

/// Reads a file and checks all that can be known without the store.
pub fn read(file: impl Read, currency: Currency, problems: &mut Problems) -> History {
    let mut invoices: Vec<Invoice> = Vec::new();
    let mut numbers: HashMap<String, usize> = HashMap::new();
    table::read(file, &ONLINE_RETAIL, problems, |row, problems| {
        let read = line(&row, currency).and_then(|line| {
            let head = head(&row)?;
            let index = *numbers.entry(head.number.clone()).or_insert(invoices.len());
            match invoices.get_mut(index) {
                Some(invoice) => same_customer(invoice, &head, &row)?.lines.push(line),
                None => invoices.push(Invoice { lines: vec![line], ..head }),
            }
            Ok(())
        });
        if let Err(problem) = read {
            problems.push(problem);
        }
    });
    let mut history = History::default();
    for invoice in invoices {
        if let Err(problem) = history.add(invoice, currency) {
            problems.push(problem);
        }
    }
    problems.sort();
    history.articles = articles(&history);
    cancellations::find_originals(&mut history);
    history
}

/// The invoice a row belongs to, without lines.
fn head(row: &Row<'_>) -> Result<Invoice, Problem> {
    let number = text(row, "InvoiceNo", NUMBER_CHARS_MAX)?;
    if number.is_empty() {
        return Err(row.problem("InvoiceNo", "is empty; every row names its invoice"));
    }
    let some = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
    Ok(Invoice {
        place: row.place,
        number: number.to_owned(),
        at: amount::moment(row, "InvoiceDate")?,
        customer: some(text(row, "CustomerID", TEXT_CHARS_MAX)?),
        country: some(text(row, "Country", TEXT_CHARS_MAX)?),
        lines: vec![],
    })
}

fn line(row: &Row<'_>, currency: Currency) -> Result<Line, Problem> {
    let code = text(row, "StockCode", TEXT_CHARS_MAX)?.to_ascii_uppercase();
    if code.is_empty() {
        return Err(row.problem("StockCode", "is empty; every row names what it is about"));
    }
    let title = text(row, "Description", TEXT_CHARS_MAX)?.to_owned();
    let quantity = amount::whole(row, "Quantity")?;
    if quantity == 0 || QUANTITY_MAX < quantity.saturating_abs() {
        let message =
            format!("must be between 1 and {QUANTITY_MAX}, or below zero; not {quantity}");
        return Err(row.problem("Quantity", message));
    }
    let unit_price = amount::price(row, "UnitPrice", currency)?;
    let amount = unit_price.checked_mul(quantity);
    let amount = amount.ok_or_else(|| row.problem("UnitPrice", "times quantity is too large"))?;
    Ok(Line { place: row.place, charge: charge(&code), code, title, quantity, unit_price, amount })
}

/// What is no product but money on an order. These are the codes of the data set.
fn charge(code: &str) -> Option<ChargeKind> {
    match code {
        "POST" | "DOT" | "C2" => Some(ChargeKind::Postage),
        "D" => Some(ChargeKind::Discount),
        "M" | "ADJUST" | "ADJUST2" | "B" | "S" => Some(ChargeKind::Manual),
        "BANK CHARGES" | "AMAZONFEE" | "CRUK" => Some(ChargeKind::Fee),
        _ => None,
    }
}

fn text<'a>(row: &Row<'a>, column: &str, max: usize) -> Result<&'a str, Problem> {
    let text = row.get(column);
    if max < text.chars().count() {
        return Err(row.problem(column, format!("is longer than {max} characters; shorten it")));
    }
    if text.chars().any(char::is_control) {
        let message = format!("`{}` has a line break or other control character", shown(text));
        return Err(row.problem(column, message));
    }
    Ok(text)
}

/// Lines of an invoice may differ by a minute in their times, but not in their customer.
fn same_customer<'a>(
    invoice: &'a mut Invoice,
    head: &Invoice,
    row: &Row<'_>,
) -> Result<&'a mut Invoice, Problem> {
    if invoice.customer == head.customer {
        return Ok(invoice);
    }
    let message = format!(
        "differs from {}, which is of the same invoice `{}`",
        invoice.place,
        shown(&invoice.number)
    );
    Err(row.problem("CustomerID", message))
}

impl History {
    /// Puts an invoice where it belongs.
    fn add(&mut self, invoice: Invoice, currency: Currency) -> Result<(), Problem> {
        let too_large = || {
            Problem::at(invoice.place, "the sum of the invoice is too large").in_column("UnitPrice")
        };
        let total = invoice.total(currency).ok_or_else(too_large)?;
        if !domain::pricing::are_bounded(invoice.lines.iter().map(|line| line.amount)) {
            return Err(too_large());
        }
        if invoice.is_cancellation() {
            check_cancellation(&invoice, total)?;
            let amount = total.checked_neg().ok_or_else(too_large)?;
            self.cancellations.push(Cancellation { invoice, amount, of: None });
        } else if invoice.customer.is_none() && invoice.lines.iter().all(is_free) {
            check_correction(&invoice)?;
            self.corrections.push(invoice);
        } else {
            check_order(&invoice, total)?;
            self.orders.push(invoice);
        }
        Ok(())
    }
}

/// The products of orders and corrections, each by its first row. What was only ever given back
/// needs none: the refund keeps the words of its document.
fn articles(history: &History) -> Vec<Article> {
    let sold = history.orders.iter().map(|invoice| (invoice, true));
    let corrected = history.corrections.iter().map(|invoice| (invoice, false));
    let mut lines: Vec<(&Line, DateTime<Utc>, bool)> = sold
        .chain(corrected)
        .flat_map(|(invoice, sold)| invoice.products().map(move |line| (line, invoice.at, sold)))
        .collect();
    lines.sort_by_key(|(line, _, _)| line.place.row);
    let mut articles: Vec<Article> = Vec::new();
    let mut by_code: HashMap<&str, usize> = HashMap::new();
    for (line, at, sold) in lines {
        let index = *by_code.entry(&line.code).or_insert(articles.len());
        if index == articles.len() {
            let (place, code) = (line.place, line.code.clone());
            articles.push(Article { place, code, title: String::new(), price: None, at });
        }
        let article = &mut articles[index];
        if article.title.is_empty() {
            article.title.clone_from(&line.title);
        }
        if sold && article.price.is_none_or(|price| price.amount_minor == 0) {
            article.price = Some(line.unit_price);
        }
    }
    for article in &mut articles {
        if article.title.is_empty() {
            article.title.clone_from(&article.code);
        }
    }
    articles
}

fn is_free(line: &Line) -> bool {
    line.unit_price.amount_minor == 0
}

fn check_cancellation(invoice: &Invoice, total: Money) -> Result<(), Problem> {
    if let Some(line) = invoice.lines.iter().find(|line| line.quantity > 0) {
        let message = format!(
            "is above zero in `{}`, which cancels; its quantities are negative",
            shown(&invoice.number)
        );
        return Err(Problem::at(line.place, message).in_column("Quantity"));
    }
    if total.amount_minor == 0 {
        let message = "the cancellation has no value, so there is nothing to give back";
        return Err(Problem::at(invoice.place, message).in_column("UnitPrice"));
    }
    Ok(())
}

fn check_correction(invoice: &Invoice) -> Result<(), Problem> {
    match invoice.lines.iter().find(|line| line.charge.is_some()) {
        Some(line) => {
            let message = "is no product and has no value, so there is nothing to take over; \
                           remove the row";
            Err(Problem::at(line.place, message).in_column("StockCode"))
        }
        None => Ok(()),
    }
}

fn check_order(invoice: &Invoice, total: Money) -> Result<(), Problem> {
    if let Some(line) = invoice.products().find(|line| line.quantity < 0) {
        let message = "is below zero in an order; an invoice that takes something back has a \
                       number that begins with C";
        return Err(Problem::at(line.place, message).in_column("Quantity"));
    }
    let mut units: HashMap<&str, i64> = HashMap::new();
    for line in invoice.products() {
        // The stock of a code is held as a whole, whatever lines it stands on.
        let sum = units.entry(&line.code).or_default();
        *sum += line.quantity;
        if QUANTITY_MAX < *sum {
            let message =
                format!("adds up to more than {QUANTITY_MAX} of `{}` in one order", line.code);
            return Err(Problem::at(line.place, message).in_column("Quantity"));
        }
    }
    if total.amount_minor < 0 {
        let message = "the sum of the invoice is below zero, which no order can be";
        return Err(Problem::at(invoice.place, message).in_column("UnitPrice"));
    }
    Ok(())
}

#[cfg(test)]
mod tests;
