//! Coupons: codes that take something off, so many times and not once more.
//!
//! A checkout claims a use when it is quoted, keeps it when a payment begins, and commits it when
//! it becomes an order. Claims and commits are counted by the one stream of the coupon, so that no
//! two of them are decided on the same count.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use cqrs_es::{Aggregate, event_sink::EventSink};
use event_schemas::{
    coupon::{
        CouponDefined, CouponDisabled, CouponEvent, CouponUseClaimed, CouponUseCommitted,
        CouponUseReleased, CouponValue,
    },
    ids::{CheckoutId, CouponId, StoreId},
    money::Money,
    quote::{PPM, Rate},
};
use serde::{Deserialize, Serialize};

#[cfg(test)]
mod tests;

/// Characters of a code: it is typed by hand.
pub const CODE_CHARS_MAX: usize = 40;

/// Characters of a title.
pub const TITLE_CHARS_MAX: usize = 120;

/// Uses of a coupon with a limit: a campaign has thousands, and each customer who used one of these
/// is part of the state.
pub const USES_MAX: u32 = 1_000_000;

/// The coupon of a code, however it was typed.
pub fn coupon_id(store_id: StoreId, code: &str) -> CouponId {
    CouponId::derive(&[store_id.0.as_bytes(), written(code).as_bytes()])
}

/// A code as the store writes it: in capitals, without spaces around it.
pub fn written(code: &str) -> String {
    code.trim().to_ascii_uppercase()
}

/// What can be asked of a coupon.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CouponCommand {
    /// Makes a code take something off.
    Define(Box<NewCoupon>),
    /// Ends that. Uses that are claimed stay.
    Disable { at: DateTime<Utc> },
    /// A checkout counts on it. A claim again may make the one before last longer, never shorter.
    Claim(Box<Claim>),
    /// That checkout became an order. A use that was given is counted, whatever became of its
    /// claim; a repeat must have the same command id.
    Commit {
        checkout_id: CheckoutId,
        /// Whose; the merchant's own reference.
        customer_reference: Option<String>,
        at: DateTime<Utc>,
    },
    /// That checkout does without it. A use that is committed stays.
    Release {
        checkout_id: CheckoutId,
        /// Only a claim that lapses by then: a quote does not give back what a payment counts on.
        lapsing_by: Option<DateTime<Utc>>,
        at: DateTime<Utc>,
    },
}

/// A coupon to be defined.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewCoupon {
    /// As people shall type it.
    pub code: String,
    /// As it shall stand on the bill.
    pub title: String,
    /// What it takes off.
    pub value: CouponValue,
    /// What the lines must come to.
    pub minimum: Option<Money>,
    /// Uses of all customers together.
    pub limit_total: Option<u32>,
    /// Uses of one customer.
    pub limit_per_customer: Option<u32>,
    /// Good from then on.
    pub from: DateTime<Utc>,
    /// Not any more from then on.
    pub until: Option<DateTime<Utc>>,
    /// When.
    pub at: DateTime<Utc>,
}

/// A checkout that counts on a coupon.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// The checkout.
    pub checkout_id: CheckoutId,
    /// Whose.
    pub customer_reference: Option<String>,
    /// What its lines come to, before any discount.
    pub lines: Money,
    /// The claim does not count from then on.
    pub until: Option<DateTime<Utc>>,
    /// The time now; compared with when the coupon is good and with other claims.
    pub at: DateTime<Utc>,
}

/// Why a coupon refuses a command. Each variant is one problem type of the public API.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CouponError {
    /// No coupon of that code.
    #[error("no such coupon")]
    NotFound,
    /// The code was defined before.
    #[error("the code is in use")]
    AlreadyDefined,
    /// A field cannot be.
    #[error("{at}: {why}")]
    Invalid {
        /// Where, as a JSON pointer.
        at: &'static str,
        /// Why.
        why: &'static str,
    },
    /// It cannot be used for this purchase, or not now.
    #[error("the coupon cannot be used: {0}")]
    NotApplicable(NotApplicable),
    /// All its uses are taken.
    #[error("all uses of the coupon are taken")]
    Exhausted,
    /// The customer has used it as often as may be.
    #[error("the customer has used the coupon already")]
    CustomerLimit,
}

/// Why a coupon cannot be used for a purchase.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, thiserror::Error)]
#[serde(rename_all = "snake_case")]
pub enum NotApplicable {
    /// It was taken out of use.
    #[error("it is disabled")]
    Disabled,
    /// It is not good yet.
    #[error("it is not good yet")]
    TooEarly,
    /// It is not good any more.
    #[error("it is not good any more")]
    TooLate,
    /// The lines come to too little.
    #[error("the lines come to too little")]
    BelowMinimum,
    /// It is in another currency.
    #[error("it is in another currency")]
    OtherCurrency,
    /// It is limited per customer, and nobody knows whose purchase it is.
    #[error("it needs a customer")]
    CustomerNeeded,
}

/// A coupon, as far as its rules need it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Coupon {
    /// None before it is defined.
    pub defined: Option<Box<CouponDefined>>,
    /// It takes nothing off any more.
    pub disabled: bool,
    /// Checkouts that count on it.
    pub claims: BTreeMap<CheckoutId, Held>,
    /// Uses that became orders.
    pub committed: u32,
    /// Of which by customer; only if they are limited.
    pub committed_by: BTreeMap<String, u32>,
    /// The latest time of a claim. Clocks of several machines differ a little: what has lapsed by
    /// one of them must not count again by another.
    pub latest: Option<DateTime<Utc>>,
}

/// A claim that was made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Held {
    /// Whose.
    pub customer_reference: Option<String>,
    /// Until when it counts.
    pub until: Option<DateTime<Utc>>,
}

impl Held {
    fn counts(&self, now: DateTime<Utc>) -> bool {
        self.until.is_none_or(|until| now < until)
    }

    fn lapses_by(&self, by: DateTime<Utc>) -> bool {
        self.until.is_some_and(|until| until <= by)
    }

    /// A checkout whose customer changes has to ask again: the use counts for somebody else.
    fn is_of(&self, customer_reference: Option<&String>) -> bool {
        self.customer_reference.as_ref() == customer_reference
    }
}

impl Coupon {
    /// Says what a command makes happen, given everything that happened before.
    pub fn decide(&self, command: CouponCommand) -> Result<Vec<CouponEvent>, CouponError> {
        let Some(defined) = &self.defined else {
            return match command {
                CouponCommand::Define(new) => define(*new),
                // The process of a checkout that never claimed anything.
                CouponCommand::Release { .. } => Ok(vec![]),
                _ => Err(CouponError::NotFound),
            };
        };
        match command {
            CouponCommand::Define(_) => Err(CouponError::AlreadyDefined),
            CouponCommand::Disable { .. } if self.disabled => Ok(vec![]),
            CouponCommand::Disable { at } => Ok(vec![CouponEvent::Disabled(CouponDisabled { at })]),
            CouponCommand::Claim(claim) => self.claim(defined, *claim),
            CouponCommand::Commit { checkout_id, customer_reference, at } => {
                let committed = CouponUseCommitted { checkout_id, customer_reference, at };
                Ok(vec![CouponEvent::UseCommitted(committed)])
            }
            CouponCommand::Release { checkout_id, lapsing_by, at } => {
                let held = self.claims.get(&checkout_id);
                let ends = held.filter(|held| lapsing_by.is_none_or(|by| held.lapses_by(by)));
                let released = CouponUseReleased { checkout_id, at };
                Ok(ends.map(|_| CouponEvent::UseReleased(released)).into_iter().collect())
            }
        }
    }

    /// Whether it can be used so often and not once more. Only then it has claims: where every use
    /// is left, none has to be kept for anybody.
    pub fn is_limited(&self) -> bool {
        self.defined.as_ref().is_some_and(|defined| defined.limit_total.is_some())
    }

    /// Uses that checkouts count on now.
    pub fn claimed(&self, now: DateTime<Utc>) -> usize {
        self.claims.values().filter(|held| held.counts(now)).count()
    }

    /// Whether a purchase may use it at all; whether a use is left is what a claim asks.
    pub fn check(&self, claim: &Claim) -> Result<(), CouponError> {
        let defined = self.defined.as_ref().ok_or(CouponError::NotFound)?;
        let fixed = match defined.value {
            CouponValue::Amount { amount } => Some(amount),
            CouponValue::Percent { .. } => None,
        };
        let mut amounts = fixed.iter().chain(&defined.minimum);
        let why = if self.disabled {
            NotApplicable::Disabled
        } else if claim.at < defined.from {
            NotApplicable::TooEarly
        } else if defined.until.is_some_and(|until| until <= claim.at) {
            NotApplicable::TooLate
        } else if amounts.any(|amount| amount.currency != claim.lines.currency) {
            NotApplicable::OtherCurrency
        } else if defined.minimum.is_some_and(|min| claim.lines.amount_minor < min.amount_minor) {
            NotApplicable::BelowMinimum
        } else if defined.limit_per_customer.is_some() && claim.customer_reference.is_none() {
            NotApplicable::CustomerNeeded
        } else {
            return Ok(());
        };
        Err(CouponError::NotApplicable(why))
    }

    fn claim(
        &self,
        defined: &CouponDefined,
        claim: Claim,
    ) -> Result<Vec<CouponEvent>, CouponError> {
        let now = self.latest.max(Some(claim.at)).unwrap_or(claim.at);
        // Whoever has a use that counts keeps it, even if the coupon ends meanwhile.
        let own = self.claims.get(&claim.checkout_id);
        let own = own.filter(|own| own.counts(now) && own.is_of(claim.customer_reference.as_ref()));
        if own.is_none() {
            self.check(&claim)?;
            self.check_limits(defined, &claim, now)?;
        }
        if !self.is_limited() {
            return Ok(vec![]);
        }
        let Claim { checkout_id, customer_reference, until, at, .. } = claim;
        // A quote that comes while a payment begins must not make its claim one that lapses before.
        let until = own.map_or(until, |own| own.until.zip(until).map(|(own, new)| own.max(new)));
        let held = Held { customer_reference, until };
        if own == Some(&held) {
            return Ok(vec![]);
        }
        let Held { customer_reference, until } = held;
        let claimed = CouponUseClaimed { checkout_id, customer_reference, until, at };
        Ok(vec![CouponEvent::UseClaimed(claimed)])
    }

    fn check_limits(
        &self,
        defined: &CouponDefined,
        claim: &Claim,
        now: DateTime<Utc>,
    ) -> Result<(), CouponError> {
        let others = || {
            let claims = self.claims.iter().filter(|(id, _)| **id != claim.checkout_id);
            claims.map(|(_, held)| held).filter(|held| held.counts(now))
        };
        let count = |claims: usize, committed: u32| {
            u32::try_from(claims).unwrap_or(u32::MAX).saturating_add(committed)
        };
        if defined.limit_total.is_some_and(|max| max <= count(others().count(), self.committed)) {
            return Err(CouponError::Exhausted);
        }
        let Some(customer) = &claim.customer_reference else { return Ok(()) };
        let theirs = || others().filter(|held| held.customer_reference.as_ref() == Some(customer));
        let committed = self.committed_by.get(customer).copied().unwrap_or(0);
        if defined.limit_per_customer.is_some_and(|max| max <= count(theirs().count(), committed)) {
            return Err(CouponError::CustomerLimit);
        }
        Ok(())
    }
}

fn define(new: NewCoupon) -> Result<Vec<CouponEvent>, CouponError> {
    let invalid = |at, why| Err(CouponError::Invalid { at, why });
    let code = written(&new.code);
    let characters = code.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b));
    if !characters || !(1..=CODE_CHARS_MAX).contains(&code.len()) {
        return invalid("/code", "1 to 40 letters, digits, `-` and `_`");
    }
    let title = new.title.trim();
    if title.chars().any(char::is_control)
        || !(1..=TITLE_CHARS_MAX).contains(&title.chars().count())
    {
        return invalid("/title", "1 to 120 characters");
    }
    match new.value {
        CouponValue::Percent { rate: Rate(rate) } if !(1..=PPM).contains(&rate) => {
            return invalid("/value/rate", "1 to 1,000,000 millionths");
        }
        CouponValue::Amount { amount } if amount.amount_minor <= 0 => {
            return invalid("/value/amount", "above zero");
        }
        _ => {}
    }
    if new.minimum.is_some_and(|minimum| minimum.amount_minor < 0) {
        return invalid("/minimum", "zero or more");
    }
    if let (CouponValue::Amount { amount }, Some(minimum)) = (new.value, new.minimum)
        && amount.currency != minimum.currency
    {
        return invalid("/minimum", "in another currency than the value");
    }
    for (at, limit) in
        [("/limit_total", new.limit_total), ("/limit_per_customer", new.limit_per_customer)]
    {
        if limit.is_some_and(|limit| !(1..=USES_MAX).contains(&limit)) {
            return invalid(at, "1 to 1,000,000");
        }
    }
    // Each customer who used it is part of the state.
    if new.limit_per_customer.is_some() && new.limit_total.is_none() {
        return invalid("/limit_total", "needed with a limit per customer");
    }
    if new.until.is_some_and(|until| until <= new.from) {
        return invalid("/until", "after from");
    }
    let title = title.to_owned();
    let NewCoupon { value, minimum, limit_total, limit_per_customer, from, until, at, .. } = new;
    let defined = CouponDefined {
        code,
        title,
        value,
        minimum,
        limit_total,
        limit_per_customer,
        from,
        until,
        at,
    };
    Ok(vec![CouponEvent::Defined(defined)])
}

impl Aggregate for Coupon {
    const TYPE: &'static str = "coupon";
    type Command = CouponCommand;
    type Event = CouponEvent;
    type Error = CouponError;
    type Services = ();

    async fn handle(
        &mut self,
        command: CouponCommand,
        _services: &(),
        sink: &EventSink<Self>,
    ) -> Result<(), CouponError> {
        for event in self.decide(command)? {
            sink.write(event, self).await;
        }
        Ok(())
    }

    fn apply(&mut self, event: CouponEvent) {
        match event {
            CouponEvent::Defined(defined) => self.defined = Some(Box::new(defined)),
            CouponEvent::Disabled(_) => self.disabled = true,
            CouponEvent::UseClaimed(claimed) => {
                // Claims that lapsed are of no use to anybody; the state stays as small as what is
                // under way.
                self.latest = self.latest.max(Some(claimed.at));
                let now = self.latest.unwrap_or(claimed.at);
                self.claims.retain(|_, held| held.counts(now));
                let CouponUseClaimed { checkout_id, customer_reference, until, .. } = claimed;
                self.claims.insert(checkout_id, Held { customer_reference, until });
            }
            CouponEvent::UseCommitted(used) => {
                self.claims.remove(&used.checkout_id);
                self.committed = self.committed.saturating_add(1);
                let limited = self.defined.as_ref().is_some_and(|d| d.limit_per_customer.is_some());
                if let Some(customer) = used.customer_reference.filter(|_| limited) {
                    *self.committed_by.entry(customer).or_default() += 1;
                }
            }
            CouponEvent::UseReleased(released) => {
                self.claims.remove(&released.checkout_id);
            }
        }
    }
}
