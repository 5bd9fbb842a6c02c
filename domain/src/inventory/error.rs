//! Why the stock of a variant refuses a command.

use super::{
    LOCATION_CHARS_MAX, LOCATIONS_MAX, ON_HAND_MAX, QUANTITY_MAX,
    check::{HOLD_DAYS_MAX, UNIT_COST_MINOR_MAX},
};

/// Why the stock of a variant refuses a command. Each variant is one problem type of the API.
///
/// `at` is a JSON pointer into the command's fields, such as `/reason`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StockItemError {
    /// No product has this variant. Decided by the use case, which looks it up.
    #[error("variant does not exist; check its id")]
    UnknownVariant,
    /// Not enough is free.
    #[error("only {available} of {requested} units are available; ask for fewer")]
    InsufficientStock {
        /// Units wanted.
        requested: u32,
        /// Units free at all places together.
        available: u64,
    },
    /// A quantity of none, or of too many.
    #[error("quantity must lie between 1 and {QUANTITY_MAX}")]
    QuantityOutOfRange,
    /// A change of nothing, or of too many.
    #[error("delta must not be 0 and at most {ON_HAND_MAX} either way")]
    DeltaOutOfRange,
    /// One place would hold too many.
    #[error("a location holds at most {ON_HAND_MAX} units of a variant; use another location")]
    OnHandTooHigh {
        /// The field that makes it too many.
        at: &'static str,
    },
    /// The code of the place is not one.
    #[error("location must be 1 to {LOCATION_CHARS_MAX} of a-z, 0-9, - and _")]
    LocationInvalid,
    /// The variant lies at too many places.
    #[error("a variant is kept at {LOCATIONS_MAX} locations at most; use one that has it")]
    TooManyLocations,
    /// The cost of a unit is below zero or beyond what we can add up.
    #[error("unit cost must lie between 0 and {UNIT_COST_MINOR_MAX} minor units")]
    UnitCostOutOfRange,
    /// A text that must be there is empty or blank.
    #[error("text must not be empty")]
    TextMissing {
        /// Which field.
        at: &'static str,
    },
    /// A text is longer than its bound.
    #[error("text is too long; shorten it to {max} characters")]
    TextTooLong {
        /// Which field.
        at: &'static str,
        /// The bound.
        max: usize,
    },
    /// A text holds a character that cannot be stored or shown.
    #[error("text contains a character that is not allowed; remove control characters")]
    TextInvalid {
        /// Which field.
        at: &'static str,
    },
    /// The caller counted on another number of units.
    #[error("{actual} units are on hand and not {expected}; read again and repeat")]
    CompareFailed {
        /// What the caller believed.
        expected: u64,
        /// What is there.
        actual: u64,
    },
    /// A correction would take units that are promised, or more than there are.
    #[error(
        "cannot change {on_hand} units by {delta}: {committed} are held or ordered; release those first"
    )]
    BelowCommitted {
        /// What is there.
        on_hand: u64,
        /// What of it is held for checkouts or owned by orders.
        committed: u64,
        /// The change asked for.
        delta: i64,
    },
    /// A hold would end at once, too late, or before it does already.
    #[error("hold must end after it begins, later than before and within {HOLD_DAYS_MAX} days")]
    HoldEndInvalid,
    /// There is no such hold, or it is over.
    #[error("hold does not exist any more; reserve again")]
    HoldNotFound,
    /// A hold is extended once.
    #[error("hold was extended before; complete the checkout or begin a new one")]
    HoldAlreadyExtended,
    /// The same checkout holds another quantity.
    #[error("checkout holds {held} units and not {requested}; release them first")]
    HoldDiffers {
        /// Units held.
        held: u32,
        /// Units asked for.
        requested: u32,
    },
    /// The order does not own as many units.
    #[error("order has {allocated} units allocated and not {requested}; ask for fewer")]
    NotAllocated {
        /// Units asked for.
        requested: u32,
        /// Units it owns.
        allocated: u32,
    },
}

impl StockItemError {
    /// JSON pointer to the field that is wrong, relative to the command's fields; `None` if it is
    /// the command as a whole that does not fit.
    pub fn pointer(&self) -> Option<&'static str> {
        match self {
            Self::UnknownVariant
            | Self::BelowCommitted { .. }
            | Self::HoldNotFound
            | Self::HoldAlreadyExtended => None,
            Self::InsufficientStock { .. }
            | Self::QuantityOutOfRange
            | Self::HoldDiffers { .. }
            | Self::NotAllocated { .. } => Some("/quantity"),
            Self::DeltaOutOfRange => Some("/delta"),
            Self::LocationInvalid | Self::TooManyLocations => Some("/location"),
            Self::UnitCostOutOfRange => Some("/unit_cost"),
            Self::CompareFailed { .. } => Some("/expected_on_hand"),
            Self::HoldEndInvalid => Some("/until"),
            Self::OnHandTooHigh { at }
            | Self::TextMissing { at }
            | Self::TextTooLong { at, .. }
            | Self::TextInvalid { at } => Some(at),
        }
    }
}
