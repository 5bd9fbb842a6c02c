//! Carts: what somebody has gathered. A cart promises nothing: no stock is held and no price is
//! kept until a checkout is made of it.

use chrono::{DateTime, Utc};
use cqrs_es::{Aggregate, event_sink::EventSink};
use event_schemas::{
    cart::{CartEvent, CartLine, SeenPrice},
    ids::{CartId, CheckoutId, OrderId, VariantId},
    money::{Currency, Money},
};
use serde::{Deserialize, Serialize};

#[cfg(test)]
mod properties;
mod rules;
#[cfg(test)]
mod tests;

/// Lines of one cart, as many as a checkout takes.
pub const LINES_MAX: usize = 100;

/// Lines of a cart that took another one in: two full ones lose no line, and what is too much to
/// check out can be taken out again.
pub const LINES_MERGED_MAX: usize = 2 * LINES_MAX;

/// Units of one line, as many as a checkout takes.
pub const QUANTITY_MAX: u32 = 999;

/// Codes of one cart: people collect a few, guessers try thousands.
pub const COUPONS_MAX: usize = 10;

/// Characters of a code: what fits on a printed card.
pub const COUPON_CHARS_MAX: usize = 64;

/// Characters of a customer's reference: the merchant's own key, not a text.
pub const CUSTOMER_CHARS_MAX: usize = 255;

/// What can be asked of a cart, or told to it. Items of different variants commute, so that nobody
/// has to know the version to add one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CartCommand {
    /// Somebody starts to gather.
    Start { customer_reference: Option<String>, at: DateTime<Utc> },
    /// More units of a variant, which may be in it already.
    Add { variant_id: VariantId, quantity: u32, unit_price: Money, at: DateTime<Utc> },
    /// Another quantity of a line.
    ChangeQuantity { variant_id: VariantId, quantity: u32, at: DateTime<Utc> },
    /// None of it any more. Nothing happens if there is none.
    Remove { variant_id: VariantId, at: DateTime<Utc> },
    /// The shopper was shown these prices. Those of lines that are gone are passed over.
    SeePrices { prices: Vec<SeenPrice>, at: DateTime<Utc> },
    /// A code, as typed.
    ApplyCoupon { code: String, at: DateTime<Utc> },
    /// The code does not count any more. Nothing happens if it is not there.
    RemoveCoupon { code: String, at: DateTime<Utc> },
    /// The shopper is this customer.
    Identify { customer_reference: String, at: DateTime<Utc> },
    /// Takes in what another cart has. Doing it again changes nothing.
    Merge { from: CartId, lines: Vec<CartLine>, coupons: Vec<String>, at: DateTime<Utc> },
    /// Everything is in another cart now.
    MergeInto { into: CartId, at: DateTime<Utc> },
    /// A checkout is being made of it.
    BeginCheckout { checkout_id: CheckoutId, at: DateTime<Utc> },
    /// That checkout came to nothing. Late or repeated, it changes nothing.
    Reopen { checkout_id: CheckoutId, at: DateTime<Utc> },
    /// That checkout became an order. Late or repeated, it changes nothing.
    CheckOut { checkout_id: CheckoutId, order_id: OrderId, at: DateTime<Utc> },
}

/// Why a cart refuses a command. Each variant is one problem type of the public API.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CartError {
    /// No such cart.
    #[error("cart does not exist")]
    NotFound,
    /// It was started before, by another command.
    #[error("cart already exists")]
    AlreadyStarted,
    /// A checkout is made of it; give that up to go on shopping.
    #[error("a checkout is being made of the cart")]
    InCheckout {
        /// The checkout.
        checkout_id: CheckoutId,
    },
    /// It was bought.
    #[error("the cart was checked out")]
    CheckedOut {
        /// The order it became.
        order_id: OrderId,
    },
    /// What was in it is in another cart.
    #[error("the cart was merged into {into}")]
    Merged {
        /// The other cart.
        into: CartId,
    },
    /// No units, or too many of one line.
    #[error("a line has 1 to {QUANTITY_MAX} units")]
    QuantityOutOfRange,
    /// Too many lines.
    #[error("a cart has at most {max} lines")]
    Full {
        /// How many there may be.
        max: usize,
    },
    /// The variant is not in it.
    #[error("the cart has no line of this variant")]
    UnknownLine,
    /// All lines are paid at once.
    #[error("the cart is in {cart}")]
    CurrencyMismatch {
        /// Currency of its first line.
        cart: Currency,
    },
    /// No code looks like that.
    #[error("a coupon code has 1 to {COUPON_CHARS_MAX} visible ASCII characters")]
    BadCoupon,
    /// Too many codes.
    #[error("a cart has at most {max} coupon codes")]
    TooManyCoupons {
        /// How many there may be.
        max: usize,
    },
    /// Blank or too long.
    #[error("a customer reference has 1 to {CUSTOMER_CHARS_MAX} characters")]
    BadCustomer,
    /// It is somebody else's.
    #[error("the cart belongs to another customer")]
    OtherCustomer,
    /// Nothing to buy.
    #[error("the cart is empty")]
    Empty,
}

/// A cart.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cart {
    /// What can happen to it.
    pub standing: Standing,
    /// Whose it is, in the merchant's own words. None for a guest.
    pub customer_reference: Option<String>,
    /// One per variant, oldest first.
    pub lines: Vec<CartLine>,
    /// Codes in capitals, oldest first.
    pub coupons: Vec<String>,
}

/// What can happen to a cart.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Standing {
    /// It was never started.
    #[default]
    Absent,
    /// Everything.
    Open,
    /// Nothing before the checkout has ended.
    CheckingOut {
        /// The checkout.
        checkout_id: CheckoutId,
        /// Since when.
        since: DateTime<Utc>,
    },
    /// Nothing any more: it was bought.
    CheckedOut {
        /// The checkout.
        checkout_id: CheckoutId,
        /// The order it became.
        order_id: OrderId,
    },
    /// Nothing any more: another cart has everything.
    MergedInto {
        /// The other cart.
        into: CartId,
    },
}

impl Cart {
    /// The line of a variant.
    pub fn line(&self, variant_id: VariantId) -> Option<&CartLine> {
        self.lines.iter().find(|line| line.variant_id == variant_id)
    }

    fn line_mut(&mut self, variant_id: VariantId) -> Option<&mut CartLine> {
        self.lines.iter_mut().find(|line| line.variant_id == variant_id)
    }

    fn put(&mut self, new: CartLine) {
        match self.line_mut(new.variant_id) {
            Some(line) => *line = new,
            None => self.lines.push(new),
        }
    }
}

impl Aggregate for Cart {
    const TYPE: &'static str = "cart";
    type Command = CartCommand;
    type Event = CartEvent;
    type Error = CartError;
    type Services = ();

    async fn handle(
        &mut self,
        command: CartCommand,
        _services: &(),
        sink: &EventSink<Self>,
    ) -> Result<(), CartError> {
        for event in self.decide(command)? {
            sink.write(event, self).await;
        }
        Ok(())
    }

    fn apply(&mut self, event: CartEvent) {
        use CartEvent as E;
        match event {
            E::Started(e) => {
                self.standing = Standing::Open;
                self.customer_reference = e.customer_reference;
            }
            E::ItemAdded(e) => {
                let before = self.line(e.variant_id).map_or(0, |line| line.quantity);
                let quantity = before.saturating_add(e.quantity);
                let (variant_id, unit_price) = (e.variant_id, e.unit_price);
                self.put(CartLine { variant_id, quantity, unit_price });
            }
            E::QuantityChanged(e) => {
                if let Some(line) = self.line_mut(e.variant_id) {
                    line.quantity = e.quantity;
                }
            }
            E::ItemRemoved(e) => self.lines.retain(|line| line.variant_id != e.variant_id),
            E::PricesSeen(e) => {
                for seen in e.prices {
                    if let Some(line) = self.line_mut(seen.variant_id) {
                        line.unit_price = seen.unit_price;
                    }
                }
            }
            E::CouponApplied(e) => self.coupons.push(e.code),
            E::CouponRemoved(e) => self.coupons.retain(|code| *code != e.code),
            E::CustomerIdentified(e) => self.customer_reference = Some(e.customer_reference),
            E::Merged(e) => {
                e.lines.into_iter().for_each(|line| self.put(line));
                self.coupons.extend(e.coupons);
            }
            E::MergedInto(e) => self.standing = Standing::MergedInto { into: e.into },
            E::CheckoutBegun(e) => {
                let (checkout_id, since) = (e.checkout_id, e.at);
                self.standing = Standing::CheckingOut { checkout_id, since };
            }
            E::Reopened(_) => self.standing = Standing::Open,
            E::CheckedOut(e) => {
                let (checkout_id, order_id) = (e.checkout_id, e.order_id);
                self.standing = Standing::CheckedOut { checkout_id, order_id };
            }
        }
    }
}
