//! Stock: receive, correct, hold, give to orders.

use chrono::{DateTime, Utc};
pub use domain::inventory::StockItemError;
use domain::inventory::{Correction, StockItem, StockItemCommand};
pub use domain::inventory::{Receipt, Shipment};
use event_schemas::{
    ids::{CheckoutId, OrderId, StoreId, VariantId},
    inventory::ReleaseCause,
    upcast,
};
use event_store::{Done, Kind, StoreError};

use crate::{CommandError, Ctx, Intent, catalog, run};

/// How the engine reads stock. It has no names of its own: its stream is that of the variant.
pub static STOCK_ITEM: Kind<StockItem> =
    Kind { decode: upcast::decode, schema: domain::SCHEMA, keys: |_| vec![] };

type Outcome = Result<Done, CommandError<StockItemError>>;

/// Books units in. Refused with [`StockItemError::UnknownVariant`] if no product has the variant.
pub async fn receive(
    ctx: &Ctx,
    intent: &Intent,
    variant_id: VariantId,
    receipt: Receipt,
) -> Outcome {
    known(ctx, intent.store_id, variant_id).await?;
    let command = StockItemCommand::Receive { receipt, at: intent.at };
    run(ctx, &STOCK_ITEM, variant_id.0, intent, command).await
}

/// Corrects a count. Refused with [`StockItemError::UnknownVariant`] if no product has the
/// variant.
pub async fn adjust(
    ctx: &Ctx,
    intent: &Intent,
    variant_id: VariantId,
    correction: Correction,
) -> Outcome {
    known(ctx, intent.store_id, variant_id).await?;
    let command = StockItemCommand::Adjust { correction, at: intent.at };
    run(ctx, &STOCK_ITEM, variant_id.0, intent, command).await
}

/// Whether as many units are left to sell, as far as this process knows. Mostly free of round trips.
pub(crate) async fn seems_enough(
    ctx: &Ctx,
    intent: &Intent,
    variant_id: VariantId,
    quantity: u32,
) -> Result<bool, StoreError> {
    let command = StockItemCommand::Require { quantity, at: intent.at };
    let enough = |item: &StockItem| item.decide(command).is_ok();
    ctx.engine.glance(&STOCK_ITEM, (intent.store_id.0, variant_id.0), enough).await
}

/// Units that could be bought now, as far as this process knows. Mostly free of round trips.
pub(crate) async fn seems_available(
    ctx: &Ctx,
    store_id: StoreId,
    variant_id: VariantId,
) -> Result<u64, StoreError> {
    let now = ctx.now();
    let available = |item: &StockItem| item.available(now);
    ctx.engine.glance(&STOCK_ITEM, (store_id.0, variant_id.0), available).await
}

/// Refused with [`StockItemError::InsufficientStock`] if fewer units are left to sell, and does
/// nothing otherwise. One round trip, shared with others who ask at the same time.
///
/// `replayed` if the command id is one that was carried out before, whatever it was.
pub async fn require(ctx: &Ctx, intent: &Intent, variant_id: VariantId, quantity: u32) -> Outcome {
    let command = StockItemCommand::Require { quantity, at: intent.at };
    run(ctx, &STOCK_ITEM, variant_id.0, intent, command).await
}

/// Units to hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NewHold {
    /// The checkout; it has one hold per variant.
    pub reservation_id: CheckoutId,
    /// Units, all lines of the variant together.
    pub quantity: u32,
    /// From this moment on the hold does not count.
    pub until: DateTime<Utc>,
}

/// Holds units for a checkout. Nothing happens if it holds as many already.
pub async fn reserve(ctx: &Ctx, intent: &Intent, variant_id: VariantId, new: NewHold) -> Outcome {
    let NewHold { reservation_id, quantity, until } = new;
    let command = StockItemCommand::Reserve { reservation_id, quantity, until, at: intent.at };
    run(ctx, &STOCK_ITEM, variant_id.0, intent, command).await
}

/// A hold and its new end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LongerHold {
    /// The checkout whose hold it is.
    pub reservation_id: CheckoutId,
    /// The new end, later than the one before.
    pub until: DateTime<Utc>,
}

/// Makes a hold last longer, once.
pub async fn extend_hold(
    ctx: &Ctx,
    intent: &Intent,
    variant_id: VariantId,
    longer: LongerHold,
) -> Outcome {
    let LongerHold { reservation_id, until } = longer;
    let command = StockItemCommand::ExtendHold { reservation_id, until, at: intent.at };
    run(ctx, &STOCK_ITEM, variant_id.0, intent, command).await
}

/// Gives up a checkout's hold. Nothing happens if there is none, or if `cause` is
/// [`ReleaseCause::Expired`] and its time is not over.
pub async fn release(
    ctx: &Ctx,
    intent: &Intent,
    variant_id: VariantId,
    reservation_id: CheckoutId,
    cause: ReleaseCause,
) -> Outcome {
    let command = StockItemCommand::Release { reservation_id, cause, at: intent.at };
    run(ctx, &STOCK_ITEM, variant_id.0, intent, command).await
}

/// Units an order gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NewAllocation {
    /// The checkout whose hold this ends.
    pub reservation_id: CheckoutId,
    /// The order.
    pub order_id: OrderId,
    /// Units, as held; taken from free stock if the hold is over.
    pub quantity: u32,
}

/// Gives held units to an order. Nothing happens the second time.
pub async fn allocate(
    ctx: &Ctx,
    intent: &Intent,
    variant_id: VariantId,
    new: NewAllocation,
) -> Outcome {
    let NewAllocation { reservation_id, order_id, quantity } = new;
    let command = StockItemCommand::Allocate { reservation_id, order_id, quantity, at: intent.at };
    run(ctx, &STOCK_ITEM, variant_id.0, intent, command).await
}

/// Units an order gives back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Return {
    /// The order.
    pub order_id: OrderId,
    /// What takes them back, such as a refund id; acts once.
    pub reference: String,
    /// Units; all that the order still has if `None`.
    pub quantity: Option<u32>,
}

/// Frees units of an order. Nothing happens the second time of the same reference.
pub async fn deallocate(
    ctx: &Ctx,
    intent: &Intent,
    variant_id: VariantId,
    back: Return,
) -> Outcome {
    let Return { order_id, reference, quantity } = back;
    let at = intent.at;
    let command = StockItemCommand::Deallocate { order_id, reference, quantity, at };
    run(ctx, &STOCK_ITEM, variant_id.0, intent, command).await
}

/// Units of an order left the house. Nothing happens the second time of the same reference.
pub async fn ship(
    ctx: &Ctx,
    intent: &Intent,
    variant_id: VariantId,
    shipment: Shipment,
) -> Outcome {
    let command = StockItemCommand::Ship { shipment, at: intent.at };
    run(ctx, &STOCK_ITEM, variant_id.0, intent, command).await
}

/// Why a shipment would be refused now; `None` if it would not. It promises nothing.
pub async fn check_shipment(
    ctx: &Ctx,
    intent: &Intent,
    variant_id: VariantId,
    shipment: Shipment,
) -> Result<Option<StockItemError>, StoreError> {
    let (item, _) = level(ctx, intent.store_id, variant_id).await?;
    let command = StockItemCommand::Ship { shipment, at: intent.at };
    Ok(item.decide(command).err())
}

/// The stock of a variant as it is now, and its version (0 if nothing ever happened to it).
pub async fn level(
    ctx: &Ctx,
    store_id: StoreId,
    variant_id: VariantId,
) -> Result<(StockItem, i64), StoreError> {
    let loaded = ctx.engine.load(&STOCK_ITEM, store_id.0, variant_id.0).await?;
    Ok((loaded.state, loaded.version))
}

/// Stock of a variant nobody sells could never be found again.
async fn known(
    ctx: &Ctx,
    store_id: StoreId,
    variant_id: VariantId,
) -> Result<(), CommandError<StockItemError>> {
    let key = variant_id.to_string();
    let owner = ctx.engine.key_owner(store_id.0, catalog::VARIANT, &key).await;
    match owner.map_err(CommandError::Store)? {
        Some(_) => Ok(()),
        None => Err(CommandError::Rejected(StockItemError::UnknownVariant)),
    }
}
