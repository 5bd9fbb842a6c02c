//! Parcels of orders: pack, ship, deliver, keep back. Part of the order's stream, but what leaves has
//! to be there: the one use case that asks the stock too (docs/adr/0021).

use std::collections::BTreeMap;

use domain::inventory::{MAIN_LOCATION, StockItemError};
use event_schemas::{
    fulfilment::{FulfilmentLine, Tracking},
    ids::{FulfilmentId, OrderId, StoreId, VariantId},
    store::CaptureMoment,
};
use event_store::{Done, StoreError};
use futures::{StreamExt as _, TryStreamExt as _, stream};

use crate::{
    CommandError, Ctx, Intent,
    inventory::{self, Shipment},
    order::{self, FulfilmentState, NewFulfilment, OrderCommand, OrderError, Placed},
    payment::{self, PaymentStatus},
};

/// Variants of one parcel that are looked up at a time: each takes a connection for a moment.
const LOOK_UPS_AT_ONCE: usize = 4;

/// Why a parcel is not packed or does not leave.
#[derive(Debug, thiserror::Error)]
pub enum FulfilmentError {
    /// The order said no, or the log did.
    #[error(transparent)]
    Order(#[from] CommandError<OrderError>),
    /// The order's money is to be taken when the parcel leaves, and is not reserved any more.
    #[error("the money for the order is not reserved any more")]
    AuthorisationGone,
    /// The place has too few units for the order.
    #[error("{location} has {available} of {requested} units of {variant_id} for the order")]
    ShortAt {
        /// Of what.
        variant_id: VariantId,
        /// Where.
        location: String,
        /// Units wanted.
        requested: u32,
        /// Units of the order and free ones there.
        available: u64,
    },
}

impl From<StoreError> for FulfilmentError {
    fn from(error: StoreError) -> FulfilmentError {
        FulfilmentError::Order(CommandError::Store(error))
    }
}

/// The parcel that a command packs: the same command, the same parcel.
pub fn new_fulfilment_id(intent: &Intent) -> FulfilmentId {
    FulfilmentId::derive(&[intent.store_id.0.as_bytes(), intent.command_id.0.as_bytes()])
}

/// Packs a parcel.
///
/// `lines` none: all units that are open. `location` none: the place that has most of these units
/// for the order. Whether they are there is asked now and does not bind anybody; when the parcel
/// leaves, it is asked again.
pub async fn create(
    ctx: &Ctx,
    intent: &Intent,
    id: OrderId,
    (location, lines): (Option<String>, Option<Vec<FulfilmentLine>>),
) -> Result<Done, FulfilmentError> {
    let order = placed(ctx, intent.store_id, id).await?;
    let fulfilment_id = new_fulfilment_id(intent);
    let lines = lines.unwrap_or_else(|| open_lines(&order));
    let wanted = units(&order, &lines);
    let location = match location {
        Some(location) => location,
        None => best_place(ctx, (intent.store_id, id), &wanted).await?,
    };
    let new = NewFulfilment { fulfilment_id, location, lines, at: intent.at };
    // First what the order says: too many units are too many wherever they lie. A repeat, and
    // what the order refuses, does not depend on the stock.
    if !order.fulfilments.contains_key(&fulfilment_id) && order.allows(&new) {
        let parcel = (fulfilment_id, new.location.as_str());
        check_stock(ctx, intent, (id, &order), parcel, &wanted).await?;
    }
    let intent = of_journey(intent, &order);
    Ok(order::record(ctx, &intent, id, OrderCommand::CreateFulfilment(new)).await?)
}

/// The parcel leaves. Its units leave the stock, and the money is taken if it waited for this,
/// afterwards, by the process of the order.
pub async fn ship(
    ctx: &Ctx,
    intent: &Intent,
    (id, fulfilment_id): (OrderId, FulfilmentId),
    tracking: Option<Tracking>,
) -> Result<Done, FulfilmentError> {
    let order = placed(ctx, intent.store_id, id).await?;
    if let Some(parcel) = order.fulfilments.get(&fulfilment_id) {
        if parcel.state == FulfilmentState::Pending {
            check_money(ctx, intent, &order).await?;
        }
        let wanted = order.units_of(parcel);
        let parcel = (fulfilment_id, parcel.location.as_str());
        check_stock(ctx, intent, (id, &order), parcel, &wanted).await?;
    }
    let intent = of_journey(intent, &order);
    let command = OrderCommand::Ship { fulfilment_id, tracking, at: intent.at };
    Ok(order::record(ctx, &intent, id, command).await?)
}

/// The parcel arrived.
pub async fn deliver(
    ctx: &Ctx,
    intent: &Intent,
    (id, fulfilment_id): (OrderId, FulfilmentId),
) -> Result<Done, FulfilmentError> {
    let intent = of_journey(intent, &placed(ctx, intent.store_id, id).await?);
    let command = OrderCommand::Deliver { fulfilment_id, at: intent.at };
    Ok(order::record(ctx, &intent, id, command).await?)
}

/// The parcel does not leave: its units are open again.
pub async fn cancel(
    ctx: &Ctx,
    intent: &Intent,
    (id, fulfilment_id): (OrderId, FulfilmentId),
    reason: String,
) -> Result<Done, FulfilmentError> {
    let intent = of_journey(intent, &placed(ctx, intent.store_id, id).await?);
    let command = OrderCommand::CancelFulfilment { fulfilment_id, reason, at: intent.at };
    Ok(order::record(ctx, &intent, id, command).await?)
}

/// Goods do not leave for money that can never be taken. Whether it can is asked now; the provider
/// may still refuse.
async fn check_money(ctx: &Ctx, intent: &Intent, order: &Placed) -> Result<(), FulfilmentError> {
    if order.paid.is_some() || order.capture != CaptureMoment::OnShipment {
        return Ok(());
    }
    let payment = payment::load(ctx, intent.store_id, order.payment_id).await?.state;
    let stands = match payment.status {
        _ if payment.stray => false,
        PaymentStatus::Authorised => payment.expires_at.is_none_or(|end| ctx.now() < end),
        PaymentStatus::CaptureRequested | PaymentStatus::Captured => true,
        _ => false,
    };
    if stands { Ok(()) } else { Err(FulfilmentError::AuthorisationGone) }
}

async fn placed(ctx: &Ctx, store_id: StoreId, id: OrderId) -> Result<Placed, FulfilmentError> {
    let order = order::load(ctx, store_id, id).await?.state.placed;
    Ok(order.ok_or(CommandError::Rejected(OrderError::NotFound))?)
}

/// Everything about an order belongs to the journey of its checkout.
fn of_journey(intent: &Intent, order: &Placed) -> Intent {
    Intent { correlation_id: order.checkout_id.to_string(), ..intent.clone() }
}

fn open_lines(order: &Placed) -> Vec<FulfilmentLine> {
    let open = order.lines.iter().map(|line| (line.line_id, order.open_units(line)));
    let open = open.filter(|(_, quantity)| *quantity > 0);
    open.map(|(line_id, quantity)| FulfilmentLine { line_id, quantity }).collect()
}

/// Units by variant; lines that the order does not have are for its rules to refuse.
fn units(order: &Placed, lines: &[FulfilmentLine]) -> BTreeMap<VariantId, u32> {
    let known = lines.iter().filter_map(|line| Some((order.line(line.line_id)?, line.quantity)));
    known.fold(BTreeMap::new(), |mut units, (line, quantity)| {
        let sum: &mut u32 = units.entry(line.variant_id).or_default();
        *sum = sum.saturating_add(quantity);
        units
    })
}

/// The place that has most of these units for the order; the first by name of several.
async fn best_place(
    ctx: &Ctx,
    (store_id, id): (StoreId, OrderId),
    wanted: &BTreeMap<VariantId, u32>,
) -> Result<String, StoreError> {
    let items = stream::iter(wanted.clone()).map(async |(variant_id, quantity)| {
        let (item, _) = inventory::level(ctx, store_id, variant_id).await?;
        let parts = item.allocated_at(id).iter();
        let parts = parts.map(|part| (part.location.clone(), part.quantity.min(quantity)));
        Ok::<_, StoreError>(parts.collect::<Vec<_>>())
    });
    let parts: Vec<_> = items.buffered(LOOK_UPS_AT_ONCE).try_collect().await?;
    let mut places: BTreeMap<String, u64> = BTreeMap::new();
    for (location, quantity) in parts.into_iter().flatten() {
        *places.entry(location).or_default() += u64::from(quantity);
    }
    // The last of equal ones is the greatest: from the end, so that it is the first by name.
    let best = places.into_iter().rev().max_by_key(|(_, units)| *units);
    Ok(best.map_or_else(|| MAIN_LOCATION.to_owned(), |(location, _)| location))
}

/// Whether the units are where the parcel leaves from.
async fn check_stock(
    ctx: &Ctx,
    intent: &Intent,
    (id, order): (OrderId, &Placed),
    (fulfilment_id, location): (FulfilmentId, &str),
    wanted: &BTreeMap<VariantId, u32>,
) -> Result<(), FulfilmentError> {
    let checks = stream::iter(wanted.clone()).map(async |(variant_id, quantity)| {
        let shipment = Shipment {
            order_id: id,
            reservation_id: order.checkout_id,
            reference: fulfilment_id.to_string(),
            location: location.to_owned(),
            quantity,
        };
        let refusal = inventory::check_shipment(ctx, intent, variant_id, shipment).await?;
        let available = match refusal {
            None => return Ok(()),
            Some(StockItemError::InsufficientStock { available, .. }) => available,
            Some(StockItemError::NotAllocated { allocated, .. }) => u64::from(allocated),
            // Of what the order's rules refuse too, and say better.
            Some(_) => 0,
        };
        let (location, requested) = (location.to_owned(), quantity);
        Err(FulfilmentError::ShortAt { variant_id, location, requested, available })
    });
    checks.buffered(LOOK_UPS_AT_ONCE).try_collect().await
}
