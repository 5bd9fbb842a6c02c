//! Uses of coupons, claimed for a checkout and given back.
//!
//! The version of the coupon is part of the command ids: a request that is sent again claims again
//! what was given back meanwhile.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use domain::pricing::Discount;
use event_schemas::{checkout::CheckoutStarted, ids::CheckoutId, money::Money, order::OrderLine};

use super::QuoteError;
use crate::{
    CommandError, Ctx, Intent,
    coupon::{self, Claim, Coupon, CouponCommand, CouponError},
};

pub(super) fn claim(
    checkout_id: CheckoutId,
    started: &CheckoutStarted,
    (until, at): (Option<DateTime<Utc>>, DateTime<Utc>),
) -> Claim {
    let customer_reference = started.customer_reference.clone();
    // Lines of a checkout that began add up in one currency, and to more than its charges take off.
    let sum = started.lines.iter().filter_map(OrderLine::total);
    let lines = Money::sum(started.total.currency, sum);
    let lines = lines.unwrap_or(Money::zero(started.total.currency));
    Claim { checkout_id, customer_reference, lines, until, at }
}

/// Claims a use for a quote, and says what it takes off.
pub(super) async fn use_coupon(
    ctx: &Ctx,
    intent: &Intent,
    code: &str,
    claim: Claim,
) -> Result<Discount, QuoteError> {
    let known = coupon::load(ctx, intent.store_id, code).await?;
    tell_claim(ctx, intent, (code, known.version), claim).await?;
    // What a code means, it means for ever.
    discount(&known.state).ok_or_else(|| {
        let error = CommandError::Rejected(CouponError::NotFound);
        QuoteError::Coupon { code: code.to_owned(), error }
    })
}

/// Claims a use for a payment. One that is not limited needs no claim: what was quoted is given.
pub(super) async fn keep_use(
    ctx: &Ctx,
    intent: &Intent,
    code: &str,
    claim: Claim,
) -> Result<(), QuoteError> {
    let known = coupon::load(ctx, intent.store_id, code).await?;
    if known.state.is_limited() {
        tell_claim(ctx, intent, (code, known.version), claim).await?;
    }
    Ok(())
}

async fn tell_claim(
    ctx: &Ctx,
    intent: &Intent,
    (code, version): (&str, i64),
    claim: Claim,
) -> Result<(), QuoteError> {
    let intent = intent.step(&format!("claim {code} at {version}"));
    let claimed = coupon::tell(ctx, &intent, code, CouponCommand::Claim(Box::new(claim))).await;
    let refused = |error| QuoteError::Coupon { code: code.to_owned(), error };
    claimed.map(drop).map_err(refused)
}

pub(super) fn discount(coupon: &Coupon) -> Option<Discount> {
    let defined = coupon.defined.as_ref()?;
    let (code, title) = (defined.code.clone(), defined.title.clone());
    Some(Discount { code, title, value: defined.value })
}

/// Gives uses back; with `lapsing_by`, only those whose claims lapse by then. One that cannot be
/// given back now lapses with its claim, so nobody has to hear of it.
pub(super) async fn release(
    ctx: &Ctx,
    intent: &Intent,
    checkout_id: CheckoutId,
    (codes, lapsing_by): (BTreeSet<String>, Option<DateTime<Utc>>),
) {
    for code in codes {
        let released = release_one(ctx, intent, checkout_id, (&code, lapsing_by)).await;
        if let Err(error) = released {
            tracing::warn!(%error, "a use of a coupon is not given back; its claim lapses");
        }
    }
}

async fn release_one(
    ctx: &Ctx,
    intent: &Intent,
    checkout_id: CheckoutId,
    (code, lapsing_by): (&str, Option<DateTime<Utc>>),
) -> Result<(), CommandError<CouponError>> {
    let known = coupon::load(ctx, intent.store_id, code).await.map_err(CommandError::Store)?;
    if !known.state.claims.contains_key(&checkout_id) {
        return Ok(());
    }
    let command = CouponCommand::Release { checkout_id, lapsing_by, at: ctx.now() };
    let intent = intent.step(&format!("release {code} at {}", known.version));
    coupon::tell(ctx, &intent, code, command).await.map(drop)
}
