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

/// What there is to say before a checkout begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum InStock {
    /// Nothing is short as far as anybody knows, and this command has begun no checkout yet.
    Enough,
    /// This command began a checkout before: its answer is what it was.
    Repeat,
    /// Too little is left of these variants. At least one.
    Short(Vec<Shortage>),
}

/// Whether there is enough for these lines now. That there is promises nothing: only the process
/// of the checkout holds stock. Lines that are none to begin with are for [`super::begin`] to judge,
/// and count as a repeat, so that it looks for itself.
pub async fn in_stock(
    ctx: &Ctx,
    intent: &Intent,
    lines: &[NewLine],
) -> Result<InStock, CommandError<CheckoutError>> {
    let fit = |line: &NewLine| (1..=QUANTITY_MAX).contains(&line.quantity);
    if lines.is_empty() || LINES_MAX < lines.len() || !lines.iter().all(fit) {
        return Ok(InStock::Repeat);
    }
    let mut units: BTreeMap<VariantId, u32> = BTreeMap::new();
    for line in lines {
        *units.entry(line.variant_id).or_default() += line.quantity;
    }
    let asked = stream::iter(units.into_iter().enumerate()).map(async |(index, wanted)| {
        // The first goes by the command's own id, so that the same look-up finds a repeat.
        let intent = match index {
            0 => Intent { expected: None, ..intent.clone() },
            _ => intent.step(&format!("require {}", wanted.0)),
        };
        require(ctx, &intent, wanted).await
    });
    let asked: Vec<Stock> = asked.buffered(AT_ONCE).try_collect().await?;
    if asked.iter().any(|stock| matches!(stock, Stock::Repeat)) {
        return Ok(InStock::Repeat);
    }
    let short = |stock| match stock {
        Stock::Short(shortage) => Some(shortage),
        Stock::Enough | Stock::Repeat => None,
    };
    let short: Vec<Shortage> = asked.into_iter().filter_map(short).collect();
    Ok(if short.is_empty() { InStock::Enough } else { InStock::Short(short) })
}

enum Stock {
    Enough,
    Short(Shortage),
    Repeat,
}

async fn require(
    ctx: &Ctx,
    intent: &Intent,
    (variant_id, requested): (VariantId, u32),
) -> Result<Stock, CommandError<CheckoutError>> {
    use CommandError as E;
    match inventory::require(ctx, intent, variant_id, requested).await {
        Ok(done) if done.replayed => Ok(Stock::Repeat),
        Err(E::Rejected(StockItemError::InsufficientStock { available, .. })) => {
            let available = u32::try_from(available).unwrap_or(u32::MAX);
            Ok(Stock::Short(Shortage { variant_id, requested, available }))
        }
        // No other refusal keeps a checkout from beginning.
        Ok(_) | Err(E::Rejected(_)) => Ok(Stock::Enough),
        Err(E::Stale { current }) => Err(E::Stale { current }),
        Err(E::KeyReused) => Err(E::KeyReused),
        Err(E::Taken { scope, key }) => Err(E::Taken { scope, key }),
        Err(E::Conflict(what)) => Err(E::Conflict(what)),
        Err(E::Store(error)) => Err(E::Store(error)),
    }
}
