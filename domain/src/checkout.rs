//! Checkouts: one attempt to buy, step by step. The stream of a checkout is the record of its
//! process: whoever carries the process out asks it what comes next and tells it what happened.

use chrono::{DateTime, Duration, Utc};
use event_schemas::{
    checkout::FailureCause,
    ids::{CartId, CheckoutId, OrderId, PaymentId},
    money::Money,
    order::{Channel, Charge, OrderLine},
    payment::{DeclineAdvice, PaymentAction},
    quote::{Quote, ShippingOption},
    sealed::Sealed,
};

use crate::pricing::TOTAL_MINOR_MAX;

#[cfg(test)]
mod properties;
mod rules;
mod state;
#[cfg(test)]
mod tests;

pub use state::{Checkout, Decline, PaymentAttempt, Phase, Stuck, Waiting};

/// Attempts to pay in one checkout: a shopper has a few cards, a card tester has thousands.
pub const ATTEMPTS_MAX: u32 = 10;

/// Addresses, ways to send and quotes of one checkout: a quote has every line, so that some hundred
/// of them are as much as can be read at once.
pub const CHANGES_MAX: u32 = 100;

/// By how much a hold is extended, once, while a payment is under way.
pub const HOLD_EXTENSION: Duration = Duration::minutes(15);

/// How long after the end of its hold a payment's claim on a coupon lapses: the process ends a
/// checkout with its hold, and is back within a day if it was away. So no claim outlives its
/// checkout for ever, and none lapses before.
pub const CLAIM_AFTER_HOLD: Duration = Duration::days(1);

/// Longest token of a card, in characters.
pub const PAYMENT_METHOD_CHARS_MAX: usize = 255;

/// Stands for the token of a payment whose means the shopper gives to the provider directly.
pub const CONFIRM_WITH_PROVIDER: &str = "confirm_with_provider";

/// The order a checkout may become: one per checkout, for ever.
pub fn order_id(checkout_id: CheckoutId) -> OrderId {
    OrderId::derive(&[checkout_id.0.as_bytes()])
}

/// The payment of one attempt of a checkout, counted from 1.
pub fn payment_id(checkout_id: CheckoutId, attempt: u32) -> PaymentId {
    PaymentId::derive(&[checkout_id.0.as_bytes(), &attempt.to_be_bytes()])
}

/// What can be asked of a checkout, or told to it.
///
/// `Begin`, `SetAddress`, `StartPayment` and `Abandon` come from people and may be refused. The others come from
/// the process itself: one that does not fit the phase is a repeat or late, and changes nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CheckoutCommand {
    /// Somebody wants to buy.
    Begin(Box<BeginCheckout>),
    /// The shopper gives a means of payment. `now` is compared with the hold.
    StartPayment {
        checkout_id: CheckoutId,
        payment_method: String,
        terms: Terms,
        now: DateTime<Utc>,
        at: DateTime<Utc>,
    },
    /// The shopper says where it shall go. `now` is compared with the hold.
    SetAddress { destination: Box<Destination>, now: DateTime<Utc>, at: DateTime<Utc> },
    /// The shopper chooses how it is sent.
    ChooseShipping { option: Box<ShippingOption>, now: DateTime<Utc>, at: DateTime<Utc> },
    /// This is what it costs, for a while.
    Price { quote: Box<Quote>, now: DateTime<Utc>, at: DateTime<Utc> },
    /// The shopper or the merchant gives it up.
    Abandon { at: DateTime<Utc> },
    /// Every line is held.
    SecureStock { at: DateTime<Utc> },
    /// The shopper has to do something.
    RequireAction { attempt: u32, action: PaymentAction, at: DateTime<Utc> },
    /// The provider's answer is not known.
    RecordUnclear { attempt: u32, at: DateTime<Utc> },
    /// The provider refused.
    RecordDeclined { attempt: u32, code: String, advice: DeclineAdvice, at: DateTime<Utc> },
    /// The hold lasts longer. Once.
    ExtendHold { until: DateTime<Utc>, at: DateTime<Utc> },
    /// The money is authorised.
    RecordAuthorised { attempt: u32, at: DateTime<Utc> },
    /// There is a paid order.
    Complete { order_id: OrderId, order_number: String, at: DateTime<Utc> },
    /// What was done shall be undone.
    StartCompensation { cause: FailureCause, at: DateTime<Utc> },
    /// It is undone.
    Fail { at: DateTime<Utc> },
    /// A step does not go on.
    MarkStuck { step: String, detail: String, at: DateTime<Utc> },
}

/// What has to be known before a payment begins, and what whoever pays believes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Terms {
    /// The store has rules of its own for carriage: it must have been chosen.
    pub needs_shipping: bool,
    /// The store taxes what it sells: it must be known where it goes.
    pub needs_tax: bool,
    /// What the shopper was shown; refused if it is not what is due.
    pub expected_total: Option<Money>,
}

/// What is missing before a payment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Requirement {
    /// Where it goes.
    Address,
    /// How it is sent.
    Shipping,
    /// What it costs.
    Quote,
}

/// Where a purchase goes. What is in the clear was checked by whoever sealed the rest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Destination {
    /// Name, address, e-mail, sealed.
    pub address: Sealed,
    /// Country, two capitals of ISO 3166-1.
    pub country: String,
    /// Part of the country, in capitals.
    pub region: Option<String>,
    /// Beginning of the postcode, in capitals.
    pub postcode_prefix: Option<String>,
}

/// What somebody wants to buy, priced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BeginCheckout {
    /// The checkout; its first payment follows from it.
    pub checkout_id: CheckoutId,
    /// What shall be bought.
    pub lines: Vec<OrderLine>,
    /// What else is charged or taken off.
    pub charges: Vec<Charge>,
    /// The merchant's own reference of the customer.
    pub customer_reference: Option<String>,
    /// Country the order goes to.
    pub country: Option<String>,
    /// The cart it is made of.
    pub cart_id: Option<CartId>,
    /// Codes of coupons the shopper gave, in capitals.
    pub coupons: Vec<String>,
    /// Where it was made.
    pub channel: Channel,
    /// Number the order shall have.
    pub order_number: Option<String>,
    /// End of the hold.
    pub hold_until: DateTime<Utc>,
    /// Business time of every step, for a purchase of the past.
    pub backdated_to: Option<DateTime<Utc>>,
    /// Token of the card, if known already: the payment starts as soon as the stock is held.
    pub payment_method: Option<String>,
    /// When.
    pub at: DateTime<Utc>,
}

/// Why a checkout refuses a command. Each variant is one problem type of the public API.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CheckoutError {
    /// No such checkout.
    #[error("checkout does not exist")]
    NotFound,
    /// It was begun before, by another command.
    #[error("checkout already exists")]
    AlreadyBegun,
    /// Nothing to buy.
    #[error("a checkout needs a line or a charge")]
    Empty,
    /// A line without units.
    #[error("a line needs at least one unit")]
    QuantityZero,
    /// Prices in different currencies, or too much to add up.
    #[error("lines and charges do not add up in one currency")]
    NoTotal,
    /// Lines and charges are more than any shop sells at once.
    #[error("lines and charges must be at most {TOTAL_MINOR_MAX} minor units together")]
    TotalTooHigh,
    /// The shopper would be paid for buying.
    #[error("total must not be below zero, it is {total}")]
    NegativeTotal {
        /// The sum.
        total: Money,
    },
    /// The token of the card is empty or too long.
    #[error("a payment method has 1 to {PAYMENT_METHOD_CHARS_MAX} characters")]
    BadPaymentMethod,
    /// The stock is not held yet. Asking again in a moment works.
    #[error("stock is still being reserved")]
    StillReserving,
    /// A payment is under way; its fate must be known first.
    #[error("a payment is in progress")]
    PaymentInProgress,
    /// The hold is over.
    #[error("the stock is no longer held")]
    HoldEnded,
    /// Too many means of payment were tried.
    #[error("at most {ATTEMPTS_MAX} payments can be tried")]
    TooManyAttempts,
    /// Addresses, ways to send and quotes were changed again and again.
    #[error("at most {CHANGES_MAX} addresses, ways to send and quotes")]
    TooManyChanges,
    /// Something has to be known before.
    #[error("address, carriage or quote are missing")]
    Incomplete {
        /// What.
        missing: Vec<Requirement>,
    },
    /// The quote is not good any more.
    #[error("the quote has expired")]
    QuoteExpired,
    /// The quote is of other lines, or of other carriage, than the checkout.
    #[error("the quote is not of this checkout")]
    QuoteOutdated,
    /// The shopper believes something else is due.
    #[error("{due} is due")]
    AmountMismatch {
        /// What is.
        due: Money,
    },
    /// It has become an order.
    #[error("checkout is already completed")]
    AlreadyCompleted,
    /// It came to nothing.
    #[error("checkout has failed")]
    AlreadyFailed,
}
