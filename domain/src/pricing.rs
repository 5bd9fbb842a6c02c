//! Rules on amounts that several contexts share; functions of values, of no context.

use event_schemas::money::Money;

mod arithmetic;
mod price;
#[cfg(test)]
mod properties;
mod tax;
#[cfg(test)]
mod tests;

pub use arithmetic::{apportion, share_of};
pub use price::{Basket, BasketLine, COUPONS_MAX, Discount, PricingError, price};
pub use tax::{STANDARD_CLASS, TAX_CLASS_CHARS_MAX, Taxation, is_tax_class};

/// Minor units of all lines and charges of one order, reductions counted as if they were none:
/// 10^15, so that the sums of thousands of such orders still fit in 64 bits.
pub const TOTAL_MINOR_MAX: i64 = 1_000_000_000_000_000;

/// Whether amounts stay within [`TOTAL_MINOR_MAX`] together.
pub fn are_bounded(amounts: impl IntoIterator<Item = Money>) -> bool {
    let sizes = amounts.into_iter().map(|amount| i128::from(amount.amount_minor).abs());
    sizes.sum::<i128>() <= i128::from(TOTAL_MINOR_MAX)
}
