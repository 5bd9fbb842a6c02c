//! The stock that orders and corrections of a file need.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use commands::inventory;
use domain::inventory::{QUANTITY_MAX, Receipt};
use event_schemas::{ids::VariantId, inventory::StockSource};
use futures::FutureExt as _;

use super::{Invoice, Open, RECEIPTS};
use crate::import::{
    LOCATION,
    importer::{Failure, Importer, Outcome, tally},
    problem::Place,
    report::Report,
};

/// What is still to leave the stock of a variant, and the first invoice that says so.
struct Need<'a> {
    variant_id: VariantId,
    quantity: u64,
    place: Place,
    reference: &'a str,
    at: DateTime<Utc>,
}

/// Receives what is missing of each variant.
pub(super) async fn receive(
    importer: &Importer,
    open: &Open<'_>,
    report: &mut Report,
) -> anyhow::Result<()> {
    let needs = needs(open);
    let work = needs.iter().map(|need| (need.place, cover(importer, need).boxed()));
    let done = importer.each(RECEIPTS, work.collect(), &mut report.problems).await?;
    report.tallies.push((RECEIPTS, tally(done)));
    Ok(())
}

/// In the order of the file, so that runs of the same file do the same.
fn needs<'a>(open: &'a Open<'_>) -> Vec<Need<'a>> {
    // An order takes what it has; a correction takes only if it is below zero.
    let orders = open.orders().map(|(order, _)| (order, 0, 1));
    let corrections = open.corrections().map(|(correction, made)| (correction, made, -1));
    let mut invoices: Vec<(&Invoice, usize, i64)> = orders.chain(corrections).collect();
    invoices.sort_by_key(|(invoice, ..)| invoice.place.row);
    let mut needs: Vec<Need<'a>> = Vec::new();
    let mut known: HashMap<VariantId, usize> = HashMap::new();
    for (invoice, made, sign) in invoices {
        for line in invoice.products().skip(made) {
            let leaves = sign * line.quantity;
            let (Ok(leaves), Some(&variant_id)) =
                (u64::try_from(leaves), open.variants.get(&line.code))
            else {
                continue;
            };
            let index = *known.entry(variant_id).or_insert(needs.len());
            if index == needs.len() {
                let (place, reference, at) = (line.place, invoice.number.as_str(), invoice.at);
                needs.push(Need { variant_id, quantity: 0, place, reference, at });
            }
            needs[index].quantity += leaves;
        }
    }
    needs
}

/// Whether units of it are free, receipts made if not. One load if they are.
async fn cover(importer: &Importer, need: &Need<'_>) -> Result<Outcome, Failure> {
    let mut outcome = Outcome::Unchanged;
    loop {
        let (stock, version) =
            inventory::level(&importer.ctx, importer.store, need.variant_id).await?;
        let missing = need.quantity.saturating_sub(stock.available(importer.ctx.now()));
        if missing == 0 {
            return Ok(outcome);
        }
        let receipt = Receipt {
            location: LOCATION.to_owned(),
            quantity: u32::try_from(missing).unwrap_or(QUANTITY_MAX).min(QUANTITY_MAX),
            source: StockSource::Import,
            unit_cost: None,
            reference: Some(need.reference.to_owned()),
        };
        // The version makes it the answer to this very shortage: repeated, it adds nothing.
        let key = ["receipt", &need.variant_id.to_string(), &version.to_string()];
        let intent = importer.intent(&key, need.at);
        inventory::receive(&importer.ctx, &intent, need.variant_id, receipt).await?;
        outcome = Outcome::Created;
    }
}
