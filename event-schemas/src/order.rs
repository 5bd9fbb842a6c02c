//! Facts about orders: what was bought, and what became of it.

use chrono::{DateTime, Utc};
use cqrs_es::DomainEvent;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    fulfilment::{FulfilmentCancelled, FulfilmentCreated, FulfilmentDelivered, FulfilmentShipped},
    ids::{CheckoutId, LineId, PaymentId, ProductId, RefundId, VariantId},
    money::Money,
    quote::Pricing,
    sealed::Sealed,
    store::CaptureMoment,
    upcast::Upcast,
};

/// A fact about one order. The stream id is the order id.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type")]
pub enum OrderEvent {
    /// The shopper's money is authorised and the order has a number.
    #[serde(rename = "OrderPlaced")]
    Placed(OrderPlaced),
    /// Its stock is allocated: nothing stands in its way.
    #[serde(rename = "OrderConfirmed")]
    Confirmed(OrderConfirmed),
    /// Its money is captured.
    #[serde(rename = "OrderPaid")]
    Paid(OrderPaid),
    /// Somebody wants it undone; stock and money follow.
    #[serde(rename = "OrderCancellationRequested")]
    CancellationRequested(OrderCancellationRequested),
    /// Nobody will fulfil it any more; its stock is free and its money given back.
    #[serde(rename = "OrderCancelled")]
    Cancelled(OrderCancelled),
    /// Money shall go back for some of it.
    #[serde(rename = "OrderRefundRequested")]
    RefundRequested(OrderRefundRequested),
    /// That money went back.
    #[serde(rename = "OrderRefundRecorded")]
    RefundRecorded(OrderRefundRecorded),
    /// That money could not be sent back; a person has to look.
    #[serde(rename = "OrderRefundFailed")]
    RefundFailed(OrderRefundFailed),
    /// Units are to leave together.
    #[serde(rename = "FulfilmentCreated")]
    FulfilmentCreated(FulfilmentCreated),
    /// They left.
    #[serde(rename = "FulfilmentShipped")]
    FulfilmentShipped(FulfilmentShipped),
    /// They arrived.
    #[serde(rename = "FulfilmentDelivered")]
    FulfilmentDelivered(FulfilmentDelivered),
    /// They do not leave after all.
    #[serde(rename = "FulfilmentCancelled")]
    FulfilmentCancelled(FulfilmentCancelled),
}

/// Version 2; version 1 had neither `pricing` nor `ship_to`. `total` is the exact sum of `lines` and
/// `charges`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OrderPlaced {
    /// Number for people, unique in the store.
    pub number: String,
    /// The checkout it came from; one order per checkout.
    pub checkout_id: CheckoutId,
    /// The payment behind it.
    pub payment_id: PaymentId,
    /// What was bought, as it was shown then.
    pub lines: Vec<OrderLine>,
    /// What else was charged or taken off.
    pub charges: Vec<Charge>,
    /// What the shopper owes.
    pub total: Money,
    /// The merchant's own reference of the customer; no name, no address. None for a guest.
    pub customer_reference: Option<String>,
    /// Country the order goes to, as given.
    pub country: Option<String>,
    /// Where the order was made.
    pub channel: Channel,
    /// How the total came about; none if the lines are all there is to it.
    pub pricing: Option<Box<Pricing>>,
    /// Name, address and e-mail, sealed; none if nobody asked for them.
    pub ship_to: Option<Sealed>,
    /// When the shopper placed it.
    pub at: DateTime<Utc>,
}

/// One product line: a snapshot, so that later changes of the catalogue do not reach it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct OrderLine {
    /// The line.
    pub line_id: LineId,
    /// The product bought.
    pub product_id: ProductId,
    /// The variant bought.
    pub variant_id: VariantId,
    /// Its stock keeping unit then.
    pub sku: Option<String>,
    /// Its name then.
    pub title: String,
    /// Units, at least one.
    pub quantity: u32,
    /// What one unit cost.
    pub unit_price: Money,
}

impl OrderLine {
    /// `quantity` times `unit_price`; `None` if it does not fit.
    pub fn total(&self) -> Option<Money> {
        self.unit_price.checked_mul(i64::from(self.quantity))
    }
}

/// Money on an order that is no product.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Charge {
    /// What it is for.
    pub kind: ChargeKind,
    /// The merchant's code, such as `POST`.
    pub code: String,
    /// Name for people.
    pub title: String,
    /// The whole amount; negative where the shopper pays less for it.
    pub amount: Money,
}

/// What a charge is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ChargeKind {
    /// Carriage.
    Postage,
    /// A reduction.
    Discount,
    /// Something typed in by hand.
    Manual,
    /// A bank's or other fee.
    Fee,
    /// Tax on top of prices that come without it.
    Tax,
}

/// Where an order was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Channel {
    /// Through the API.
    Api,
    /// Taken over from another system.
    Import,
}

impl Channel {
    /// As stored and shown.
    pub fn code(self) -> &'static str {
        match self {
            Self::Api => "api",
            Self::Import => "import",
        }
    }
}

/// Version 2. Version 1 did not say when the money is taken: it was at once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OrderConfirmed {
    /// When its money is taken: the store's policy then.
    pub capture: CaptureMoment,
    /// When.
    pub at: DateTime<Utc>,
}

/// Version 1.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OrderPaid {
    /// What was captured.
    pub amount: Money,
    /// When.
    pub at: DateTime<Utc>,
}

/// Version 1.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OrderCancellationRequested {
    /// The refund that gives back what was captured.
    pub refund_id: RefundId,
    /// Why, in the words of who asked.
    pub reason: String,
    /// When.
    pub at: DateTime<Utc>,
}

/// Version 1.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OrderCancelled {
    /// Why.
    pub reason: String,
    /// When.
    pub at: DateTime<Utc>,
}

/// Version 2. In version 1 all units of `lines` had not left the house: `restock` is `cancel`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OrderRefundRequested {
    /// The refund; also its idempotency key at the provider.
    pub refund_id: RefundId,
    /// Document behind it, such as the number of a credit note.
    pub reference: Option<String>,
    /// What goes back; above zero.
    pub amount: Money,
    /// Which units it is for, and what becomes of them.
    pub lines: Vec<RefundLine>,
    /// Why.
    pub reason: String,
    /// When.
    pub at: DateTime<Utc>,
}

/// Units of an order line that are refunded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct RefundLine {
    /// Which line of the order.
    pub line_id: LineId,
    /// Units, at least one.
    pub quantity: u32,
    /// What becomes of them. Read models may hold lines from before there was a choice.
    #[serde(default)]
    pub restock: Restock,
}

/// What becomes of units that are refunded.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Serialize,
    Deserialize,
    utoipa::ToSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Restock {
    /// They have not left the house and shall not: free to be sold again.
    #[default]
    Cancel,
    /// They left and are back on the shelf they came from.
    Return,
    /// They left and do not come back, or cannot be sold again.
    None,
}

/// Version 1.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OrderRefundRecorded {
    /// Which refund.
    pub refund_id: RefundId,
    /// Document behind it.
    pub reference: Option<String>,
    /// What went back.
    pub amount: Money,
    /// When.
    pub at: DateTime<Utc>,
}

/// Version 1.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OrderRefundFailed {
    /// Which refund.
    pub refund_id: RefundId,
    /// The provider's code.
    pub code: String,
    /// When.
    pub at: DateTime<Utc>,
}

impl DomainEvent for OrderEvent {
    fn event_type(&self) -> String {
        let name = match self {
            Self::Placed(_) => "OrderPlaced",
            Self::Confirmed(_) => "OrderConfirmed",
            Self::Paid(_) => "OrderPaid",
            Self::CancellationRequested(_) => "OrderCancellationRequested",
            Self::Cancelled(_) => "OrderCancelled",
            Self::RefundRequested(_) => "OrderRefundRequested",
            Self::RefundRecorded(_) => "OrderRefundRecorded",
            Self::RefundFailed(_) => "OrderRefundFailed",
            Self::FulfilmentCreated(_) => "FulfilmentCreated",
            Self::FulfilmentShipped(_) => "FulfilmentShipped",
            Self::FulfilmentDelivered(_) => "FulfilmentDelivered",
            Self::FulfilmentCancelled(_) => "FulfilmentCancelled",
        };
        name.to_owned()
    }

    fn event_version(&self) -> String {
        let version = match self {
            Self::Placed(_) | Self::Confirmed(_) | Self::RefundRequested(_) => "2",
            _ => "1",
        };
        version.to_owned()
    }
}

/// A fact about money given back that belongs to no order we know. The stream id is its own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type")]
pub enum AdjustmentEvent {
    /// It was given back.
    #[serde(rename = "RefundAdjustmentRecorded")]
    Recorded(RefundAdjustmentRecorded),
}

/// Version 1.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefundAdjustmentRecorded {
    /// Document behind it, unique in the store.
    pub reference: String,
    /// What went back; above zero.
    pub amount: Money,
    /// What it was for.
    pub lines: Vec<AdjustmentLine>,
    /// The merchant's own reference of the customer.
    pub customer_reference: Option<String>,
    /// Why.
    pub reason: String,
    /// When it was given back.
    pub at: DateTime<Utc>,
}

/// What a stand-alone refund was for, in the words of its document.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AdjustmentLine {
    /// The merchant's code.
    pub code: String,
    /// Name for people.
    pub title: String,
    /// Units given back.
    pub quantity: u32,
    /// What one unit was refunded at.
    pub unit_price: Money,
}

impl DomainEvent for AdjustmentEvent {
    fn event_type(&self) -> String {
        let Self::Recorded(_) = self;
        "RefundAdjustmentRecorded".to_owned()
    }

    fn event_version(&self) -> String {
        "1".to_owned()
    }
}

/// Oldest first.
pub const UPCASTS: &[Upcast] = &[
    Upcast {
        event_type: "OrderPlaced",
        from: 1,
        change: |fields| {
            fields.insert("pricing".to_owned(), Value::Null);
            fields.insert("ship_to".to_owned(), Value::Null);
        },
    },
    Upcast {
        event_type: "OrderConfirmed",
        from: 1,
        change: |fields| {
            fields.insert("capture".to_owned(), "immediately".into());
        },
    },
    Upcast {
        event_type: "OrderRefundRequested",
        from: 1,
        change: |fields| {
            let lines = fields.get_mut("lines").and_then(Value::as_array_mut);
            for line in lines.into_iter().flatten().filter_map(Value::as_object_mut) {
                line.insert("restock".to_owned(), "cancel".into());
            }
        },
    },
];
