//! Coupons: define, end, look.

use api_kit::{Api, Body, Caller, Class, Etag, NoBody, Path, Permission, Problem};
use axum::Json;
use axum::extract::State;
use axum::response::IntoResponse;
use chrono::{DateTime, Utc};
use commands::CommandError;
use commands::coupon::{self as use_case, CouponError, CouponTerms, coupon_id, written};
use event_schemas::coupon::CouponValue;
use event_schemas::money::Money;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::routes;

use crate::WriteState;
use crate::answer::{self, DoneBody};
use crate::refusal;
use crate::sender::Sender;

pub(crate) fn api() -> Api<WriteState> {
    use Permission::{PricingRead, PricingWrite};
    Api::new()
        .route(PricingWrite, routes!(define))
        .route(PricingWrite, routes!(disable))
        // Reads the log and not a table, so it counts among the commands.
        .classed(Class::Normal, PricingRead, routes!(get))
}

/// A code that takes something off the lines of a purchase.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({
    "code": "TEN-OFF", "title": "Ten per cent off", "value": { "kind": "percent", "rate": 100_000 },
    "minimum": { "amount_minor": 2000, "currency": "GBP" },
    "limit_total": 500, "limit_per_customer": 1
}))]
struct NewCoupon {
    /// 1 to 40 letters, digits, `-` and `_`; capitals and small letters are the same.
    code: String,
    /// As it shall stand on the bill, 1 to 120 characters.
    title: String,
    /// A share, in millionths, or an amount.
    value: CouponValue,
    /// What the lines must come to, before any discount.
    minimum: Option<Money>,
    /// Uses of all customers together, 1 to 1,000,000.
    limit_total: Option<u32>,
    /// Uses of one customer. Guests cannot use such a coupon.
    limit_per_customer: Option<u32>,
    /// Good from then on; now if left out.
    from: Option<DateTime<Utc>>,
    /// Not any more from then on.
    until: Option<DateTime<Utc>>,
}

/// A coupon as it is.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Coupon)]
struct CouponBody {
    code: String,
    title: String,
    value: CouponValue,
    minimum: Option<Money>,
    limit_total: Option<u32>,
    limit_per_customer: Option<u32>,
    from: DateTime<Utc>,
    until: Option<DateTime<Utc>>,
    /// It takes nothing off any more.
    disabled: bool,
    /// Uses that checkouts count on now.
    claimed: usize,
    /// Uses that became orders.
    used: u32,
}

/// Makes a code take something off. A code is defined once and keeps its meaning.
#[utoipa::path(post, path = "/api/v1/coupons", tag = "coupons",
    params(api_kit::headers::Command),
    request_body = NewCoupon,
    responses((status = 201, description = "The code is good.", body = DoneBody)))]
async fn define(
    State(state): State<WriteState>,
    sender: Sender,
    Body { value, digest }: Body<NewCoupon>,
) -> Result<impl IntoResponse, Problem> {
    let intent = sender.intent(&digest);
    let code = value.code.clone();
    let terms = CouponTerms {
        code: value.code,
        title: value.title,
        value: value.value,
        minimum: value.minimum,
        limit_total: value.limit_total,
        limit_per_customer: value.limit_per_customer,
        from: value.from,
        until: value.until,
    };
    let done = use_case::define(&state.ctx, &intent, terms).await.map_err(problem)?;
    let body = DoneBody::new(coupon_id(intent.store_id, &code), done);
    Ok(answer::created("coupons", written(&code), done, body))
}

/// Takes a code out of use. Whoever has been quoted it keeps it.
#[utoipa::path(post, path = "/api/v1/coupons/{code}/disable", tag = "coupons",
    params(("code" = String, Path), api_kit::headers::Command, api_kit::headers::Precondition),
    responses((status = 200, description = "Nobody else can use it.", body = DoneBody)))]
async fn disable(
    State(state): State<WriteState>,
    sender: Sender,
    Path(code): Path<String>,
    body: NoBody,
) -> Result<impl IntoResponse, Problem> {
    let intent = sender.intent(&body.digest);
    let done = use_case::disable(&state.ctx, &intent, &code).await.map_err(problem)?;
    Ok(answer::done(coupon_id(intent.store_id, &code), done))
}

/// A coupon as it is now, with its uses, read from the log.
#[utoipa::path(get, path = "/api/v1/coupons/{code}", tag = "coupons",
    params(("code" = String, Path)),
    responses((status = 200, description = "The coupon; `ETag` is its version.",
        body = CouponBody)))]
async fn get(
    State(state): State<WriteState>,
    caller: Caller,
    Path(code): Path<String>,
) -> Result<impl IntoResponse, Problem> {
    let loaded = use_case::load(&state.ctx, caller.store_id, &code).await;
    let loaded = loaded.map_err(|error| problem(CommandError::Store(error)))?;
    let now = state.ctx.now();
    let claimed = loaded.state.claimed(now);
    let coupon = loaded.state;
    let defined = *coupon.defined.ok_or_else(|| Problem::new("coupon_unknown"))?;
    let body = CouponBody {
        code: defined.code,
        title: defined.title,
        value: defined.value,
        minimum: defined.minimum,
        limit_total: defined.limit_total,
        limit_per_customer: defined.limit_per_customer,
        from: defined.from,
        until: defined.until,
        disabled: coupon.disabled,
        claimed,
        used: coupon.committed,
    };
    Ok((Etag(loaded.version), Json(body)))
}

fn problem(error: CommandError<CouponError>) -> Problem {
    refusal::problem(error, refusal::coupon)
}
