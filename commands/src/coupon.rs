//! Coupons: define, end; and what checkouts do with them.

use chrono::{DateTime, Utc};
pub use domain::coupon::{
    Claim, Coupon, CouponCommand, CouponError, NewCoupon, NotApplicable, coupon_id, written,
};
use event_schemas::{coupon::CouponValue, ids::StoreId, money::Money, upcast};
use event_store::{Done, Kind, Loaded, StoreError};

use crate::{CommandError, Ctx, Intent, run};

/// How the engine reads coupons. Their streams follow from their codes, so they need no key.
pub static COUPON: Kind<Coupon> =
    Kind { decode: upcast::decode, schema: domain::SCHEMA, keys: |_| vec![] };

/// What a code shall take off.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CouponTerms {
    /// As people shall type it; capitals and small letters are the same.
    pub code: String,
    /// As it shall stand on the bill.
    pub title: String,
    /// What it takes off.
    pub value: CouponValue,
    /// What the lines must come to.
    pub minimum: Option<Money>,
    /// Uses of all customers together.
    pub limit_total: Option<u32>,
    /// Uses of one customer.
    pub limit_per_customer: Option<u32>,
    /// Good from then on; now if none.
    pub from: Option<DateTime<Utc>>,
    /// Not any more from then on.
    pub until: Option<DateTime<Utc>>,
}

/// Makes a code take something off. A code is defined once: what it once meant, it means for ever.
pub async fn define(
    ctx: &Ctx,
    intent: &Intent,
    terms: CouponTerms,
) -> Result<Done, CommandError<CouponError>> {
    let CouponTerms { code, title, value, minimum, limit_total, limit_per_customer, .. } = terms;
    let (from, until) = (terms.from.unwrap_or(intent.at), terms.until);
    let at = intent.at;
    let stream = code.clone();
    let new =
        NewCoupon { code, title, value, minimum, limit_total, limit_per_customer, from, until, at };
    tell(ctx, intent, &stream, CouponCommand::Define(Box::new(new))).await
}

/// Takes a code out of use. Whoever has been quoted it keeps it.
pub async fn disable(
    ctx: &Ctx,
    intent: &Intent,
    code: &str,
) -> Result<Done, CommandError<CouponError>> {
    tell(ctx, intent, code, CouponCommand::Disable { at: intent.at }).await
}

/// Puts a command to the coupon of a code.
pub async fn tell(
    ctx: &Ctx,
    intent: &Intent,
    code: &str,
    command: CouponCommand,
) -> Result<Done, CommandError<CouponError>> {
    run(ctx, &COUPON, coupon_id(intent.store_id, code).0, intent, command).await
}

/// The coupon of a code as it is now; version 0 if there is none.
pub async fn load(ctx: &Ctx, store_id: StoreId, code: &str) -> Result<Loaded<Coupon>, StoreError> {
    ctx.engine.load(&COUPON, store_id.0, coupon_id(store_id, code).0).await
}
