//! Orders: what was bought, and what may become of it.

use chrono::{DateTime, Utc};
use event_schemas::{
    fulfilment::Tracking,
    ids::{CheckoutId, FulfilmentId, LineId, PaymentId, RefundId},
    money::Money,
    order::{Channel, Charge, OrderLine, RefundLine},
    quote::Pricing,
    sealed::Sealed,
    store::CaptureMoment,
};

use crate::pricing::TOTAL_MINOR_MAX;

mod adjustment;
mod fulfilment;
#[cfg(test)]
mod parcels;
#[cfg(test)]
mod properties;
mod rules;
mod state;
mod suggestion;
#[cfg(test)]
mod tests;

pub use adjustment::{Adjustment, AdjustmentCommand, AdjustmentError, RecordAdjustment};
pub use fulfilment::{
    FULFILMENTS_MAX, Fulfilment, FulfilmentState, LOCATION_CHARS_MAX, NewFulfilment,
    TRACKING_CHARS_MAX, TRACKING_URL_CHARS_MAX,
};
pub use state::{Cancellation, Order, OrderStatus, Placed, Refund, RefundState};
pub use suggestion::{SuggestedLine, Suggestion};

/// Longest reason, in characters.
pub const REASON_CHARS_MAX: usize = 500;

/// Longest order number, in characters.
pub const NUMBER_CHARS_MAX: usize = 64;

/// What can be asked of an order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OrderCommand {
    /// The money is authorised. Repeating it for the same checkout changes nothing.
    Place(Box<PlaceOrder>),
    /// Its stock is allocated. `capture` is the store's policy now.
    Confirm { capture: CaptureMoment, at: DateTime<Utc> },
    /// Its money is captured; `amount` must be its total.
    RecordPaid { amount: Money, at: DateTime<Utc> },
    /// A person wants an order undone that is paid, or whose money waits for the first parcel. Of
    /// one of which some has left, the rest.
    RequestCancellation { refund_id: RefundId, reason: String, at: DateTime<Utc> },
    /// The checkout gives up an order that was never paid. Repeating it changes nothing.
    CancelUnpaid { refund_id: RefundId, reason: String, at: DateTime<Utc> },
    /// Stock and money are back where they came from.
    RecordCancelled { at: DateTime<Utc> },
    /// Some of the money shall go back. Repeating it with the same refund changes nothing.
    RequestRefund(Box<RequestRefund>),
    /// That money went back.
    RecordRefund { refund_id: RefundId, at: DateTime<Utc> },
    /// That money could not be sent back.
    FailRefund { refund_id: RefundId, code: String, at: DateTime<Utc> },
    /// Units shall leave together.
    CreateFulfilment(NewFulfilment),
    /// They left. Repeating it changes nothing.
    Ship { fulfilment_id: FulfilmentId, tracking: Option<Tracking>, at: DateTime<Utc> },
    /// They arrived. Repeating it changes nothing.
    Deliver { fulfilment_id: FulfilmentId, at: DateTime<Utc> },
    /// They do not leave after all. Repeating it changes nothing.
    CancelFulfilment { fulfilment_id: FulfilmentId, reason: String, at: DateTime<Utc> },
}

/// A new order, as its checkout has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlaceOrder {
    /// Number for people; unique in the store, which the append guards.
    pub number: String,
    /// The checkout it comes from.
    pub checkout_id: CheckoutId,
    /// The payment behind it.
    pub payment_id: PaymentId,
    /// What was bought.
    pub lines: Vec<OrderLine>,
    /// What else is charged or taken off.
    pub charges: Vec<Charge>,
    /// Exact sum of lines and charges.
    pub total: Money,
    /// The merchant's own reference of the customer.
    pub customer_reference: Option<String>,
    /// Country the order goes to.
    pub country: Option<String>,
    /// Where it was made.
    pub channel: Channel,
    /// How the total came about.
    pub pricing: Option<Box<Pricing>>,
    /// Name, address and e-mail, sealed.
    pub ship_to: Option<Sealed>,
    /// When it was placed.
    pub at: DateTime<Utc>,
}

/// Money that shall go back for some of an order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestRefund {
    /// The refund; idempotency key at the provider.
    pub refund_id: RefundId,
    /// Document behind it.
    pub reference: Option<String>,
    /// How much; above zero.
    pub amount: Money,
    /// Which units it is for, and what becomes of them; may be none.
    pub lines: Vec<RefundLine>,
    /// Why; 1 to [`REASON_CHARS_MAX`] characters.
    pub reason: String,
    /// When.
    pub at: DateTime<Utc>,
}

/// Why an order refuses a command. Each variant is one problem type of the public API.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OrderError {
    /// No such order.
    #[error("order does not exist")]
    NotFound,
    /// Another checkout's order stands there.
    #[error("order already exists")]
    AlreadyPlaced,
    /// Nothing is bought and nothing charged.
    #[error("an order needs a line or a charge")]
    Empty,
    /// A line without units.
    #[error("a line needs at least one unit")]
    QuantityZero,
    /// `total` is not the sum, in one currency, of lines and charges; or it is below zero.
    #[error("total is not the exact sum of lines and charges")]
    TotalMismatch,
    /// Lines and charges are more than any shop sells at once.
    #[error("an order is of at most {TOTAL_MINOR_MAX} minor units")]
    TotalTooHigh,
    /// The number is empty or too long.
    #[error("an order number has 1 to {NUMBER_CHARS_MAX} characters")]
    BadNumber,
    /// The order is somewhere else in its life.
    #[error("order is {from} and cannot {command}")]
    IllegalTransition {
        /// Where it is.
        from: OrderStatus,
        /// What was asked, as a verb.
        command: &'static str,
    },
    /// Its checkout is not done with it. Asking again in a moment works.
    #[error("order is still being paid")]
    NotPaidYet,
    /// It is cancelled, or its cancellation is under way.
    #[error("order is already cancelled")]
    AlreadyCancelled,
    /// A refund is under way; its fate must be known first.
    #[error("a refund of the order is under way")]
    RefundInProgress,
    /// No reason was given.
    #[error("a reason is required")]
    ReasonMissing,
    /// The reason is too long.
    #[error("reason must not be longer than {REASON_CHARS_MAX} characters")]
    ReasonTooLong,
    /// A refund is of more than nothing.
    #[error("amount must be above zero")]
    AmountNotPositive,
    /// The amount is in another currency than the order, or not what is owed.
    #[error("amount does not match the order")]
    AmountMismatch,
    /// More than was paid and not yet refunded.
    #[error("only {available} can still be refunded")]
    AmountExceedsPaid {
        /// What can still be refunded.
        available: Money,
    },
    /// The order has no such line.
    #[error("order has no line {line_id}")]
    UnknownLine {
        /// The line asked for.
        line_id: LineId,
    },
    /// More units than there are to be treated so, or none: cancelled are those that are in no
    /// parcel, returned or written off those that left.
    #[error("{available} units of line {line_id} can still be refunded")]
    QuantityExceedsBought {
        /// Which line.
        line_id: LineId,
        /// Units that can still be refunded.
        available: u32,
    },
    /// The order has no such refund.
    #[error("order has no such refund")]
    UnknownRefund,
    /// All of it has left, or this parcel has: it can only come back.
    #[error("it has been shipped and can only be returned")]
    AlreadyShipped,
    /// The order has no such parcel.
    #[error("order has no such fulfilment")]
    UnknownFulfilment,
    /// The parcel is somewhere else in its life.
    #[error("fulfilment is {from} and cannot {command}")]
    FulfilmentIs {
        /// Where it is.
        from: FulfilmentState,
        /// What was asked, as a verb.
        command: &'static str,
    },
    /// A parcel with nothing in it.
    #[error("a fulfilment needs at least one line")]
    FulfilmentEmpty,
    /// More units than are in no parcel and not cancelled.
    #[error("{open} units of line {line_id} are still open")]
    ExceedsOpen {
        /// Which line.
        line_id: LineId,
        /// Units that can still be packed.
        open: u32,
    },
    /// Too many parcels.
    #[error("an order has at most {FULFILMENTS_MAX} fulfilments")]
    TooManyFulfilments,
    /// The code of the place is not one.
    #[error("location must be 1 to {LOCATION_CHARS_MAX} of a-z, 0-9, - and _")]
    LocationInvalid,
    /// A carrier's words that cannot be shown.
    #[error(
        "carrier and number have 1 to {TRACKING_CHARS_MAX} characters, the url begins with https:// and has at most {TRACKING_URL_CHARS_MAX}"
    )]
    TrackingInvalid {
        /// JSON pointer to the field.
        at: &'static str,
    },
}
