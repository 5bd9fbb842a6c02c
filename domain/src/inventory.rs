//! Stock: how many units of one variant are where, and for whom.
//!
//! One stream per variant, so that the choice of place is made in one decision and two buyers of
//! the last unit meet at the version of this stream.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use cqrs_es::{Aggregate, event_sink::EventSink};
use event_schemas::{
    ids::{CheckoutId, OrderId},
    inventory::{
        LocationQuantity, PlaceChoice, ReleaseCause, StockAdjusted, StockAllocated,
        StockDeallocated, StockItemEvent, StockReceived, StockReservationExtended,
        StockReservationReleased, StockReserved, StockShipped, StockSource,
    },
    money::Money,
};
use serde::{Deserialize, Serialize};

mod check;
mod decide;
mod error;
#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;

pub use check::{
    HOLD_MAX, LOCATION_CHARS_MAX, LOCATIONS_MAX, ON_HAND_MAX, QUANTITY_MAX, REASON_CHARS_MAX,
    REFERENCE_CHARS_MAX,
};
pub use error::StockItemError;

/// The place that is asked first when several can serve.
pub const MAIN_LOCATION: &str = "main";

/// What can be asked of the stock of a variant.
///
/// Those that a process sends (`Reserve` to `Ship`) may be sent twice: the second time
/// nothing happens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StockItemCommand {
    /// Units arrived.
    Receive { receipt: Receipt, at: DateTime<Utc> },
    /// The count was wrong.
    Adjust { correction: Correction, at: DateTime<Utc> },
    /// Refused if fewer units are left to sell; nothing happens otherwise, nor if nothing ever
    /// came in: whether there is such a variant is not ours to say. For whoever wants to know
    /// before much is done for a buyer; only `Reserve` makes sure.
    Require { quantity: u32, at: DateTime<Utc> },
    /// Holds units for a checkout, until a moment. One hold per checkout: the caller adds up the
    /// lines of the same variant.
    Reserve { reservation_id: CheckoutId, quantity: u32, until: DateTime<Utc>, at: DateTime<Utc> },
    /// Makes a hold last longer, once.
    ExtendHold { reservation_id: CheckoutId, until: DateTime<Utc>, at: DateTime<Utc> },
    /// Gives up a hold. With [`ReleaseCause::Expired`] only if its time is really over, so that a
    /// timer that was set before an extension does no harm.
    Release { reservation_id: CheckoutId, cause: ReleaseCause, at: DateTime<Utc> },
    /// Gives held units to an order. If the hold is over, takes free units instead.
    Allocate { reservation_id: CheckoutId, order_id: OrderId, quantity: u32, at: DateTime<Utc> },
    /// Frees units of an order: `quantity` of them, or all that are left. Once per `reference`.
    Deallocate { order_id: OrderId, reference: String, quantity: Option<u32>, at: DateTime<Utc> },
    /// Units of an order left the house. Once per `reference`.
    Ship { shipment: Shipment, at: DateTime<Utc> },
}

/// Units that left.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shipment {
    /// The order that owned them.
    pub order_id: OrderId,
    /// The checkout the order came from.
    pub reservation_id: CheckoutId,
    /// What they left with, such as the id of a parcel.
    pub reference: String,
    /// Code of the place they left from. If the order's units lie elsewhere, free ones from here
    /// went in their place: that is where the shelf is emptier now.
    pub location: String,
    /// From 1 to [`QUANTITY_MAX`].
    pub quantity: u32,
}

/// Units that arrived.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// Code of the place: `a-z`, `0-9`, `-` and `_`, at most [`LOCATION_CHARS_MAX`].
    pub location: String,
    /// From 1 to [`QUANTITY_MAX`].
    pub quantity: u32,
    /// Where they came from.
    pub source: StockSource,
    /// What one unit cost us.
    pub unit_cost: Option<Money>,
    /// Document behind it, at most [`REFERENCE_CHARS_MAX`] characters.
    pub reference: Option<String>,
}

/// A count that is put right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Correction {
    /// Code of the place.
    pub location: String,
    /// Units more or fewer, not zero, at most [`ON_HAND_MAX`] either way.
    pub delta: i64,
    /// Why: 1 to [`REASON_CHARS_MAX`] characters, because a correction without one explains
    /// nothing to an auditor.
    pub reason: String,
    /// Document behind it.
    pub reference: Option<String>,
    /// What is on hand at that place as far as the caller knows; refused if it is not so.
    pub expected_on_hand: Option<u64>,
}

/// What is where. No bucket is ever below zero: `reserved + allocated <= on_hand` at each place.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct StockItem {
    places: BTreeMap<String, Place>,
    /// Finished holds are forgotten.
    holds: BTreeMap<CheckoutId, Hold>,
    allocations: BTreeMap<OrderId, Allocation>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Place {
    on_hand: u64,
    /// Sum of the holds at this place, expired ones included until they are released.
    reserved: u64,
    allocated: u64,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Hold {
    parts: Vec<LocationQuantity>,
    /// Exclusive: at this moment it counts no more.
    until: DateTime<Utc>,
    extended: bool,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Allocation {
    /// What is still allocated.
    parts: Vec<LocationQuantity>,
    /// What took units back already.
    references: BTreeSet<String>,
}

/// Units of one place, by what they are for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Level {
    /// Code of the place.
    pub location: String,
    /// Units there.
    pub on_hand: u64,
    /// Of those, held for checkouts.
    pub reserved: u64,
    /// Of those, owned by orders.
    pub allocated: u64,
    /// What is left to sell.
    pub available: u64,
}

impl StockItem {
    /// Every place and what is there, by name. Holds that end at `at` or before do not count.
    pub fn levels(&self, at: DateTime<Utc>) -> Vec<Level> {
        let over = self.holds.iter().filter(|(_, hold)| hold.until <= at);
        self.levels_without(over.map(|(_, hold)| hold))
    }

    /// What is left to sell at all places together.
    pub fn available(&self, at: DateTime<Utc>) -> u64 {
        self.levels(at).iter().map(|level| level.available).sum()
    }

    /// Units held for a checkout, if its hold counts at `at`, and until when.
    pub fn hold(
        &self,
        reservation_id: CheckoutId,
        at: DateTime<Utc>,
    ) -> Option<(u32, DateTime<Utc>)> {
        let hold = self.holds.get(&reservation_id).filter(|hold| at < hold.until)?;
        Some((units(&hold.parts), hold.until))
    }

    /// Units an order still owns.
    pub fn allocated_to(&self, order_id: OrderId) -> u32 {
        self.allocations.get(&order_id).map_or(0, |allocation| units(&allocation.parts))
    }

    /// Where the units are that an order still owns, each place once.
    pub fn allocated_at(&self, order_id: OrderId) -> &[LocationQuantity] {
        self.allocations.get(&order_id).map_or(&[], |allocation| &allocation.parts)
    }

    /// Every place as it will be when some holds are released.
    fn levels_without<'a>(&self, released: impl Iterator<Item = &'a Hold>) -> Vec<Level> {
        let mut freed: BTreeMap<&str, u64> = BTreeMap::new();
        for part in released.flat_map(|hold| &hold.parts) {
            *freed.entry(&part.location).or_default() += u64::from(part.quantity);
        }
        let level = |(location, place): (&String, &Place)| {
            let freed = freed.get(location.as_str()).copied().unwrap_or(0);
            let reserved = place.reserved.saturating_sub(freed);
            Level {
                location: location.clone(),
                on_hand: place.on_hand,
                reserved,
                allocated: place.allocated,
                available: place.on_hand.saturating_sub(reserved + place.allocated),
            }
        };
        self.places.iter().map(level).collect()
    }

    fn place(&mut self, location: &str) -> &mut Place {
        self.places.entry(location.to_owned()).or_default()
    }

    fn forget_hold(&mut self, reservation_id: CheckoutId) {
        for part in self.holds.remove(&reservation_id).map(|hold| hold.parts).unwrap_or_default() {
            let place = self.place(&part.location);
            place.reserved = place.reserved.saturating_sub(part.quantity.into());
        }
    }
}

/// Units of all parts. Fits: no hold and no allocation is above [`QUANTITY_MAX`].
fn units(parts: &[LocationQuantity]) -> u32 {
    parts.iter().fold(0, |sum, part| sum.saturating_add(part.quantity))
}

impl Aggregate for StockItem {
    const TYPE: &'static str = "stock_item";
    type Command = StockItemCommand;
    type Event = StockItemEvent;
    type Error = StockItemError;
    type Services = ();

    async fn handle(
        &mut self,
        command: StockItemCommand,
        _services: &(),
        sink: &EventSink<Self>,
    ) -> Result<(), StockItemError> {
        for event in self.decide(command)? {
            sink.write(event, self).await;
        }
        Ok(())
    }

    fn apply(&mut self, event: StockItemEvent) {
        match event {
            StockItemEvent::Received(StockReceived { location, quantity, .. }) => {
                self.place(&location).on_hand += u64::from(quantity);
            }
            StockItemEvent::Adjusted(StockAdjusted { location, delta, .. }) => {
                let place = self.place(&location);
                place.on_hand = place.on_hand.saturating_add_signed(delta);
            }
            StockItemEvent::Reserved(StockReserved { reservation_id, parts, until, .. }) => {
                for part in &parts {
                    self.place(&part.location).reserved += u64::from(part.quantity);
                }
                self.holds.insert(reservation_id, Hold { parts, until, extended: false });
            }
            StockItemEvent::ReservationExtended(StockReservationExtended {
                reservation_id,
                until,
                ..
            }) => {
                if let Some(hold) = self.holds.get_mut(&reservation_id) {
                    (hold.until, hold.extended) = (until, true);
                }
            }
            StockItemEvent::ReservationReleased(StockReservationReleased {
                reservation_id,
                ..
            }) => self.forget_hold(reservation_id),
            StockItemEvent::Allocated(StockAllocated {
                reservation_id, order_id, parts, ..
            }) => {
                self.forget_hold(reservation_id);
                for part in &parts {
                    self.place(&part.location).allocated += u64::from(part.quantity);
                }
                let own = &mut self.allocations.entry(order_id).or_default().parts;
                for part in parts {
                    match own.iter_mut().find(|own| own.location == part.location) {
                        Some(own) => own.quantity += part.quantity,
                        None => own.push(part),
                    }
                }
            }
            StockItemEvent::Deallocated(StockDeallocated {
                order_id, reference, parts, ..
            }) => {
                self.disown(order_id, reference, parts);
            }
            StockItemEvent::Shipped(StockShipped { order_id, reference, parts, .. }) => {
                for part in &parts {
                    let place = self.place(&part.location);
                    place.on_hand = place.on_hand.saturating_sub(part.quantity.into());
                }
                self.disown(order_id, reference, parts);
            }
        }
    }
}

impl StockItem {
    /// Units that an order owns no more.
    fn disown(&mut self, order_id: OrderId, reference: String, parts: Vec<LocationQuantity>) {
        for part in &parts {
            let place = self.place(&part.location);
            place.allocated = place.allocated.saturating_sub(part.quantity.into());
        }
        let allocation = self.allocations.entry(order_id).or_default();
        for part in parts {
            let mut own = allocation.parts.iter_mut();
            if let Some(own) = own.find(|own| own.location == part.location) {
                own.quantity = own.quantity.saturating_sub(part.quantity);
            }
        }
        allocation.parts.retain(|part| 0 < part.quantity);
        allocation.references.insert(reference);
    }
}
