//! Facts about coupons: what a code takes off, and who used it.

use chrono::{DateTime, Utc};
use cqrs_es::DomainEvent;
use serde::{Deserialize, Serialize};

use crate::{ids::CheckoutId, money::Money, quote::Rate, upcast::Upcast};

/// A fact about one coupon. The stream id follows from the store and the code.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type")]
pub enum CouponEvent {
    /// The code takes something off.
    #[serde(rename = "CouponDefined")]
    Defined(CouponDefined),
    /// It takes nothing off any more; uses that are claimed stay.
    #[serde(rename = "CouponDisabled")]
    Disabled(CouponDisabled),
    /// A checkout counts on it.
    #[serde(rename = "CouponUseClaimed")]
    UseClaimed(CouponUseClaimed),
    /// That checkout became an order.
    #[serde(rename = "CouponUseCommitted")]
    UseCommitted(CouponUseCommitted),
    /// That checkout came to nothing, or does without it.
    #[serde(rename = "CouponUseReleased")]
    UseReleased(CouponUseReleased),
}

/// Version 1.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CouponDefined {
    /// The code as people type it, in capitals.
    pub code: String,
    /// Name for people, as it stands on the bill.
    pub title: String,
    /// What it takes off.
    pub value: CouponValue,
    /// What the lines must come to, before any discount; in the currency it is good for.
    pub minimum: Option<Money>,
    /// Uses of all customers together.
    pub limit_total: Option<u32>,
    /// Uses of one customer. Guests cannot use such a coupon: nobody knows who they are.
    pub limit_per_customer: Option<u32>,
    /// Good from then on.
    pub from: DateTime<Utc>,
    /// Not good any more from then on.
    pub until: Option<DateTime<Utc>>,
    /// When it was defined.
    pub at: DateTime<Utc>,
}

/// What a coupon takes off the lines of a purchase.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum CouponValue {
    /// A share.
    Percent {
        /// Which.
        rate: Rate,
    },
    /// An amount, or as much of it as there is.
    Amount {
        /// Which; above zero.
        amount: Money,
    },
}

/// Version 1.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CouponDisabled {
    /// When.
    pub at: DateTime<Utc>,
}

/// Version 1. A checkout that claims again replaces its claim.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CouponUseClaimed {
    /// The checkout.
    pub checkout_id: CheckoutId,
    /// The merchant's own reference of the customer; none for a guest.
    pub customer_reference: Option<String>,
    /// The claim does not count any more from then on. Those of payments last longer than any
    /// checkout; early ones had no end.
    pub until: Option<DateTime<Utc>>,
    /// When.
    pub at: DateTime<Utc>,
}

/// Version 1.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CouponUseCommitted {
    /// The checkout.
    pub checkout_id: CheckoutId,
    /// Whose.
    pub customer_reference: Option<String>,
    /// When.
    pub at: DateTime<Utc>,
}

/// Version 1.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CouponUseReleased {
    /// The checkout.
    pub checkout_id: CheckoutId,
    /// When.
    pub at: DateTime<Utc>,
}

impl DomainEvent for CouponEvent {
    fn event_type(&self) -> String {
        let name = match self {
            Self::Defined(_) => "CouponDefined",
            Self::Disabled(_) => "CouponDisabled",
            Self::UseClaimed(_) => "CouponUseClaimed",
            Self::UseCommitted(_) => "CouponUseCommitted",
            Self::UseReleased(_) => "CouponUseReleased",
        };
        name.to_owned()
    }

    fn event_version(&self) -> String {
        "1".to_owned()
    }
}

/// Oldest first.
pub const UPCASTS: &[Upcast] = &[];
