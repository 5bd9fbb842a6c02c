//! Carts: gather, merge on login, check out; see what is in one and what has changed.
//!
//! Nobody tells a cart what became of its checkout: whoever comes to it next looks, and so it is
//! never wrong, whatever crashed. See ADR 0016.

use chrono::Duration;
pub use domain::cart::{
    COUPONS_MAX, CUSTOMER_CHARS_MAX, Cart, CartCommand, CartError, LINES_MAX, QUANTITY_MAX,
    Standing,
};
use event_schemas::{
    cart::{CartEvent, SeenPrice},
    ids::{CartId, StoreId, VariantId},
    money::Money,
    upcast,
};
use event_store::{Done, KeyChange, Kind, Loaded, StoreError};

use crate::{
    CommandError, Ctx, Intent, catalog,
    checkout::{self, Phase},
    run,
};

mod check_out;
mod merge;
mod view;

pub use check_out::{CheckOutError, begin_checkout, gather};
pub use merge::identify;
pub use view::{CartProblem, CartStatus, CartView, LineView, ProblemKind, Unavailable, view};

/// Scope that leads from a customer to the one cart that is open.
pub const CUSTOMER: &str = "cart_customer";

/// How long a cart waits for a checkout that was announced and is not there. Longer than any request
/// takes, so that nobody is still at it.
const ANNOUNCED: Duration = Duration::seconds(60);

/// Times the steps of a use case are gone through again because somebody else was faster.
const TRIES_MAX: usize = 5;

/// How the engine reads and indexes carts.
pub static CART: Kind<Cart> = Kind { decode: upcast::decode, schema: domain::SCHEMA, keys };

type Outcome = Result<Done, CommandError<CartError>>;

/// A customer has one cart at a time: until it is bought.
fn keys(event: &CartEvent) -> Vec<KeyChange> {
    let claim = |key: &String| vec![KeyChange::Claim { scope: CUSTOMER, key: key.clone() }];
    match event {
        CartEvent::Started(started) => {
            started.customer_reference.as_ref().map_or_else(Vec::new, claim)
        }
        CartEvent::CustomerIdentified(identified) => claim(&identified.customer_reference),
        CartEvent::CheckedOut(bought) => {
            bought.customer_reference.as_ref().map_or_else(Vec::new, |key| {
                vec![KeyChange::Release { scope: CUSTOMER, key: key.clone() }]
            })
        }
        CartEvent::ItemAdded(_)
        | CartEvent::QuantityChanged(_)
        | CartEvent::ItemRemoved(_)
        | CartEvent::PricesSeen(_)
        | CartEvent::CouponApplied(_)
        | CartEvent::CouponRemoved(_)
        | CartEvent::Merged(_)
        | CartEvent::MergedInto(_)
        | CartEvent::CheckoutBegun(_)
        | CartEvent::Reopened(_) => vec![],
    }
}

/// The cart that a command starts: the same command, the same cart.
pub fn new_cart_id(intent: &Intent) -> CartId {
    CartId::derive(&[intent.store_id.0.as_bytes(), intent.command_id.0.as_bytes()])
}

/// A cart, and whether it is new.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Started {
    /// The cart.
    pub cart_id: CartId,
    /// Whether this command started it, now or at its first time.
    pub new: bool,
    /// Whether this is a repeat.
    pub replayed: bool,
}

/// Starts a cart, or finds the one that the customer has.
pub async fn start(
    ctx: &Ctx,
    intent: &Intent,
    customer_reference: Option<String>,
) -> Result<Started, CommandError<CartError>> {
    let cart_id = new_cart_id(intent);
    let mut last = CommandError::Conflict("cart");
    for _ in 0..TRIES_MAX {
        let (reference, at) = (customer_reference.clone(), intent.at);
        let command = CartCommand::Start { customer_reference: reference, at };
        match tell(ctx, intent, cart_id, command).await {
            Ok(done) => return Ok(Started { cart_id, new: true, replayed: done.replayed }),
            Err(error @ CommandError::Taken { .. }) => last = error,
            Err(error) => return Err(error),
        }
        let Some(reference) = &customer_reference else { break };
        if let Some(theirs) = of_customer(ctx, intent, reference).await? {
            return Ok(Started { cart_id: theirs, new: false, replayed: false });
        }
    }
    Err(last)
}

/// The cart a customer has, settled; none if what they had was bought.
async fn of_customer(
    ctx: &Ctx,
    intent: &Intent,
    reference: &str,
) -> Result<Option<CartId>, CommandError<CartError>> {
    let owner = ctx.engine.key_owner(intent.store_id.0, CUSTOMER, reference).await;
    let Some(owner) = owner.map_err(CommandError::Store)?.map(CartId) else { return Ok(None) };
    let cart = settle(ctx, intent, owner).await?;
    let bought = matches!(cart.state.standing, Standing::CheckedOut { .. });
    Ok((!bought).then_some(owner))
}

/// Why an item was not put into a cart.
#[derive(Debug, thiserror::Error)]
pub enum AddError {
    /// No product of the store has the variant.
    #[error("variant does not exist")]
    UnknownVariant,
    /// The variant cannot be bought now.
    #[error("{0}")]
    NotSellable(domain::catalog::NotSellable),
    /// A rule of the cart, or the log, said no.
    #[error(transparent)]
    Command(#[from] CommandError<CartError>),
}

/// Puts units of a variant into a cart, at the price of now. How many there are is not asked: that
/// is one of the problems the answer names.
pub async fn add(
    ctx: &Ctx,
    intent: &Intent,
    cart_id: CartId,
    (variant_id, quantity): (VariantId, u32),
) -> Result<Done, AddError> {
    let found = catalog::find_variant(ctx, intent.store_id, variant_id).await;
    let found = found.map_err(CommandError::Store)?.ok_or(AddError::UnknownVariant)?;
    let unit_price = found.offer.price.map_err(AddError::NotSellable)?;
    let command = CartCommand::Add { variant_id, quantity, unit_price, at: intent.at };
    Ok(change(ctx, intent, cart_id, command).await?)
}

/// Records that the shopper was shown what every line costs now, so that it is no news any more.
pub async fn see_prices(ctx: &Ctx, intent: &Intent, cart_id: CartId) -> Outcome {
    let cart = load(ctx, intent.store_id, cart_id).await.map_err(CommandError::Store)?;
    let offers = view::offers(ctx, intent.store_id, &cart.state.lines).await;
    let offers = offers.map_err(CommandError::Store)?;
    let price = |found: &catalog::FoundVariant| -> Option<(VariantId, Money)> {
        Some((found.variant_id, found.offer.price.ok()?))
    };
    let seen = |(variant_id, unit_price)| SeenPrice { variant_id, unit_price };
    let prices = offers.iter().flatten().filter_map(price).map(seen).collect();
    change(ctx, intent, cart_id, CartCommand::SeePrices { prices, at: intent.at }).await
}

/// Puts a command of a shopper to a cart. One whose checkout came to nothing is open again.
pub async fn change(ctx: &Ctx, intent: &Intent, cart_id: CartId, command: CartCommand) -> Outcome {
    let outcome = tell(ctx, intent, cart_id, command.clone()).await;
    if !matches!(outcome, Err(CommandError::Rejected(CartError::InCheckout { .. }))) {
        return outcome;
    }
    settle(ctx, intent, cart_id).await?;
    // The version was compared before the refusal, and what has settled since is no news to anybody.
    tell(ctx, &Intent { expected: None, ..intent.clone() }, cart_id, command).await
}

/// Puts a command to a cart as it is.
async fn tell(ctx: &Ctx, intent: &Intent, cart_id: CartId, command: CartCommand) -> Outcome {
    let intent = Intent { correlation_id: cart_id.to_string(), ..intent.clone() };
    run(ctx, &CART, cart_id.0, &intent, command).await
}

/// The cart as it is now; version 0 if there is none.
pub async fn load(ctx: &Ctx, store_id: StoreId, id: CartId) -> Result<Loaded<Cart>, StoreError> {
    ctx.engine.load(&CART, store_id.0, id.0).await
}

/// The cart after it was told what became of its checkout.
async fn settle(
    ctx: &Ctx,
    intent: &Intent,
    cart_id: CartId,
) -> Result<Loaded<Cart>, CommandError<CartError>> {
    let cart = load(ctx, intent.store_id, cart_id).await.map_err(CommandError::Store)?;
    let now = standing(ctx, intent.store_id, (cart_id, &cart.state))
        .await
        .map_err(CommandError::Store)?;
    let (Standing::CheckingOut { checkout_id, .. }, at) = (cart.state.standing, intent.at) else {
        return Ok(cart);
    };
    let command = match now {
        Standing::Open => CartCommand::Reopen { checkout_id, at },
        Standing::CheckedOut { order_id, .. } => {
            CartCommand::CheckOut { checkout_id, order_id, at }
        }
        Standing::Absent | Standing::CheckingOut { .. } | Standing::MergedInto { .. } => {
            return Ok(cart);
        }
    };
    let step = intent.step(&format!("settle {checkout_id} {}", cart.version));
    tell(ctx, &step, cart_id, command).await?;
    load(ctx, intent.store_id, cart_id).await.map_err(CommandError::Store)
}

/// What can happen to the cart, given what became of its checkout.
async fn standing(
    ctx: &Ctx,
    store_id: StoreId,
    (cart_id, cart): (CartId, &Cart),
) -> Result<Standing, StoreError> {
    let Standing::CheckingOut { checkout_id, since } = cart.standing else {
        return Ok(cart.standing);
    };
    let loaded = checkout::load(ctx, store_id, checkout_id).await?;
    // A key that was used before names the checkout it was used for, of whatever cart.
    if loaded.state.started.is_some_and(|started| started.cart_id != Some(cart_id)) {
        return Ok(Standing::Open);
    }
    Ok(match loaded.state.phase {
        Phase::Completed { order_id, .. } => Standing::CheckedOut { checkout_id, order_id },
        Phase::Compensating { .. } | Phase::Failed { .. } => Standing::Open,
        Phase::Absent if since + ANNOUNCED <= ctx.now() => Standing::Open,
        Phase::Absent
        | Phase::Reserving
        | Phase::AwaitingPayment
        | Phase::Paying { .. }
        | Phase::Completing { .. } => cart.standing,
    })
}
