//! Paying what was quoted.

use domain::checkout::{CLAIM_AFTER_HOLD, HOLD_EXTENSION};
use event_schemas::{ids::CheckoutId, money::Money};
use event_store::{Done, Loaded};

use super::quote::{Rules, replayed};
use super::uses::{claim, keep_use, release};
use super::{Checkout, CheckoutCommand, Phase, QuoteError, Terms, load, of_journey, record};
use crate::{CommandError, Ctx, Intent};

/// How often a payment is tried again because the checkout has changed meanwhile.
const TRIES_MAX: u32 = 5;

/// What somebody who pays gives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewPayment {
    /// The provider's token of the card.
    pub payment_method: String,
    /// What the shopper was shown.
    pub expected_total: Option<Money>,
}

impl NewPayment {
    /// Pays whatever is due.
    pub fn by(payment_method: String) -> NewPayment {
        NewPayment { payment_method, expected_total: None }
    }
}

/// Pays with a card. The outcome shows in [`super::settled`], after the position this returns.
///
/// The uses of the coupons that the quote counts on are claimed until the checkout ends.
pub async fn start_payment(
    ctx: &Ctx,
    intent: &Intent,
    checkout_id: CheckoutId,
    new: NewPayment,
) -> Result<Done, QuoteError> {
    let intent = of_journey(intent, checkout_id);
    for _ in 0..TRIES_MAX {
        // On the heap: whoever pays would carry it around.
        match Box::pin(pay_as_read(ctx, &intent, checkout_id, &new)).await {
            Err(QuoteError::Command(CommandError::Stale { .. })) if intent.expected.is_none() => {}
            tried => return tried,
        }
    }
    Err(CommandError::Conflict("checkout").into())
}

/// Pays what the checkout says now. `Stale` if that has changed before the payment began: only the
/// quote whose coupons are claimed is paid.
async fn pay_as_read(
    ctx: &Ctx,
    intent: &Intent,
    checkout_id: CheckoutId,
    new: &NewPayment,
) -> Result<Done, QuoteError> {
    let (rules, known) = tokio::try_join!(
        Rules::load(ctx, intent.store_id),
        load(ctx, intent.store_id, checkout_id)
    )?;
    let current = known.version;
    if intent.expected.is_some_and(|expected| expected != current) {
        let first = replayed(ctx, intent, checkout_id).await?;
        return first.ok_or(CommandError::Stale { current }.into());
    }
    let terms = Terms { expected_total: new.expected_total, ..rules.terms() };
    keep_coupons(ctx, intent, checkout_id, (&known, &terms)).await?;
    let (payment_method, now, at) = (new.payment_method.clone(), ctx.now(), intent.at);
    let start = CheckoutCommand::StartPayment { checkout_id, payment_method, terms, now, at };
    let still = Intent { expected: Some(current), ..intent.clone() };
    let paid = record(ctx, &still, checkout_id, start).await;
    if matches!(paid, Err(CommandError::Rejected(_) | CommandError::Stale { .. })) {
        give_back(ctx, intent, checkout_id).await?;
    }
    Ok(paid?)
}

/// A claim of a quote lapses with it; that of a payment outlives the checkout, and is ended by the
/// process of the checkout.
async fn keep_coupons(
    ctx: &Ctx,
    intent: &Intent,
    checkout_id: CheckoutId,
    (known, terms): (&Loaded<Checkout>, &Terms),
) -> Result<(), QuoteError> {
    let checkout = &known.state;
    let (Some(quote), Some(started)) = (&checkout.quote, &checkout.started) else { return Ok(()) };
    let payable = checkout.may_start_payment(ctx.now()).is_ok() && ctx.now() < quote.expires_at;
    let believed = terms.expected_total.is_none_or(|expected| expected == quote.total);
    if quote.pricing.coupons.is_empty() || !payable || !believed {
        // The payment will be refused, or this is a repeat.
        return Ok(());
    }
    // A repeat after the checkout failed must not claim anything again.
    if ctx.engine.command(intent.store_id.0, intent.command_id.0).await?.is_some() {
        return Ok(());
    }
    let until = checkout.hold_until.map(|until| until + HOLD_EXTENSION + CLAIM_AFTER_HOLD);
    for applied in &quote.pricing.coupons {
        let claim = claim(checkout_id, started, (until, intent.at));
        keep_use(ctx, intent, &applied.code, claim).await?;
    }
    Ok(())
}

/// A checkout that ended between the look and the payment has given back what it knew of; what was
/// claimed since is given back here.
async fn give_back(ctx: &Ctx, intent: &Intent, checkout_id: CheckoutId) -> Result<(), QuoteError> {
    let checkout = load(ctx, intent.store_id, checkout_id).await?.state;
    let over = matches!(
        checkout.phase,
        Phase::Completed { .. } | Phase::Compensating { .. } | Phase::Failed { .. }
    );
    if over {
        release(ctx, intent, checkout_id, (checkout.coupons, None)).await;
    }
    Ok(())
}
