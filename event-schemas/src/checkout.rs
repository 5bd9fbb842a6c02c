//! Facts about checkouts: the steps of one attempt to buy, so that an auditor can replay why an
//! order came to be or did not.

use chrono::{DateTime, Utc};
use cqrs_es::DomainEvent;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    ids::{CartId, OrderId, PaymentId, VariantId},
    money::Money,
    order::{Channel, Charge, OrderLine},
    payment::{DeclineAdvice, PaymentAction},
    quote::{Quote, ShippingOption},
    sealed::Sealed,
    upcast::Upcast,
};

/// A fact about one checkout. The stream id is the checkout id.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type")]
pub enum CheckoutEvent {
    /// Somebody wants to buy; the stock of every line shall be held.
    #[serde(rename = "CheckoutStarted")]
    Started(CheckoutStarted),
    /// Every line is held. Now it is the shopper's turn to pay.
    #[serde(rename = "CheckoutStockSecured")]
    StockSecured(CheckoutStockSecured),
    /// Where it shall go.
    #[serde(rename = "ShippingAddressSet")]
    AddressSet(ShippingAddressSet),
    /// How it shall get there, and for how much.
    #[serde(rename = "ShippingChosen")]
    ShippingChosen(ShippingChosen),
    /// What it costs, all told, for as long as the quote is good.
    #[serde(rename = "CheckoutPriced")]
    Priced(CheckoutPriced),
    /// The shopper gave a means of payment; the amount shall be authorised.
    #[serde(rename = "PaymentStarted")]
    PaymentStarted(PaymentStarted),
    /// The shopper has to do something for the provider.
    #[serde(rename = "CheckoutActionRequired")]
    ActionRequired(CheckoutActionRequired),
    /// The provider's answer is not known yet; it is asked again until it is.
    #[serde(rename = "CheckoutPaymentUnclear")]
    PaymentUnclear(CheckoutPaymentUnclear),
    /// The provider refused this means of payment. The hold stays; another attempt is welcome.
    #[serde(rename = "CheckoutPaymentDeclined")]
    PaymentDeclined(CheckoutPaymentDeclined),
    /// The hold lasts longer, once, because a payment is under way.
    #[serde(rename = "CheckoutHoldExtended")]
    HoldExtended(CheckoutHoldExtended),
    /// The money is authorised: the order shall be placed, confirmed and captured.
    #[serde(rename = "CheckoutPaymentAuthorised")]
    PaymentAuthorised(CheckoutPaymentAuthorised),
    /// There is an order and its money is captured. The end.
    #[serde(rename = "CheckoutCompleted")]
    Completed(CheckoutCompleted),
    /// It will not come to an order: what was done shall be undone.
    #[serde(rename = "CheckoutCompensationStarted")]
    CompensationStarted(CheckoutCompensationStarted),
    /// Everything is undone; nothing is held and nothing was charged. The end.
    #[serde(rename = "CheckoutFailed")]
    Failed(CheckoutFailed),
    /// A step neither works nor can be given up; a person has to look.
    #[serde(rename = "CheckoutStuck")]
    Stuck(CheckoutStuck),
}

/// Version 2. Prices are the store's at that moment; nothing here was priced by the client.
///
/// Version 1 knew neither `cart_id` nor `coupons`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckoutStarted {
    /// What shall be bought.
    pub lines: Vec<OrderLine>,
    /// What else is charged or taken off.
    pub charges: Vec<Charge>,
    /// Exact sum of lines and charges.
    pub total: Money,
    /// The merchant's own reference of the customer; no name, no address. None for a guest.
    pub customer_reference: Option<String>,
    /// Country the order goes to, as given. An address that was set says it better.
    pub country: Option<String>,
    /// The cart it was made of. None if the lines were sent.
    pub cart_id: Option<CartId>,
    /// Codes of coupons the shopper gave, in capitals; what they are worth is for the quote.
    pub coupons: Vec<String>,
    /// Where it was made.
    pub channel: Channel,
    /// Number the order shall have; the store's next one if none.
    pub order_number: Option<String>,
    /// From this moment on the stock is not held any more.
    pub hold_until: DateTime<Utc>,
    /// Business time of every step, for a purchase of the past that is taken over.
    pub backdated_to: Option<DateTime<Utc>>,
    /// When it began.
    pub at: DateTime<Utc>,
}

/// Version 1.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckoutStockSecured {
    /// When.
    pub at: DateTime<Utc>,
}

/// Version 1. What taxes and rates of carriage follow from is in the clear, the rest is not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShippingAddressSet {
    /// Name, address, e-mail: JSON, sealed.
    pub address: Sealed,
    /// Country, two capitals of ISO 3166-1.
    pub country: String,
    /// Part of the country, as in ISO 3166-2 without the country, such as `CA`; in capitals.
    pub region: Option<String>,
    /// Beginning of the postcode, which names a district and no house; in capitals.
    pub postcode_prefix: Option<String>,
    /// When.
    pub at: DateTime<Utc>,
}

/// Version 1.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShippingChosen {
    /// What was chosen, as it was offered.
    pub option: ShippingOption,
    /// When.
    pub at: DateTime<Utc>,
}

/// Version 1.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckoutPriced {
    /// What the shopper accepts by paying.
    pub quote: Quote,
    /// When.
    pub at: DateTime<Utc>,
}

/// Version 1.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PaymentStarted {
    /// Which attempt, from 1.
    pub attempt: u32,
    /// Its payment.
    pub payment_id: PaymentId,
    /// The provider's token of the card; never a card number.
    pub payment_method: String,
    /// When.
    pub at: DateTime<Utc>,
}

/// Version 2. In version 1 the action was always `three_d_secure`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckoutActionRequired {
    /// Which attempt.
    pub attempt: u32,
    /// What the shopper has to do.
    pub action: PaymentAction,
    /// When.
    pub at: DateTime<Utc>,
}

/// Version 1.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckoutPaymentUnclear {
    /// Which attempt.
    pub attempt: u32,
    /// When.
    pub at: DateTime<Utc>,
}

/// Version 1.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckoutPaymentDeclined {
    /// Which attempt.
    pub attempt: u32,
    /// The provider's code.
    pub code: String,
    /// What the shopper should do.
    pub advice: DeclineAdvice,
    /// When.
    pub at: DateTime<Utc>,
}

/// Version 1.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckoutHoldExtended {
    /// The new end of the hold.
    pub until: DateTime<Utc>,
    /// When.
    pub at: DateTime<Utc>,
}

/// Version 1.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckoutPaymentAuthorised {
    /// Which attempt.
    pub attempt: u32,
    /// When.
    pub at: DateTime<Utc>,
}

/// Version 1.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckoutCompleted {
    /// The order.
    pub order_id: OrderId,
    /// Its number.
    pub order_number: String,
    /// When.
    pub at: DateTime<Utc>,
}

/// Version 1.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckoutCompensationStarted {
    /// Why.
    pub cause: FailureCause,
    /// When.
    pub at: DateTime<Utc>,
}

/// Version 1.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckoutFailed {
    /// Why.
    pub cause: FailureCause,
    /// When.
    pub at: DateTime<Utc>,
}

/// Why a checkout came to nothing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(tag = "code", rename_all = "snake_case")]
pub enum FailureCause {
    /// Some lines could not be held.
    InsufficientStock {
        /// Those lines.
        lines: Vec<Shortage>,
    },
    /// The hold ended before the money was there.
    Expired,
    /// The shopper or the merchant gave it up.
    Abandoned,
    /// The order was refused, for example because its number is taken.
    OrderRefused {
        /// Why.
        detail: String,
    },
    /// The provider authorised but would not capture.
    CaptureFailed {
        /// The provider's code.
        provider_code: String,
    },
}

/// A line that could not be held.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Shortage {
    /// What was wanted.
    pub variant_id: VariantId,
    /// Units wanted.
    pub requested: u32,
    /// Units that were there.
    pub available: u32,
}

/// Version 1.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckoutStuck {
    /// The step that does not go on.
    pub step: String,
    /// What it says.
    pub detail: String,
    /// When.
    pub at: DateTime<Utc>,
}

impl DomainEvent for CheckoutEvent {
    fn event_type(&self) -> String {
        let name = match self {
            Self::Started(_) => "CheckoutStarted",
            Self::StockSecured(_) => "CheckoutStockSecured",
            Self::AddressSet(_) => "ShippingAddressSet",
            Self::ShippingChosen(_) => "ShippingChosen",
            Self::Priced(_) => "CheckoutPriced",
            Self::PaymentStarted(_) => "PaymentStarted",
            Self::ActionRequired(_) => "CheckoutActionRequired",
            Self::PaymentUnclear(_) => "CheckoutPaymentUnclear",
            Self::PaymentDeclined(_) => "CheckoutPaymentDeclined",
            Self::HoldExtended(_) => "CheckoutHoldExtended",
            Self::PaymentAuthorised(_) => "CheckoutPaymentAuthorised",
            Self::Completed(_) => "CheckoutCompleted",
            Self::CompensationStarted(_) => "CheckoutCompensationStarted",
            Self::Failed(_) => "CheckoutFailed",
            Self::Stuck(_) => "CheckoutStuck",
        };
        name.to_owned()
    }

    fn event_version(&self) -> String {
        match self {
            Self::Started(_) | Self::ActionRequired(_) => "2",
            _ => "1",
        }
        .to_owned()
    }
}

/// Oldest first.
pub const UPCASTS: &[Upcast] = &[
    Upcast {
        event_type: "CheckoutStarted",
        from: 1,
        change: |fields| {
            fields.insert("cart_id".into(), Value::Null);
            fields.insert("coupons".into(), Value::Array(vec![]));
        },
    },
    Upcast { event_type: "CheckoutActionRequired", from: 1, change: |_| {} },
];
