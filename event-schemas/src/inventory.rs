//! Facts about stock: how many units of a variant are where, and for whom.

use chrono::{DateTime, Utc};
use cqrs_es::DomainEvent;
use serde::{Deserialize, Serialize};

use crate::{
    ids::{CheckoutId, OrderId},
    money::Money,
    upcast::Upcast,
};

/// A fact about the stock of one variant. The stream id is the variant id.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type")]
pub enum StockItemEvent {
    /// Units arrived.
    #[serde(rename = "StockReceived")]
    Received(StockReceived),
    /// The count was corrected, with a reason.
    #[serde(rename = "StockAdjusted")]
    Adjusted(StockAdjusted),
    /// Units are held for a checkout until a moment.
    #[serde(rename = "StockReserved")]
    Reserved(StockReserved),
    /// A hold lasts longer, because a payment is under way.
    #[serde(rename = "StockReservationExtended")]
    ReservationExtended(StockReservationExtended),
    /// Held units are free again.
    #[serde(rename = "StockReservationReleased")]
    ReservationReleased(StockReservationReleased),
    /// Held units belong to an order.
    #[serde(rename = "StockAllocated")]
    Allocated(StockAllocated),
    /// Units of an order are free again: it was cancelled or refunded.
    #[serde(rename = "StockDeallocated")]
    Deallocated(StockDeallocated),
    /// Units of an order left the house.
    #[serde(rename = "StockShipped")]
    Shipped(StockShipped),
}

/// Units at one place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LocationQuantity {
    /// Code of the place, such as `main`.
    pub location: String,
    /// Units, at least one.
    pub quantity: u32,
}

/// Version 1.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StockReceived {
    /// Code of the place.
    pub location: String,
    /// Units, at least one.
    pub quantity: u32,
    /// Where they came from.
    pub source: StockSource,
    /// What one unit cost us, if known.
    pub unit_cost: Option<Money>,
    /// Document behind it, such as a delivery note number.
    pub reference: Option<String>,
    /// When they arrived.
    pub at: DateTime<Utc>,
}

/// Where units come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum StockSource {
    /// Stock that was there when the shop began.
    Opening,
    /// A supplier's delivery.
    Purchase,
    /// A customer's return.
    Return,
    /// Taken over from another system.
    Import,
}

/// Version 1.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StockAdjusted {
    /// Code of the place.
    pub location: String,
    /// Units more, or fewer if negative; never zero.
    pub delta: i64,
    /// Why, in the words of who did it.
    pub reason: String,
    /// Document behind it.
    pub reference: Option<String>,
    /// When it was corrected.
    pub at: DateTime<Utc>,
}

/// Version 2. Version 1 did not say why these places.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StockReserved {
    /// The checkout the units are held for; one hold per checkout.
    pub reservation_id: CheckoutId,
    /// Which units: places in the order they are taken from.
    pub parts: Vec<LocationQuantity>,
    /// Why these places and no others.
    pub reason: PlaceChoice,
    /// From this moment on the hold does not count any more.
    pub until: DateTime<Utc>,
    /// When they were held.
    pub at: DateTime<Utc>,
}

/// Why units are taken from these places. `main` is asked first, then the others by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PlaceChoice {
    /// The place that is asked first had them all.
    FirstPlace,
    /// Places asked before had too few; this is the first with them all: one parcel.
    FirstWithAll,
    /// No place had them all: as few as possible, those with most first.
    FewestPlaces,
    /// The place was given: the units are there and leave from there.
    AsShipped,
    /// Held before reasons were written down.
    Unrecorded,
}

/// Version 1.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StockReservationExtended {
    /// Which hold.
    pub reservation_id: CheckoutId,
    /// The new end.
    pub until: DateTime<Utc>,
    /// When it was extended.
    pub at: DateTime<Utc>,
}

/// Version 1.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StockReservationReleased {
    /// Which hold.
    pub reservation_id: CheckoutId,
    /// The units that are free again.
    pub parts: Vec<LocationQuantity>,
    /// Why.
    pub cause: ReleaseCause,
    /// When they became free.
    pub at: DateTime<Utc>,
}

/// Why a hold ended without an order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReleaseCause {
    /// Its time was over.
    Expired,
    /// The checkout failed or was given up.
    Cancelled,
}

/// Version 1.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StockAllocated {
    /// The hold that ended by this.
    pub reservation_id: CheckoutId,
    /// The order the units belong to.
    pub order_id: OrderId,
    /// Which units.
    pub parts: Vec<LocationQuantity>,
    /// When.
    pub at: DateTime<Utc>,
}

/// Version 1.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StockDeallocated {
    /// The order that no longer needs the units.
    pub order_id: OrderId,
    /// What took them back, such as a refund id; repeating it changes nothing.
    pub reference: String,
    /// Which units.
    pub parts: Vec<LocationQuantity>,
    /// When.
    pub at: DateTime<Utc>,
}

/// Version 1.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StockShipped {
    /// The order the units belonged to.
    pub order_id: OrderId,
    /// What they left with, a fulfilment id; repeating it changes nothing.
    pub reference: String,
    /// Which units: neither on hand nor allocated any more.
    pub parts: Vec<LocationQuantity>,
    /// When they left.
    pub at: DateTime<Utc>,
}

impl DomainEvent for StockItemEvent {
    fn event_type(&self) -> String {
        let name = match self {
            Self::Received(_) => "StockReceived",
            Self::Adjusted(_) => "StockAdjusted",
            Self::Reserved(_) => "StockReserved",
            Self::ReservationExtended(_) => "StockReservationExtended",
            Self::ReservationReleased(_) => "StockReservationReleased",
            Self::Allocated(_) => "StockAllocated",
            Self::Deallocated(_) => "StockDeallocated",
            Self::Shipped(_) => "StockShipped",
        };
        name.to_owned()
    }

    fn event_version(&self) -> String {
        let version = match self {
            Self::Reserved(_) => "2",
            _ => "1",
        };
        version.to_owned()
    }
}

/// Oldest first.
pub const UPCASTS: &[Upcast] = &[Upcast {
    event_type: "StockReserved",
    from: 1,
    change: |fields| {
        fields.insert("reason".to_owned(), "unrecorded".into());
    },
}];
