//! How many units there are: enough for the next sale, or more come in first.
//!
//! Events are made here and not by the aggregate, which remembers every order a unit ever went to:
//! that would not stay within memory. The rules are kept nevertheless: what is sold was there.

use chrono::{DateTime, Utc};
use domain::inventory::MAIN_LOCATION;
use event_schemas::{
    ids::{CheckoutId, OrderId, VariantId},
    inventory::{
        LocationQuantity, PlaceChoice, ReleaseCause, StockAllocated, StockDeallocated,
        StockItemEvent, StockReceived, StockReservationReleased, StockReserved, StockSource,
    },
};

/// Units of a delivery, the first one included.
const DELIVERY: u32 = 500;

/// The stock of one variant.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Stock {
    /// Version of its stream.
    pub(super) version: u32,
    /// Units free to be sold.
    free: u32,
}

impl Stock {
    /// A delivery of [`DELIVERY`], or of as many as are wanted if that is more.
    pub(super) fn receive(&mut self, wanted: u32, at: DateTime<Utc>) -> StockItemEvent {
        let quantity = DELIVERY.max(wanted);
        let first = self.version == 0;
        self.free += quantity;
        StockItemEvent::Received(StockReceived {
            location: MAIN_LOCATION.to_owned(),
            quantity,
            source: if first { StockSource::Opening } else { StockSource::Purchase },
            unit_cost: None,
            reference: Some(format!("delivery {}", self.version + 1)),
            at,
        })
    }

    pub(super) fn has(&self, quantity: u32) -> bool {
        quantity <= self.free
    }

    /// Holds units, which must be there.
    pub(super) fn reserve(
        &mut self,
        reservation_id: CheckoutId,
        quantity: u32,
        (at, until): (DateTime<Utc>, DateTime<Utc>),
    ) -> StockItemEvent {
        self.free -= quantity;
        let (parts, reason) = (parts(quantity), PlaceChoice::FirstPlace);
        StockItemEvent::Reserved(StockReserved { reservation_id, parts, reason, until, at })
    }

    pub(super) fn release(
        &mut self,
        reservation_id: CheckoutId,
        quantity: u32,
        at: DateTime<Utc>,
    ) -> StockItemEvent {
        self.free += quantity;
        let (parts, cause) = (parts(quantity), ReleaseCause::Cancelled);
        StockItemEvent::ReservationReleased(StockReservationReleased {
            reservation_id,
            parts,
            cause,
            at,
        })
    }

    pub(super) fn deallocate(
        &mut self,
        order_id: OrderId,
        reference: String,
        quantity: u32,
        at: DateTime<Utc>,
    ) -> StockItemEvent {
        self.free += quantity;
        let parts = parts(quantity);
        StockItemEvent::Deallocated(StockDeallocated { order_id, reference, parts, at })
    }
}

/// Gives held units to an order.
pub(super) fn allocated(
    reservation_id: CheckoutId,
    order_id: OrderId,
    quantity: u32,
    at: DateTime<Utc>,
) -> StockItemEvent {
    let parts = parts(quantity);
    StockItemEvent::Allocated(StockAllocated { reservation_id, order_id, parts, at })
}

fn parts(quantity: u32) -> Vec<LocationQuantity> {
    vec![LocationQuantity { location: MAIN_LOCATION.to_owned(), quantity }]
}

/// A line of a sale, as the stock sees it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Units {
    pub(super) variant_id: VariantId,
    /// Index of its [`Stock`].
    pub(super) index: usize,
    pub(super) quantity: u32,
}
