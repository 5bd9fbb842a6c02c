//! Cancellations: refunds of the orders they belong to, or money given back for none we know.

use commands::order::{self, NewAdjustment, NewRefund, Placed, RefundState};
use event_schemas::{
    ids::OrderId,
    order::{AdjustmentLine, RefundLine, Restock},
};
use futures::FutureExt as _;

use super::{CANCELLATIONS, Cancellation, History, file::Original};
use crate::import::{
    importer::{Failure, Importer, Outcome, tally},
    report::Report,
};

/// Takes over all cancellations, in the order of the file: an order has one refund at a time.
pub(super) async fn take_over(
    importer: &Importer,
    history: &History,
    report: &mut Report,
) -> anyhow::Result<()> {
    let work = history.cancellations.iter().map(|cancellation| {
        (cancellation.invoice.place, one(importer, history, cancellation).boxed())
    });
    let done = importer.in_order(CANCELLATIONS, work.collect(), &mut report.problems).await?;
    report.tallies.push((CANCELLATIONS, tally(done)));
    let matched = history.cancellations.iter().filter(|it| it.of.is_some()).count();
    if matched < history.cancellations.len() {
        report.notes.push(format!(
            "{} cancellations have no order in the file and stand alone",
            history.cancellations.len() - matched
        ));
    }
    Ok(())
}

async fn one(
    importer: &Importer,
    history: &History,
    cancellation: &Cancellation,
) -> Result<Outcome, Failure> {
    let (ctx, store) = (&importer.ctx, importer.store);
    let reference = &cancellation.invoice.number;
    let alone = ctx.engine.key_owner(store.0, order::ADJUSTMENT_REFERENCE, reference).await?;
    if alone.is_some() {
        // A file without the order came first. The money went back once, and that is enough.
        return Ok(Outcome::Unchanged);
    }
    match &cancellation.of {
        Some(original) => refund(importer, history, cancellation, original).await,
        None => adjust(importer, cancellation).await,
    }
}

/// The same key for both ways, so that one cancellation gives money back once.
fn key(cancellation: &Cancellation) -> [&str; 2] {
    ["cancellation", &cancellation.invoice.number]
}

async fn refund(
    importer: &Importer,
    history: &History,
    cancellation: &Cancellation,
    original: &Original,
) -> Result<Outcome, Failure> {
    let number = &history.orders[original.order].number;
    let found = order::find_by_number(&importer.ctx, importer.store, number).await?;
    let id = found
        .ok_or_else(|| Failure::Refused(format!("its order `{number}` could not be taken over")))?;
    let placed = placed(importer, id).await?;
    let before = state(&placed, cancellation);
    if before == Some(RefundState::Recorded) {
        return Ok(Outcome::Unchanged);
    }
    if before.is_none() {
        request(importer, (id, &placed), cancellation, original).await?;
    }
    importer.drive_order(id).await?;
    let now = self::placed(importer, id).await?;
    match state(&now, cancellation) {
        Some(RefundState::Recorded) if before.is_none() => Ok(Outcome::Created),
        Some(RefundState::Recorded) => Ok(Outcome::Updated),
        Some(RefundState::Pending) | None => {
            Err(Failure::Refused("its refund is not through yet; run the import again".to_owned()))
        }
        Some(RefundState::Failed) => {
            Err(Failure::Refused("the provider refused its refund; see the order".to_owned()))
        }
    }
}

async fn placed(importer: &Importer, id: OrderId) -> Result<Placed, Failure> {
    let loaded = order::load(&importer.ctx, importer.store, id).await?;
    loaded.state.placed.ok_or_else(|| Failure::Refused("its order is not placed".to_owned()))
}

/// What became of the refund of this document.
fn state(placed: &Placed, cancellation: &Cancellation) -> Option<RefundState> {
    let reference = Some(&cancellation.invoice.number);
    let mut refunds = placed.refunds.values();
    refunds.find(|refund| refund.reference.as_ref() == reference).map(|refund| refund.state)
}

async fn request(
    importer: &Importer,
    (id, placed): (OrderId, &Placed),
    cancellation: &Cancellation,
    original: &Original,
) -> Result<(), Failure> {
    let lines: Option<Vec<RefundLine>> = original
        .lines
        .iter()
        .map(|&(index, quantity)| {
            Some(RefundLine {
                line_id: placed.lines.get(index)?.line_id,
                quantity,
                restock: Restock::Cancel,
            })
        })
        .collect();
    let lines = lines.ok_or_else(|| {
        Failure::Refused("its order has other lines in the store than in the file".to_owned())
    })?;
    let invoice = &cancellation.invoice;
    let new = NewRefund {
        reference: Some(invoice.number.clone()),
        amount: cancellation.amount,
        lines,
        reason: reason(cancellation),
    };
    let intent = importer.intent(&key(cancellation), invoice.at);
    order::request_refund(&importer.ctx, &intent, id, new).await?;
    Ok(())
}

async fn adjust(importer: &Importer, cancellation: &Cancellation) -> Result<Outcome, Failure> {
    let invoice = &cancellation.invoice;
    let lines = invoice.lines.iter().map(|line| AdjustmentLine {
        code: line.code.clone(),
        title: if line.title.is_empty() { line.code.clone() } else { line.title.clone() },
        quantity: u32::try_from(line.quantity.unsigned_abs()).expect("quantities were checked"),
        unit_price: line.unit_price,
    });
    let new = NewAdjustment {
        reference: invoice.number.clone(),
        amount: cancellation.amount,
        lines: lines.collect(),
        customer_reference: invoice.customer.clone(),
        reason: reason(cancellation),
    };
    let intent = importer.intent(&key(cancellation), invoice.at);
    let known = importer.ctx.engine.command(importer.store.0, intent.command_id.0).await?;
    if known.is_some() {
        // A file with the order came first, and refunded it.
        return Ok(Outcome::Unchanged);
    }
    order::record_adjustment(&importer.ctx, &intent, new).await?;
    Ok(Outcome::Created)
}

fn reason(cancellation: &Cancellation) -> String {
    format!("cancellation {}", cancellation.invoice.number)
}
