//! What a client is told of a cart: what is in it, as it is now, and what is wrong with that.

use domain::catalog::NotSellable;
use event_schemas::{
    cart::CartLine,
    ids::{CartId, CheckoutId, OrderId, ProductId, StoreId, VariantId},
    money::{Currency, Money},
};
use event_store::{Loaded, StoreError};
use futures::{StreamExt as _, TryStreamExt as _, stream};

use super::{LINES_MAX, Standing, load, standing};
use crate::{
    Ctx,
    catalog::{self, FoundVariant},
    inventory,
};

/// Variants that are looked up at a time. What is asked for at the same time shares its round trips.
const LOOK_UPS_AT_ONCE: usize = 32;

/// A cart as a client sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CartView {
    /// The cart.
    pub cart_id: CartId,
    /// What can happen to it.
    pub status: CartStatus,
    /// Whose it is, in the merchant's own words. None for a guest.
    pub customer_reference: Option<String>,
    /// What is in it, oldest first.
    pub lines: Vec<LineView>,
    /// Codes in capitals. What they are worth is for the quote.
    pub coupons: Vec<String>,
    /// What the lines that can be bought cost now. None if there is none, or if they are of
    /// different currencies.
    pub subtotal: Option<Money>,
    /// What is wrong with it, or has changed.
    pub problems: Vec<CartProblem>,
    /// The checkout that is or was made of it.
    pub checkout_id: Option<CheckoutId>,
    /// The order it became.
    pub order_id: Option<OrderId>,
    /// The cart that has everything.
    pub merged_into: Option<CartId>,
    /// Events seen.
    pub version: i64,
    /// Position of the last event seen.
    pub position: i64,
}

/// What can happen to a cart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CartStatus {
    /// Everything.
    Open,
    /// Nothing before its checkout has ended.
    CheckingOut,
    /// Nothing any more: it was bought.
    CheckedOut,
    /// Nothing any more: another cart has everything.
    Merged,
}

/// One line of a cart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LineView {
    /// What.
    pub variant_id: VariantId,
    /// Its product. None if the store has no such variant.
    pub product_id: Option<ProductId>,
    /// Its stock keeping unit.
    pub sku: Option<String>,
    /// Its name now.
    pub title: Option<String>,
    /// Units.
    pub quantity: u32,
    /// What one unit costs now; what it cost when the shopper was shown it last, if it is not for
    /// sale.
    pub unit_price: Money,
    /// All units; none if it does not fit.
    pub total: Option<Money>,
    /// Units that could be bought now.
    pub available: u64,
}

/// Something the shopper should know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CartProblem {
    /// Of which line. None if of the whole cart.
    pub variant_id: Option<VariantId>,
    /// What it is.
    pub kind: ProblemKind,
}

/// What can be wrong with a cart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProblemKind {
    /// It costs something else than the shopper was shown last. No reason not to buy it.
    PriceChanged {
        /// What the shopper was shown last.
        seen: Money,
        /// What it costs now.
        now: Money,
    },
    /// It cannot be bought.
    Unavailable(Unavailable),
    /// There are fewer units than are wanted.
    ShortStock {
        /// Units wanted.
        requested: u32,
        /// Units that could be bought now.
        available: u64,
    },
    /// Its price is in another currency than that of the lines before.
    OtherCurrency {
        /// Theirs.
        cart: Currency,
    },
    /// It has more lines than one checkout takes.
    TooManyLines {
        /// How many it takes.
        max: usize,
    },
}

/// Why something cannot be bought.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unavailable {
    /// The store has no such variant.
    Unknown,
    /// Its product is not for sale now.
    NotSellable(NotSellable),
}

impl ProblemKind {
    /// Whether nothing can be bought before it is dealt with.
    pub fn is_blocking(&self) -> bool {
        !matches!(self, Self::PriceChanged { .. })
    }
}

/// The cart as it is now, by the streams of the cart, its products and its checkout. How many units
/// there are is what this process knows of the stock, which promises nothing. `None` if there is no
/// such cart.
pub async fn view(
    ctx: &Ctx,
    store_id: StoreId,
    cart_id: CartId,
) -> Result<Option<CartView>, StoreError> {
    let Loaded { state: cart, version, position } = load(ctx, store_id, cart_id).await?;
    let standing = standing(ctx, store_id, (cart_id, &cart)).await?;
    let (status, checkout_id, order_id, merged_into) = match standing {
        Standing::Absent => return Ok(None),
        Standing::Open => (CartStatus::Open, None, None, None),
        Standing::CheckingOut { checkout_id, .. } => {
            (CartStatus::CheckingOut, Some(checkout_id), None, None)
        }
        Standing::CheckedOut { checkout_id, order_id } => {
            (CartStatus::CheckedOut, Some(checkout_id), Some(order_id), None)
        }
        Standing::MergedInto { into } => (CartStatus::Merged, None, None, Some(into)),
    };
    let offers = offers(ctx, store_id, &cart.lines).await?;
    let stock = stock(ctx, store_id, &cart.lines).await?;
    let seen: Vec<Seen<'_>> = cart.lines.iter().zip(&offers).zip(stock).map(Seen::of).collect();
    Ok(Some(CartView {
        cart_id,
        status,
        subtotal: subtotal(&seen),
        // What is bought, or is about to be, is the checkout's.
        problems: if status == CartStatus::Open { problems(&seen) } else { vec![] },
        lines: seen.iter().map(Seen::line).collect(),
        customer_reference: cart.customer_reference.clone(),
        coupons: cart.coupons.clone(),
        checkout_id,
        order_id,
        merged_into,
        version,
        position,
    }))
}

/// What each line is now, in their order.
pub(super) async fn offers(
    ctx: &Ctx,
    store_id: StoreId,
    lines: &[CartLine],
) -> Result<Vec<Option<FoundVariant>>, StoreError> {
    let find = |line: &CartLine| catalog::find_variant(ctx, store_id, line.variant_id);
    stream::iter(lines.iter().map(find)).buffered(LOOK_UPS_AT_ONCE).try_collect().await
}

/// Units of each line that could be bought, in their order.
async fn stock(ctx: &Ctx, store_id: StoreId, lines: &[CartLine]) -> Result<Vec<u64>, StoreError> {
    let look = |line: &CartLine| inventory::seems_available(ctx, store_id, line.variant_id);
    stream::iter(lines.iter().map(look)).buffered(LOOK_UPS_AT_ONCE).try_collect().await
}

/// A line and what it is now.
struct Seen<'a> {
    line: &'a CartLine,
    found: Option<&'a FoundVariant>,
    price: Result<Money, Unavailable>,
    available: u64,
}

impl<'a> Seen<'a> {
    fn of(((line, found), available): ((&'a CartLine, &'a Option<FoundVariant>), u64)) -> Seen<'a> {
        let found = found.as_ref();
        let price = match found {
            Some(found) => found.offer.price.map_err(Unavailable::NotSellable),
            None => Err(Unavailable::Unknown),
        };
        Seen { line, found, price, available }
    }

    fn line(&self) -> LineView {
        let CartLine { variant_id, quantity, unit_price } = *self.line;
        let unit_price = self.price.clone().unwrap_or(unit_price);
        LineView {
            variant_id,
            product_id: self.found.map(|found| found.product_id),
            sku: self.found.and_then(|found| found.offer.sku.clone()),
            title: self.found.map(|found| found.offer.title.clone()),
            quantity,
            unit_price,
            total: unit_price.checked_mul(i64::from(quantity)),
            available: self.available,
        }
    }

    fn problems(&self, cart: Option<Currency>) -> Vec<ProblemKind> {
        let CartLine { quantity: requested, unit_price: seen, .. } = *self.line;
        let now = match &self.price {
            Ok(now) => *now,
            Err(why) => return vec![ProblemKind::Unavailable(why.clone())],
        };
        let available = self.available;
        let other = cart.filter(|cart| *cart != now.currency);
        let short = available < u64::from(requested);
        [
            other.map(|cart| ProblemKind::OtherCurrency { cart }),
            short.then_some(ProblemKind::ShortStock { requested, available }),
            (now != seen).then_some(ProblemKind::PriceChanged { seen, now }),
        ]
        .into_iter()
        .flatten()
        .collect()
    }
}

fn subtotal(seen: &[Seen<'_>]) -> Option<Money> {
    let mut lines = seen.iter().filter_map(|seen| Some((seen.price.clone().ok()?, seen.line)));
    let currency = lines.clone().next()?.0.currency;
    lines.try_fold(Money { amount_minor: 0, currency }, |sum, (price, line)| {
        Money::sum(currency, [sum, price.checked_mul(i64::from(line.quantity))?])
    })
}

fn problems(seen: &[Seen<'_>]) -> Vec<CartProblem> {
    let currency = seen.iter().find_map(|seen| Some(seen.price.clone().ok()?.currency));
    let too_many = ProblemKind::TooManyLines { max: LINES_MAX };
    let too_many = (LINES_MAX < seen.len()).then_some((None, too_many));
    let of_lines = seen.iter().flat_map(|seen| {
        let of_line = |kind| (Some(seen.line.variant_id), kind);
        seen.problems(currency).into_iter().map(of_line)
    });
    let problem = |(variant_id, kind)| CartProblem { variant_id, kind };
    too_many.into_iter().chain(of_lines).map(problem).collect()
}
