//! What a client is told of a checkout: a pure function of a prefix of its stream, so that a
//! repeated request gets the very same answer.

use chrono::{DateTime, Utc};
use cqrs_es::Aggregate as _;
use event_schemas::{
    checkout::FailureCause,
    ids::{CheckoutId, OrderId, StoreId},
    money::Money,
    order::{Charge, OrderLine},
    payment::PaymentAction,
    quote::{Quote, ShippingOption},
};
use event_store::{Recorded, StoreError};
use serde::Serialize;

use super::{CHECKOUT, Checkout, Decline, Phase, Stuck, Waiting};
use crate::Ctx;

/// A checkout as a client sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CheckoutView {
    /// The checkout.
    pub checkout_id: CheckoutId,
    /// How far it is.
    pub status: CheckoutStatus,
    /// What is bought, at the store's prices.
    pub lines: Vec<OrderLine>,
    /// What else is charged or taken off.
    pub charges: Vec<Charge>,
    /// Exact sum of both.
    pub total: Money,
    /// Country it goes to.
    pub country: Option<String>,
    /// How it is sent.
    pub shipping: Option<ShippingOption>,
    /// What it costs, once that was asked for.
    pub quote: Option<Quote>,
    /// End of the hold.
    pub hold_until: DateTime<Utc>,
    /// The order it became.
    pub order_id: Option<OrderId>,
    /// That order's number.
    pub order_number: Option<String>,
    /// The last refusal of a card, until the next attempt.
    pub last_decline: Option<Decline>,
    /// What the shopper has to do.
    pub required_action: Option<PaymentAction>,
    /// Why it came to nothing, or is coming to nothing.
    pub failure: Option<FailureCause>,
    /// A step that does not go on.
    pub stuck: Option<Stuck>,
    /// Events seen.
    pub version: i64,
    /// Position of the last event seen.
    pub position: i64,
}

/// How far a checkout is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum CheckoutStatus {
    /// The stock is being held.
    Reserving,
    /// The shopper shall pay.
    AwaitingPayment,
    /// The shopper has to do something for the payment.
    ActionRequired,
    /// The provider has not said yet whether it is paid.
    PaymentPending,
    /// Paid; the order is being placed.
    Completing,
    /// There is an order.
    Completed,
    /// It comes to nothing; what was done is being undone.
    Compensating,
    /// It came to nothing.
    Failed,
    /// A person has to look.
    Stuck,
}

impl CheckoutStatus {
    /// As shown.
    pub fn code(self) -> &'static str {
        match self {
            Self::Reserving => "reserving",
            Self::AwaitingPayment => "awaiting_payment",
            Self::ActionRequired => "action_required",
            Self::PaymentPending => "payment_pending",
            Self::Completing => "completing",
            Self::Completed => "completed",
            Self::Compensating => "compensating",
            Self::Failed => "failed",
            Self::Stuck => "stuck",
        }
    }

    fn of(checkout: &Checkout) -> CheckoutStatus {
        if checkout.stuck.is_some() {
            return Self::Stuck;
        }
        match &checkout.phase {
            Phase::Absent | Phase::Reserving => Self::Reserving,
            Phase::AwaitingPayment => Self::AwaitingPayment,
            Phase::Paying { waiting: Waiting::Action(_), .. } => Self::ActionRequired,
            Phase::Paying { .. } => Self::PaymentPending,
            Phase::Completing { .. } => Self::Completing,
            Phase::Completed { .. } => Self::Completed,
            Phase::Compensating { .. } => Self::Compensating,
            Phase::Failed { .. } => Self::Failed,
        }
    }
}

/// The checkout as it is now. `None` if there is none.
pub async fn current(
    ctx: &Ctx,
    store_id: StoreId,
    checkout_id: CheckoutId,
) -> Result<Option<CheckoutView>, StoreError> {
    let loaded = super::load(ctx, store_id, checkout_id).await?;
    Ok(view(checkout_id, &loaded.state, (loaded.version, loaded.position)))
}

/// The checkout as it was when it first rested at or after `position` of the log: waiting for the
/// shopper, for time or for a person, or ended. `None` if it does not rest yet: ask again.
///
/// `position` is what [`super::begin`], [`super::start_payment`], [`super::answer_action`] and
/// [`super::abandon`] return; the same position gets the same answer for ever.
pub async fn settled(
    ctx: &Ctx,
    store_id: StoreId,
    checkout_id: CheckoutId,
    position: i64,
) -> Result<Option<CheckoutView>, StoreError> {
    // The usual case: nothing has happened since, and the stream is not read.
    let loaded = super::load(ctx, store_id, checkout_id).await?;
    if loaded.position == position && loaded.state.rests() {
        return Ok(view(checkout_id, &loaded.state, (loaded.version, loaded.position)));
    }
    let mut checkout = Checkout::default();
    for event in ctx.engine.history(store_id.0, Checkout::TYPE, checkout_id.0).await? {
        let Recorded { position: at, version, .. } = event;
        let decoded = (CHECKOUT.decode)(&event.event_type, event.schema_version, &event.payload);
        checkout.apply(
            decoded.map_err(|source| StoreError::Decode { position: at, source: source.into() })?,
        );
        if position <= at && checkout.rests() {
            return Ok(view(checkout_id, &checkout, (version, at)));
        }
    }
    Ok(None)
}

fn view(
    checkout_id: CheckoutId,
    checkout: &Checkout,
    (version, position): (i64, i64),
) -> Option<CheckoutView> {
    let started = checkout.started.as_ref()?;
    let required_action = match checkout.phase {
        Phase::Paying { waiting: Waiting::Action(action), .. } => Some(action),
        _ => None,
    };
    let (order_id, order_number) = match &checkout.phase {
        Phase::Completed { order_id, order_number } => {
            (Some(*order_id), Some(order_number.clone()))
        }
        _ => (None, None),
    };
    let failure = match &checkout.phase {
        Phase::Compensating { cause } | Phase::Failed { cause } => Some(cause.clone()),
        _ => None,
    };
    Some(CheckoutView {
        checkout_id,
        status: CheckoutStatus::of(checkout),
        lines: started.lines.clone(),
        charges: checkout.charges().to_vec(),
        total: checkout.due().unwrap_or(started.total),
        country: checkout.country().map(str::to_owned),
        shipping: checkout.shipping.clone(),
        quote: checkout.quote.as_deref().cloned(),
        hold_until: checkout.hold_until.unwrap_or(started.hold_until),
        order_id,
        order_number,
        last_decline: checkout.last_decline.clone(),
        required_action,
        failure,
        stuck: checkout.stuck.clone(),
        version,
        position,
    })
}
