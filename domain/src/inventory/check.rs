//! What the fields of stock commands may hold.

use chrono::{DateTime, Duration, Utc};
use event_schemas::money::Money;

use super::StockItemError;

/// Units of one command: more is a typing error.
pub const QUANTITY_MAX: u32 = 1_000_000;

/// Units of a variant at one place. Fits in 32 bits, so that parts of it do.
pub const ON_HAND_MAX: u64 = 1_000_000_000;

/// Places of one variant: each is looked at for every hold.
pub const LOCATIONS_MAX: usize = 200;

/// Characters of the code of a place.
pub const LOCATION_CHARS_MAX: usize = 64;

/// Characters of the reason of a correction.
pub const REASON_CHARS_MAX: usize = 500;

/// Characters of a reference to a document.
pub const REFERENCE_CHARS_MAX: usize = 255;

/// Days a hold may last: a bank transfer takes as long.
pub(super) const HOLD_DAYS_MAX: i64 = 7;

/// How long a hold may last from the moment it is made or extended.
pub const HOLD_MAX: Duration = Duration::days(HOLD_DAYS_MAX);

/// Minor units of the cost of one unit: 10^15, so that a million of them still fit in 64 bits.
pub(super) const UNIT_COST_MINOR_MAX: i64 = 1_000_000_000_000_000;

pub(super) fn quantity(quantity: u32) -> Result<(), StockItemError> {
    if !(1..=QUANTITY_MAX).contains(&quantity) {
        return Err(StockItemError::QuantityOutOfRange);
    }
    Ok(())
}

pub(super) fn delta(delta: i64) -> Result<(), StockItemError> {
    if delta == 0 || ON_HAND_MAX < delta.unsigned_abs() {
        return Err(StockItemError::DeltaOutOfRange);
    }
    Ok(())
}

pub(super) fn on_hand(on_hand: u64, at: &'static str) -> Result<(), StockItemError> {
    if ON_HAND_MAX < on_hand {
        return Err(StockItemError::OnHandTooHigh { at });
    }
    Ok(())
}

pub(super) fn location(location: &str) -> Result<(), StockItemError> {
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'_';
    if !(1..=LOCATION_CHARS_MAX).contains(&location.len()) || !location.bytes().all(plain) {
        return Err(StockItemError::LocationInvalid);
    }
    Ok(())
}

pub(super) fn unit_cost(cost: Money) -> Result<(), StockItemError> {
    if !(0..=UNIT_COST_MINOR_MAX).contains(&cost.amount_minor) {
        return Err(StockItemError::UnitCostOutOfRange);
    }
    Ok(())
}

pub(super) fn reason(reason: &str) -> Result<(), StockItemError> {
    let at = "/reason";
    text(reason, REASON_CHARS_MAX, at)?;
    // PostgreSQL's `text` cannot hold NUL: the read models would stop at such an event.
    if reason.contains('\0') {
        return Err(StockItemError::TextInvalid { at });
    }
    Ok(())
}

pub(super) fn code(code: &str, at: &'static str) -> Result<(), StockItemError> {
    text(code, REFERENCE_CHARS_MAX, at)?;
    if code.chars().any(char::is_control) {
        return Err(StockItemError::TextInvalid { at });
    }
    Ok(())
}

fn text(text: &str, max: usize, at: &'static str) -> Result<(), StockItemError> {
    if text.trim().is_empty() {
        return Err(StockItemError::TextMissing { at });
    }
    if max < text.chars().count() {
        return Err(StockItemError::TextTooLong { at, max });
    }
    Ok(())
}

pub(super) fn hold_end(until: DateTime<Utc>, at: DateTime<Utc>) -> Result<(), StockItemError> {
    if until <= at || HOLD_MAX < until - at {
        return Err(StockItemError::HoldEndInvalid);
    }
    Ok(())
}

pub(super) fn same_quantity(held: u32, requested: u32) -> Result<(), StockItemError> {
    if held != requested {
        return Err(StockItemError::HoldDiffers { held, requested });
    }
    Ok(())
}
