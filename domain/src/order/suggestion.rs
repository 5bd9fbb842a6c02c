//! What it is fair to give back for some units: their price less their share of what was taken off,
//! with their tax; carriage and the like with the last units.
//!
//! Shares are differences of rounded running sums, so that whatever is refunded in whatever order,
//! all units together come to exactly what was charged.

use std::collections::BTreeMap;

use event_schemas::{
    ids::LineId,
    money::Money,
    order::{ChargeKind, OrderLine},
    quote::LineTotal,
};
use serde::Serialize;

use super::{OrderError, Placed, RefundState};

/// What a refund of some units comes to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Suggestion {
    /// Line by line, in the order's order.
    pub lines: Vec<SuggestedLine>,
    /// Carriage, fees and all else that is no line: all of it if these are the last units, or
    /// nothing.
    pub charges: Money,
    /// What is left of the money that was taken.
    pub available: Money,
    /// The sum of `lines` and `charges`, but never more than `available`.
    pub amount: Money,
}

/// What units of one line come to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SuggestedLine {
    /// Which line.
    pub line_id: LineId,
    /// Units.
    pub quantity: u32,
    /// What they cost.
    pub gross: Money,
    /// Their share of what was taken off; zero or more.
    pub discount: Money,
    /// `gross` less `discount`.
    pub amount: Money,
}

/// What a whole line came to, in minor units.
#[derive(Clone, Copy)]
struct Whole {
    gross: i64,
    discount: i64,
}

impl Placed {
    /// What to give back for these units, none of which may be refunded already. A line may stand
    /// there twice.
    pub fn suggest_refund(&self, units: &[(LineId, u32)]) -> Result<Suggestion, OrderError> {
        let wanted = self.wanted(units)?;
        let wholes = self.wholes();
        let money = |amount_minor| Money { amount_minor, currency: self.total.currency };
        let mut lines = vec![];
        let mut last = true;
        for (line, whole) in self.lines.iter().zip(&wholes) {
            let before = self.refunded_before(line);
            let quantity = wanted.get(&line.line_id).copied().unwrap_or(0);
            last &= before + quantity == line.quantity;
            if quantity == 0 {
                continue;
            }
            let of = |minor| share(minor, before + quantity, line) - share(minor, before, line);
            let (gross, discount) = (of(whole.gross), of(whole.discount));
            lines.push(SuggestedLine {
                line_id: line.line_id,
                quantity,
                gross: money(gross),
                discount: money(discount),
                amount: money(gross - discount),
            });
        }
        let of_lines: i64 = wholes.iter().map(|whole| whole.gross - whole.discount).sum();
        let charges = if last { self.total.amount_minor - of_lines } else { 0 };
        let sum: i64 = lines.iter().map(|line| line.amount.amount_minor).sum();
        let available = self.refundable();
        let amount = (sum + charges).clamp(0, available.amount_minor);
        Ok(Suggestion { lines, charges: money(charges), available, amount: money(amount) })
    }

    /// Units by line that no live refund is for.
    pub fn unrefunded_units(&self) -> Vec<(LineId, u32)> {
        let left = |line: &OrderLine| (line.line_id, line.quantity - self.refunded_before(line));
        self.lines.iter().map(left).filter(|(_, units)| *units > 0).collect()
    }

    /// Units by line, if none of them is refunded.
    fn wanted(&self, units: &[(LineId, u32)]) -> Result<BTreeMap<LineId, u32>, OrderError> {
        let mut wanted = BTreeMap::new();
        for &(line_id, quantity) in units {
            let line = self.line(line_id).ok_or(OrderError::UnknownLine { line_id })?;
            let available = line.quantity - self.refunded_before(line);
            let sum: &mut u32 = wanted.entry(line_id).or_default();
            *sum = sum.saturating_add(quantity);
            if quantity == 0 || available < *sum {
                return Err(OrderError::QuantityExceedsBought { line_id, available });
            }
        }
        Ok(wanted)
    }

    /// Units of a line that live refunds are for, whatever becomes of them.
    fn refunded_before(&self, line: &OrderLine) -> u32 {
        let counted = self.refunds.values().filter(|refund| refund.state != RefundState::Failed);
        let own = counted.flat_map(|refund| &refund.lines).filter(|r| r.line_id == line.line_id);
        own.map(|line| line.quantity).sum()
    }

    /// What each line came to: as it was quoted, with its tax; or, without a quote, at its price,
    /// with what was taken off the whole order shared out by price.
    fn wholes(&self) -> Vec<Whole> {
        if let Some(pricing) = &self.pricing {
            let quoted = |line: &OrderLine| {
                let own = pricing.line_totals.iter().find(|total| total.line_id == line.line_id);
                let minor =
                    |total: &LineTotal| (total.total.amount_minor, total.discount.amount_minor);
                let (total, discount) = own.map_or((0, 0), minor);
                Whole { gross: total + discount, discount }
            };
            return self.lines.iter().map(quoted).collect();
        }
        // Sums fit: the rules bounded them when the order was placed.
        let gross = |line: &OrderLine| line.total().map_or(0, |total| total.amount_minor);
        let all: i64 = self.lines.iter().map(gross).sum();
        let off = self.discount_minor.min(all);
        let mut before = 0;
        let whole = |line: &OrderLine| {
            let gross = gross(line);
            let upto = |minor: i64| {
                let part = i128::from(off) * i128::from(minor) / i128::from(all.max(1));
                i64::try_from(part).unwrap_or(off)
            };
            let discount = upto(before + gross) - upto(before);
            before += gross;
            Whole { gross, discount }
        };
        self.lines.iter().map(whole).collect()
    }
}

/// What is taken off all lines together, zero or more.
pub(super) fn discount_minor(charges: &[event_schemas::order::Charge]) -> i64 {
    let off = charges.iter().filter(|charge| charge.kind == ChargeKind::Discount);
    off.map(|charge| -charge.amount.amount_minor).sum::<i64>().max(0)
}

/// What the first `units` of a line come to, rounded down.
fn share(minor: i64, units: u32, line: &OrderLine) -> i64 {
    let part = i128::from(minor) * i128::from(units) / i128::from(line.quantity.max(1));
    i64::try_from(part).unwrap_or(minor)
}
