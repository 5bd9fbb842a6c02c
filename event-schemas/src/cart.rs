//! Facts about carts: what somebody has gathered, and what became of it.

use chrono::{DateTime, Utc};
use cqrs_es::DomainEvent;
use serde::{Deserialize, Serialize};

use crate::{
    ids::{CartId, CheckoutId, OrderId, VariantId},
    money::Money,
    upcast::Upcast,
};

/// A fact about one cart. The stream id is the cart id.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type")]
pub enum CartEvent {
    /// There is an empty cart.
    #[serde(rename = "CartStarted")]
    Started(CartStarted),
    /// Units were put into it.
    #[serde(rename = "CartItemAdded")]
    ItemAdded(CartItemAdded),
    /// A line has another quantity.
    #[serde(rename = "CartItemQuantityChanged")]
    QuantityChanged(CartItemQuantityChanged),
    /// A line was taken out.
    #[serde(rename = "CartItemRemoved")]
    ItemRemoved(CartItemRemoved),
    /// The shopper has seen what lines cost now.
    #[serde(rename = "CartPricesSeen")]
    PricesSeen(CartPricesSeen),
    /// The shopper gave the code of a coupon.
    #[serde(rename = "CartCouponApplied")]
    CouponApplied(CartCouponApplied),
    /// The shopper took the code back.
    #[serde(rename = "CartCouponRemoved")]
    CouponRemoved(CartCouponRemoved),
    /// It is known whose cart it is.
    #[serde(rename = "CartCustomerIdentified")]
    CustomerIdentified(CartCustomerIdentified),
    /// What was in another cart is in this one.
    #[serde(rename = "CartMerged")]
    Merged(CartMerged),
    /// What was in this cart is in another one. The end.
    #[serde(rename = "CartMergedInto")]
    MergedInto(CartMergedInto),
    /// A checkout is made of it; until that has ended nothing changes here.
    #[serde(rename = "CartCheckoutBegun")]
    CheckoutBegun(CartCheckoutBegun),
    /// That checkout came to nothing; shopping goes on.
    #[serde(rename = "CartReopened")]
    Reopened(CartReopened),
    /// That checkout became an order. The end.
    #[serde(rename = "CartCheckedOut")]
    CheckedOut(CartCheckedOut),
}

/// Version 1.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CartStarted {
    /// The merchant's own reference of the customer; no name, no address. None for a guest.
    pub customer_reference: Option<String>,
    /// When.
    pub at: DateTime<Utc>,
}

/// Version 1.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CartItemAdded {
    /// What; a cart has one line for it.
    pub variant_id: VariantId,
    /// Units that came on top.
    pub quantity: u32,
    /// What one unit cost then, which the shopper was shown. No promise.
    pub unit_price: Money,
    /// When.
    pub at: DateTime<Utc>,
}

/// Version 1.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CartItemQuantityChanged {
    /// Which line.
    pub variant_id: VariantId,
    /// Units it has now.
    pub quantity: u32,
    /// When.
    pub at: DateTime<Utc>,
}

/// Version 1.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CartItemRemoved {
    /// Which line.
    pub variant_id: VariantId,
    /// When.
    pub at: DateTime<Utc>,
}

/// Version 1.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CartPricesSeen {
    /// The lines that cost something else than the shopper had seen before.
    pub prices: Vec<SeenPrice>,
    /// When.
    pub at: DateTime<Utc>,
}

/// What one unit cost when the shopper was shown it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SeenPrice {
    /// Which line.
    pub variant_id: VariantId,
    /// The price.
    pub unit_price: Money,
}

/// Version 1.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CartCouponApplied {
    /// The code, in capitals.
    pub code: String,
    /// When.
    pub at: DateTime<Utc>,
}

/// Version 1.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CartCouponRemoved {
    /// The code, in capitals.
    pub code: String,
    /// When.
    pub at: DateTime<Utc>,
}

/// Version 1.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CartCustomerIdentified {
    /// The merchant's own reference of the customer; no name, no address.
    pub customer_reference: String,
    /// When.
    pub at: DateTime<Utc>,
}

/// Version 1. Of a variant in both carts the larger quantity counts, so that merging again changes
/// nothing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CartMerged {
    /// The other cart.
    pub from: CartId,
    /// The lines that are new here or have more units than before, as they are from now on.
    pub lines: Vec<CartLine>,
    /// Codes that are new here.
    pub coupons: Vec<String>,
    /// When.
    pub at: DateTime<Utc>,
}

/// A line of a cart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CartLine {
    /// What.
    pub variant_id: VariantId,
    /// Units, at least one.
    pub quantity: u32,
    /// What one unit cost when the shopper was shown it last. No promise.
    pub unit_price: Money,
}

/// Version 1.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CartMergedInto {
    /// The other cart, which has everything.
    pub into: CartId,
    /// When.
    pub at: DateTime<Utc>,
}

/// Version 1.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CartCheckoutBegun {
    /// The checkout.
    pub checkout_id: CheckoutId,
    /// When.
    pub at: DateTime<Utc>,
}

/// Version 1.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CartReopened {
    /// The checkout that came to nothing.
    pub checkout_id: CheckoutId,
    /// When.
    pub at: DateTime<Utc>,
}

/// Version 1.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CartCheckedOut {
    /// The checkout.
    pub checkout_id: CheckoutId,
    /// The order it became.
    pub order_id: OrderId,
    /// Who may have another cart from now on. None for a guest.
    pub customer_reference: Option<String>,
    /// When.
    pub at: DateTime<Utc>,
}

impl DomainEvent for CartEvent {
    fn event_type(&self) -> String {
        let name = match self {
            Self::Started(_) => "CartStarted",
            Self::ItemAdded(_) => "CartItemAdded",
            Self::QuantityChanged(_) => "CartItemQuantityChanged",
            Self::ItemRemoved(_) => "CartItemRemoved",
            Self::PricesSeen(_) => "CartPricesSeen",
            Self::CouponApplied(_) => "CartCouponApplied",
            Self::CouponRemoved(_) => "CartCouponRemoved",
            Self::CustomerIdentified(_) => "CartCustomerIdentified",
            Self::Merged(_) => "CartMerged",
            Self::MergedInto(_) => "CartMergedInto",
            Self::CheckoutBegun(_) => "CartCheckoutBegun",
            Self::Reopened(_) => "CartReopened",
            Self::CheckedOut(_) => "CartCheckedOut",
        };
        name.to_owned()
    }

    fn event_version(&self) -> String {
        "1".to_owned()
    }
}

/// Oldest first.
pub const UPCASTS: &[Upcast] = &[];
