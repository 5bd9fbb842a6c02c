//! Looking after a payment because the provider, or the shopper who comes back from it, says that
//! something happened.
//!
//! What they say is never believed: it is a reason to look. So it does not matter how often it is
//! said, in which order, or by whom, and a forged word does nothing but cost a look.

use commands::{
    checkout,
    payment::{self, PaymentStatus},
};
use event_schemas::ids::{CheckoutId, PaymentId, RefundId, StoreId};
use providers::payment::{ClientSecret, PaymentError, PaymentProvider};

use crate::{
    DriveError, SagaCtx,
    checkout::{Drive, Heard, drive_checkout, drive_payment, is_free, within_deadline},
    refund::{self, drive_order},
};

/// What came of looking after a payment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attended {
    /// Something new was found and recorded.
    Applied,
    /// There is nothing new.
    Ignored {
        /// Why, in words that are always the same.
        why: &'static str,
    },
    /// It cannot be said now: the provider does not answer, or the payment is not known here yet.
    /// Asking again later works.
    NotYet,
}

/// Looks a payment and its open refunds up at the provider, records what is new, and carries on
/// whatever depends on it.
///
/// May be called at any time, again, and by several processes at once. After an error, call it
/// again later: nothing is lost and nothing is done twice.
pub async fn attend_payment(
    ctx: &SagaCtx,
    store_id: StoreId,
    payment_id: PaymentId,
) -> Result<Attended, DriveError> {
    let Some(mut drive) = Drive::of_payment(ctx, store_id, payment_id).await? else {
        return Ok(Attended::NotYet);
    };
    let known = drive.payment_version();
    let mut heard =
        if has_books(ctx, store_id, &drive).await? { drive.look().await? } else { Heard::Told };
    for refund_id in open_refunds(&drive) {
        let answered = refund::look_up(ctx, drive.journey(), (payment_id, refund_id)).await?;
        heard = if answered { heard } else { Heard::Nothing };
    }
    drive.load_payment().await?;
    let order_id = drive.order_id();
    let applied = known < drive.payment_version();
    drive_payment(ctx, store_id, payment_id).await?;
    drive_checkout(ctx, store_id, drive.journey().checkout_id).await?;
    drive_order(ctx, store_id, order_id).await?;
    Ok(match heard {
        // What was recorded meanwhile may be somebody else's news, or that nobody answered.
        Heard::Nothing => Attended::NotYet,
        _ if applied => Attended::Applied,
        Heard::Absent => Attended::Ignored { why: "the provider has no such payment" },
        Heard::Told => Attended::Ignored { why: "nothing is new" },
    })
}

/// What the shopper's browser needs to go on with the provider directly, if the payment under way
/// waits for that. Fetched when it is shown, to that shopper alone, and stored nowhere.
pub async fn client_secret(
    ctx: &SagaCtx,
    store_id: StoreId,
    checkout_id: CheckoutId,
) -> Result<Option<ClientSecret>, DriveError> {
    let checkout = checkout::load(&ctx.commands, store_id, checkout_id).await?.state;
    let Some(attempt) = checkout.attempts.last() else { return Ok(None) };
    let payment = payment::load(&ctx.commands, store_id, attempt.payment_id).await?.state;
    let (PaymentStatus::ActionRequired, Some(reference)) =
        (payment.status, &payment.provider_reference)
    else {
        return Ok(None);
    };
    let provider = ctx.provider_of(store_id, &payment).await?;
    let secret = within_deadline(provider.client_secret(reference)).await;
    let unsaid = |error: PaymentError| DriveError::Failed {
        step: "client_secret",
        detail: error.to_string(),
    };
    secret.map(Some).map_err(unsaid)
}

/// The sandbox keeps no books: of a payment that was captured or given up it knows only what it
/// said in the beginning.
async fn has_books(
    ctx: &SagaCtx,
    store_id: StoreId,
    drive: &Drive<'_>,
) -> Result<bool, DriveError> {
    let payment = &drive.situation.payment;
    if payment.is_awaited() || is_free(payment) {
        return Ok(payment.is_awaited());
    }
    let provider = ctx.provider_of(store_id, payment).await?;
    Ok(!matches!(provider, PaymentProvider::Sandbox(_)))
}

fn open_refunds(drive: &Drive<'_>) -> Vec<RefundId> {
    let refunds = &drive.situation.payment.refunds;
    refunds.iter().filter(|(_, refund)| refund.state.is_open()).map(|(id, _)| *id).collect()
}
