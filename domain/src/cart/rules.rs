//! The rules of carts.

use chrono::{DateTime, Utc};
use event_schemas::{
    cart::{
        CartCheckedOut, CartCheckoutBegun, CartCouponApplied, CartCouponRemoved,
        CartCustomerIdentified, CartEvent, CartItemAdded, CartItemQuantityChanged, CartItemRemoved,
        CartLine, CartMerged, CartMergedInto, CartPricesSeen, CartReopened, CartStarted, SeenPrice,
    },
    ids::{CartId, CheckoutId, OrderId},
};

use super::{
    COUPON_CHARS_MAX, COUPONS_MAX, CUSTOMER_CHARS_MAX, Cart, CartCommand, CartError, LINES_MAX,
    LINES_MERGED_MAX, QUANTITY_MAX, Standing,
};

type Decision = Result<Vec<CartEvent>, CartError>;

impl Cart {
    /// Says what a command makes happen, given everything that happened before.
    pub fn decide(&self, command: CartCommand) -> Decision {
        use CartCommand as C;
        match (self.standing, command) {
            (Standing::Absent, C::Start { customer_reference, at }) => {
                if let Some(reference) = &customer_reference {
                    check_customer(reference)?;
                }
                Ok(vec![CartEvent::Started(CartStarted { customer_reference, at })])
            }
            (_, C::Start { .. }) => Err(CartError::AlreadyStarted),
            (Standing::Absent, _) => Err(CartError::NotFound),
            (_, C::Reopen { checkout_id, at }) => Ok(self.reopen(checkout_id, at)),
            (_, C::CheckOut { checkout_id, order_id, at }) => {
                Ok(self.check_out(checkout_id, order_id, at))
            }
            (Standing::Open, command) => self.change(command),
            (
                Standing::CheckingOut { checkout_id: current, .. },
                C::BeginCheckout { checkout_id, .. },
            ) if current == checkout_id => Ok(vec![]),
            (Standing::MergedInto { into: current }, C::MergeInto { into, .. })
                if current == into =>
            {
                Ok(vec![])
            }
            (Standing::CheckingOut { checkout_id, .. }, _) => {
                Err(CartError::InCheckout { checkout_id })
            }
            (Standing::CheckedOut { order_id, .. }, _) => Err(CartError::CheckedOut { order_id }),
            (Standing::MergedInto { into }, _) => Err(CartError::Merged { into }),
        }
    }

    /// What can be done with a cart that is open.
    fn change(&self, command: CartCommand) -> Decision {
        use CartCommand as C;
        match command {
            C::Add { variant_id, quantity, unit_price, at } => {
                self.add(CartItemAdded { variant_id, quantity, unit_price, at })
            }
            C::ChangeQuantity { variant_id, quantity, at } => {
                self.change_quantity(CartItemQuantityChanged { variant_id, quantity, at })
            }
            C::Remove { variant_id, at } => {
                let removed = CartEvent::ItemRemoved(CartItemRemoved { variant_id, at });
                Ok(self.line(variant_id).map(|_| removed).into_iter().collect())
            }
            C::SeePrices { prices, at } => Ok(self.see_prices(prices, at)),
            C::ApplyCoupon { code, at } => self.apply_coupon(&code, at),
            C::RemoveCoupon { code, at } => {
                let code = in_capitals(&code)?;
                let there = self.coupons.contains(&code);
                let removed = CartEvent::CouponRemoved(CartCouponRemoved { code, at });
                Ok(there.then_some(removed).into_iter().collect())
            }
            C::Identify { customer_reference, at } => self.identify(customer_reference, at),
            C::Merge { from, lines, coupons, at } => self.merge(from, (lines, coupons), at),
            C::MergeInto { into, at } => match self.customer_reference {
                Some(_) => Err(CartError::OtherCustomer),
                None => Ok(vec![CartEvent::MergedInto(CartMergedInto { into, at })]),
            },
            C::BeginCheckout { checkout_id, at } => {
                if self.lines.is_empty() {
                    return Err(CartError::Empty);
                }
                if LINES_MAX < self.lines.len() {
                    return Err(CartError::Full { max: LINES_MAX });
                }
                Ok(vec![CartEvent::CheckoutBegun(CartCheckoutBegun { checkout_id, at })])
            }
            C::Start { .. } | C::Reopen { .. } | C::CheckOut { .. } => Ok(vec![]),
        }
    }

    fn add(&self, new: CartItemAdded) -> Decision {
        let line = self.line(new.variant_id);
        let before = line.map_or(0, |line| line.quantity);
        check_quantity(new.quantity)?;
        check_quantity(before.saturating_add(new.quantity))?;
        if line.is_none() && LINES_MAX <= self.lines.len() {
            return Err(CartError::Full { max: LINES_MAX });
        }
        let others = self.lines.iter().find(|line| line.variant_id != new.variant_id);
        let cart = others.map_or(new.unit_price.currency, |line| line.unit_price.currency);
        if cart != new.unit_price.currency {
            return Err(CartError::CurrencyMismatch { cart });
        }
        Ok(vec![CartEvent::ItemAdded(new)])
    }

    fn change_quantity(&self, new: CartItemQuantityChanged) -> Decision {
        check_quantity(new.quantity)?;
        let line = self.line(new.variant_id).ok_or(CartError::UnknownLine)?;
        let changed = line.quantity != new.quantity;
        Ok(changed.then_some(CartEvent::QuantityChanged(new)).into_iter().collect())
    }

    fn see_prices(&self, mut prices: Vec<SeenPrice>, at: DateTime<Utc>) -> Vec<CartEvent> {
        prices.retain(|seen| {
            self.line(seen.variant_id).is_some_and(|line| line.unit_price != seen.unit_price)
        });
        let seen = CartPricesSeen { prices, at };
        if seen.prices.is_empty() { vec![] } else { vec![CartEvent::PricesSeen(seen)] }
    }

    fn apply_coupon(&self, code: &str, at: DateTime<Utc>) -> Decision {
        let code = in_capitals(code)?;
        if self.coupons.contains(&code) {
            return Ok(vec![]);
        }
        if COUPONS_MAX <= self.coupons.len() {
            return Err(CartError::TooManyCoupons { max: COUPONS_MAX });
        }
        Ok(vec![CartEvent::CouponApplied(CartCouponApplied { code, at })])
    }

    fn identify(&self, customer_reference: String, at: DateTime<Utc>) -> Decision {
        check_customer(&customer_reference)?;
        match &self.customer_reference {
            None => {
                let identified = CartCustomerIdentified { customer_reference, at };
                Ok(vec![CartEvent::CustomerIdentified(identified)])
            }
            Some(current) if *current == customer_reference => Ok(vec![]),
            Some(_) => Err(CartError::OtherCustomer),
        }
    }

    /// Of each variant the larger quantity: whoever gathered the same thing twice, on two devices,
    /// wanted it once, and merging twice is merging once.
    fn merge(
        &self,
        from: CartId,
        (lines, mut coupons): (Vec<CartLine>, Vec<String>),
        at: DateTime<Utc>,
    ) -> Decision {
        let lines: Vec<CartLine> = lines.into_iter().filter_map(|line| self.more(line)).collect();
        let new = lines.iter().filter(|line| self.line(line.variant_id).is_none()).count();
        if LINES_MERGED_MAX < self.lines.len() + new {
            return Err(CartError::Full { max: LINES_MERGED_MAX });
        }
        coupons.retain(|code| !self.coupons.contains(code));
        // As with lines: two full carts lose no code.
        let max = 2 * COUPONS_MAX;
        if max < self.coupons.len() + coupons.len() {
            return Err(CartError::TooManyCoupons { max });
        }
        if lines.is_empty() && coupons.is_empty() {
            return Ok(vec![]);
        }
        Ok(vec![CartEvent::Merged(CartMerged { from, lines, coupons, at })])
    }

    /// The line of the other cart as it will be here, if that is news.
    fn more(&self, other: CartLine) -> Option<CartLine> {
        match self.line(other.variant_id) {
            None => Some(other),
            Some(line) if line.quantity < other.quantity => Some(other),
            Some(_) => None,
        }
    }

    fn reopen(&self, checkout_id: CheckoutId, at: DateTime<Utc>) -> Vec<CartEvent> {
        match self.standing {
            Standing::CheckingOut { checkout_id: current, .. } if current == checkout_id => {
                vec![CartEvent::Reopened(CartReopened { checkout_id, at })]
            }
            _ => vec![],
        }
    }

    fn check_out(
        &self,
        checkout_id: CheckoutId,
        order_id: OrderId,
        at: DateTime<Utc>,
    ) -> Vec<CartEvent> {
        match self.standing {
            Standing::CheckingOut { checkout_id: current, .. } if current == checkout_id => {
                let customer_reference = self.customer_reference.clone();
                let checked = CartCheckedOut { checkout_id, order_id, customer_reference, at };
                vec![CartEvent::CheckedOut(checked)]
            }
            _ => vec![],
        }
    }
}

fn check_quantity(quantity: u32) -> Result<(), CartError> {
    let fits = (1..=QUANTITY_MAX).contains(&quantity);
    if fits { Ok(()) } else { Err(CartError::QuantityOutOfRange) }
}

fn check_customer(reference: &str) -> Result<(), CartError> {
    let fits = !reference.trim().is_empty() && reference.chars().count() <= CUSTOMER_CHARS_MAX;
    if fits { Ok(()) } else { Err(CartError::BadCustomer) }
}

/// A code as it is kept and compared: people type it in any case, with blanks around it.
fn in_capitals(code: &str) -> Result<String, CartError> {
    let code = code.trim().to_ascii_uppercase();
    let fits = (1..=COUPON_CHARS_MAX).contains(&code.len());
    let visible = code.bytes().all(|byte| byte.is_ascii_graphic());
    if fits && visible { Ok(code) } else { Err(CartError::BadCoupon) }
}
