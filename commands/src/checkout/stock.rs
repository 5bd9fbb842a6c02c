//! Whether there is enough, asked before a checkout begins.
//!
//! A checkout that begins stores events, and its process stores more to find out that the goods
//! are gone. When ten thousand want the last thousand, nine thousand need to hear only that.

use std::collections::BTreeMap;

use event_schemas::{checkout::Shortage, ids::VariantId};
use futures::{StreamExt as _, TryStreamExt as _, stream};

use super::{CheckoutError, LINES_MAX, NewLine, QUANTITY_MAX};
use crate::{
    CommandError, Ctx, Intent,
    inventory::{self, StockItemError},
};

/// Variants asked about at a time.
const AT_ONCE: usize = 8;

/// The variants of which too little is left for these lines; none as far as anybody knows, which
/// promises nothing: only the process of the checkout holds stock. None as well if this command
/// began a checkout before, whose answer is what it was, and if a line is none to begin with, which
/// [`super::begin`] judges.
pub async fn shortages(
    ctx: &Ctx,
    intent: &Intent,
    lines: &[NewLine],
) -> Result<Vec<Shortage>, CommandError<CheckoutError>> {
    let fit = |line: &NewLine| (1..=QUANTITY_MAX).contains(&line.quantity);
    if LINES_MAX < lines.len() || !lines.iter().all(fit) {
        return Ok(vec![]);
    }
    let mut units: BTreeMap<VariantId, u32> = BTreeMap::new();
    for line in lines {
        *units.entry(line.variant_id).or_default() += line.quantity;
    }
    let asked = stream::iter(units).map(|wanted| short(ctx, intent, wanted));
    let short: Vec<Option<Shortage>> = asked.buffered(AT_ONCE).try_collect().await?;
    Ok(short.into_iter().flatten().collect())
}

async fn short(
    ctx: &Ctx,
    intent: &Intent,
    (variant_id, requested): (VariantId, u32),
) -> Result<Option<Shortage>, CommandError<CheckoutError>> {
    use CommandError as E;
    let enough = inventory::seems_enough(ctx, intent, variant_id, requested).await;
    if enough.map_err(E::Store)? {
        return Ok(None);
    }
    // Nobody is turned away for what only this process believes. By the command's own id, so that
    // the same look-up finds a repeat: it has taken the stock itself, perhaps the last of it.
    let intent = Intent { expected: None, ..intent.clone() };
    match inventory::require(ctx, &intent, variant_id, requested).await {
        Err(E::Rejected(StockItemError::InsufficientStock { available, .. })) => {
            let available = u32::try_from(available).unwrap_or(u32::MAX);
            Ok(Some(Shortage { variant_id, requested, available }))
        }
        // No other refusal keeps a checkout from beginning, and a repeat has its answer.
        Ok(_) | Err(E::Rejected(_)) => Ok(None),
        Err(E::Stale { current }) => Err(E::Stale { current }),
        Err(E::KeyReused) => Err(E::KeyReused),
        Err(E::Taken { scope, key }) => Err(E::Taken { scope, key }),
        Err(E::Conflict(what)) => Err(E::Conflict(what)),
        Err(E::Store(error)) => Err(E::Store(error)),
    }
}
