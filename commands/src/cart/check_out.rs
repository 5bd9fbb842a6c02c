//! A checkout made of a cart.

use event_schemas::ids::{CartId, CheckoutId};

use super::{Cart, CartCommand, CartError, Standing, TRIES_MAX, settle, tell};
use crate::{
    CommandError, Ctx, Intent, Loaded, StoreError,
    checkout::{self, BeginError, Begun, NewCheckout, NewLine, new_checkout_id},
};

/// Why no checkout was made of a cart.
#[derive(Debug, thiserror::Error)]
pub enum CheckOutError {
    /// The cart, or the log, said no.
    #[error(transparent)]
    Cart(#[from] CommandError<CartError>),
    /// The checkout said no. The cart is open.
    #[error(transparent)]
    Begin(#[from] BeginError),
}

/// Fills in what the checkout is made of: lines, codes and customer of its cart. A checkout without
/// a cart stays as it is.
pub async fn gather(
    ctx: &Ctx,
    intent: &Intent,
    new: NewCheckout,
) -> Result<NewCheckout, CommandError<CartError>> {
    let Some(cart_id) = new.cart_id else { return Ok(new) };
    let cart = settle(ctx, intent, cart_id).await?;
    check(&cart.state, new_checkout_id(intent))?;
    Ok(filled(new, cart.state))
}

/// Begins a checkout. One of a cart is announced to it first, so that the cart stays as it was
/// bought; if it does not begin, the cart is open again.
pub async fn begin_checkout(
    ctx: &Ctx,
    intent: &Intent,
    new: NewCheckout,
) -> Result<Begun, CheckOutError> {
    let Some(cart_id) = new.cart_id else { return Ok(checkout::begin(ctx, intent, new).await?) };
    let checkout_id = new_checkout_id(intent);
    let (cart, announced) = announce(ctx, intent, (cart_id, checkout_id)).await?;
    let begun = checkout::begin(ctx, intent, filled(new, cart)).await;
    if announced && begun.as_ref().is_err_and(began_surely_not) {
        let reopen = CartCommand::Reopen { checkout_id, at: intent.at };
        tell(ctx, &intent.step("reopen"), cart_id, reopen).await?;
    }
    Ok(begun?)
}

/// Whether the error leaves no doubt. Where it does, the next one who comes to the cart looks.
fn began_surely_not(error: &BeginError) -> bool {
    use CommandError as E;
    match error {
        BeginError::TooManyLines { .. } | BeginError::NotYours | BeginError::Lines(_) => true,
        BeginError::Command(error) => {
            matches!(
                error,
                E::Rejected(_) | E::KeyReused | E::Store(StoreError::Busy | StoreError::Late)
            )
        }
    }
}

/// Closes the cart for everything but this checkout, unless that was done before. What it has then
/// is what is bought.
async fn announce(
    ctx: &Ctx,
    intent: &Intent,
    (cart_id, checkout_id): (CartId, CheckoutId),
) -> Result<(Cart, bool), CommandError<CartError>> {
    for _ in 0..TRIES_MAX {
        let Loaded { state, version, .. } = settle(ctx, intent, cart_id).await?;
        check(&state, checkout_id)?;
        if state.standing != Standing::Open {
            return Ok((state, false));
        }
        // Another version is another announcement: after a crash in between, the cart may have been
        // opened again.
        let step = intent.step(&format!("announce {version}"));
        let step = Intent { expected: Some(version), ..step };
        let begin = CartCommand::BeginCheckout { checkout_id, at: intent.at };
        match tell(ctx, &step, cart_id, begin).await {
            Ok(_) => return Ok((state, true)),
            Err(CommandError::Stale { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    Err(CommandError::Conflict("cart"))
}

/// Whether this checkout may be made of it, or was before.
fn check(cart: &Cart, ours: CheckoutId) -> Result<(), CommandError<CartError>> {
    let refusal = match cart.standing {
        Standing::Absent => CartError::NotFound,
        Standing::Open if cart.lines.is_empty() => CartError::Empty,
        Standing::CheckingOut { checkout_id, .. } if checkout_id != ours => {
            CartError::InCheckout { checkout_id }
        }
        Standing::CheckedOut { checkout_id, order_id } if checkout_id != ours => {
            CartError::CheckedOut { order_id }
        }
        Standing::MergedInto { into } => CartError::Merged { into },
        Standing::Open | Standing::CheckingOut { .. } | Standing::CheckedOut { .. } => {
            return Ok(());
        }
    };
    Err(CommandError::Rejected(refusal))
}

fn filled(new: NewCheckout, cart: Cart) -> NewCheckout {
    let line = |line: event_schemas::cart::CartLine| NewLine {
        variant_id: line.variant_id,
        quantity: line.quantity,
        unit_price: None,
    };
    NewCheckout {
        lines: cart.lines.into_iter().map(line).collect(),
        coupons: cart.coupons,
        customer_reference: cart.customer_reference,
        ..new
    }
}
