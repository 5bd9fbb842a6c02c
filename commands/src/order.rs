//! Orders: cancel, refund, take over refunds; and what the processes record.

pub use domain::order::{
    Adjustment, AdjustmentCommand, AdjustmentError, Cancellation, FULFILMENTS_MAX, Fulfilment,
    FulfilmentState, NewFulfilment, Order, OrderCommand, OrderError, OrderStatus, PlaceOrder,
    Placed, REASON_CHARS_MAX, RecordAdjustment, Refund, RefundState, RequestRefund, SuggestedLine,
    Suggestion,
};
use event_schemas::{
    ids::{AdjustmentId, OrderId, RefundId, StoreId},
    money::Money,
    order::{AdjustmentEvent, AdjustmentLine, OrderEvent, RefundLine},
    upcast,
};
use event_store::{Done, KeyChange, Kind, Loaded, StoreError};

use crate::{CommandError, Ctx, Intent, run, run_on};

/// Scope of the numbers of orders.
pub const ORDER_NUMBER: &str = "order_number";

/// Scope of the references of stand-alone refunds.
pub const ADJUSTMENT_REFERENCE: &str = "adjustment_reference";

/// How the engine reads and indexes orders.
pub static ORDER: Kind<Order> =
    Kind { decode: upcast::decode, schema: domain::SCHEMA, keys: order_keys };

/// How the engine reads and indexes stand-alone refunds.
pub static ADJUSTMENT: Kind<Adjustment> =
    Kind { decode: upcast::decode, schema: domain::SCHEMA, keys: adjustment_keys };

/// A cancelled order keeps its number.
fn order_keys(event: &OrderEvent) -> Vec<KeyChange> {
    match event {
        OrderEvent::Placed(placed) => {
            vec![KeyChange::Claim { scope: ORDER_NUMBER, key: placed.number.clone() }]
        }
        OrderEvent::Confirmed(_)
        | OrderEvent::Paid(_)
        | OrderEvent::CancellationRequested(_)
        | OrderEvent::Cancelled(_)
        | OrderEvent::RefundRequested(_)
        | OrderEvent::RefundRecorded(_)
        | OrderEvent::RefundFailed(_)
        | OrderEvent::FulfilmentCreated(_)
        | OrderEvent::FulfilmentShipped(_)
        | OrderEvent::FulfilmentDelivered(_)
        | OrderEvent::FulfilmentCancelled(_) => vec![],
    }
}

fn adjustment_keys(event: &AdjustmentEvent) -> Vec<KeyChange> {
    let AdjustmentEvent::Recorded(recorded) = event;
    vec![KeyChange::Claim { scope: ADJUSTMENT_REFERENCE, key: recorded.reference.clone() }]
}

/// The refund that a command asks for: the same command, the same refund.
pub fn new_refund_id(intent: &Intent) -> RefundId {
    RefundId::derive(&[intent.store_id.0.as_bytes(), intent.command_id.0.as_bytes()])
}

/// Asks for the cancellation of an order. Stock and money go back afterwards, by the refund
/// process; the order is `cancelling` until then. Money goes back under [`new_refund_id`]. Of an
/// order of which some has left, the rest is refunded under that id, and nothing else changes.
pub async fn cancel(
    ctx: &Ctx,
    intent: &Intent,
    id: OrderId,
    reason: String,
) -> Result<Done, CommandError<OrderError>> {
    let refund_id = new_refund_id(intent);
    let command = OrderCommand::RequestCancellation { refund_id, reason, at: intent.at };
    record(ctx, &of_journey(ctx, intent, id).await?, id, command).await
}

/// Money that shall go back for some of an order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewRefund {
    /// Document behind it, such as the number of a credit note.
    pub reference: Option<String>,
    /// How much; above zero, at most what was paid and not refunded.
    pub amount: Money,
    /// Which units it is for, and what becomes of them; may be none.
    pub lines: Vec<RefundLine>,
    /// Why; 1 to [`REASON_CHARS_MAX`] characters.
    pub reason: String,
}

/// Asks for a refund. Money and stock go back afterwards, by the refund process, under
/// [`new_refund_id`].
pub async fn request_refund(
    ctx: &Ctx,
    intent: &Intent,
    id: OrderId,
    new: NewRefund,
) -> Result<Done, CommandError<OrderError>> {
    let NewRefund { reference, amount, lines, reason } = new;
    let (refund_id, at) = (new_refund_id(intent), intent.at);
    let request = RequestRefund { refund_id, reference, amount, lines, reason, at };
    let command = OrderCommand::RequestRefund(Box::new(request));
    record(ctx, &of_journey(ctx, intent, id).await?, id, command).await
}

/// Everything about an order belongs to the journey of its checkout.
async fn of_journey(
    ctx: &Ctx,
    intent: &Intent,
    id: OrderId,
) -> Result<Intent, CommandError<OrderError>> {
    let order = load(ctx, intent.store_id, id).await.map_err(CommandError::Store)?.state;
    let journey = order.placed.map(|order| order.checkout_id.to_string());
    let correlation_id = journey.unwrap_or_else(|| intent.correlation_id.clone());
    Ok(Intent { correlation_id, ..intent.clone() })
}

/// Puts a command of a process to an order. A repeat changes nothing.
pub async fn record(
    ctx: &Ctx,
    intent: &Intent,
    id: OrderId,
    command: OrderCommand,
) -> Result<Done, CommandError<OrderError>> {
    run(ctx, &ORDER, id.0, intent, command).await
}

/// Like [`record`], for who knows the order: `known` is taken to where the command leaves it.
pub async fn tell(
    ctx: &Ctx,
    intent: &Intent,
    id: OrderId,
    (command, known): (OrderCommand, &mut Loaded<Order>),
) -> Result<(), CommandError<OrderError>> {
    run_on(ctx, &ORDER, id.0, intent, (command, known)).await
}

/// The order as it is now; version 0 if there is none.
pub async fn load(ctx: &Ctx, store_id: StoreId, id: OrderId) -> Result<Loaded<Order>, StoreError> {
    ctx.engine.load(&ORDER, store_id.0, id.0).await
}

/// The order with a number. `None` if no order of the store has it.
pub async fn find_by_number(
    ctx: &Ctx,
    store_id: StoreId,
    number: &str,
) -> Result<Option<OrderId>, StoreError> {
    let owner = ctx.engine.key_owner(store_id.0, ORDER_NUMBER, number).await?;
    Ok(owner.map(OrderId))
}

/// Money that was given back without an order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewAdjustment {
    /// Document behind it, unique in the store.
    pub reference: String,
    /// What went back; above zero.
    pub amount: Money,
    /// What it was for.
    pub lines: Vec<AdjustmentLine>,
    /// The merchant's own reference of the customer.
    pub customer_reference: Option<String>,
    /// Why; 1 to [`REASON_CHARS_MAX`] characters.
    pub reason: String,
}

/// The stand-alone refund that a command records: the same command, the same refund.
pub fn new_adjustment_id(intent: &Intent) -> AdjustmentId {
    AdjustmentId::derive(&[intent.store_id.0.as_bytes(), intent.command_id.0.as_bytes()])
}

/// Records money that was given back without an order. [`CommandError::Taken`] if the store has
/// another one with that reference.
pub async fn record_adjustment(
    ctx: &Ctx,
    intent: &Intent,
    new: NewAdjustment,
) -> Result<Done, CommandError<AdjustmentError>> {
    let NewAdjustment { reference, amount, lines, customer_reference, reason } = new;
    let at = intent.at;
    let adjustment = RecordAdjustment { reference, amount, lines, customer_reference, reason, at };
    let command = AdjustmentCommand::Record(Box::new(adjustment));
    run(ctx, &ADJUSTMENT, new_adjustment_id(intent).0, intent, command).await
}
