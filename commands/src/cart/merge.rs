//! Whose cart it is: on login a guest's cart goes up in the one the customer has.

use event_schemas::ids::CartId;

use super::{
    Cart, CartCommand, CartError, Standing, TRIES_MAX, change, load, of_customer, settle, tell,
};
use crate::{CommandError, Ctx, Intent, Loaded};

/// Says whose cart it is. If the customer has one, this one's lines and codes go into it, and it is
/// the one that counts: its id comes back. Repeated, also as another command, it changes nothing.
///
/// What the guest's cart has is in the other one, all of it, before it is closed; and it is closed
/// only at the version that was read. So a line that comes meanwhile is not lost, and a crash in
/// between leaves it to a repeat.
pub async fn identify(
    ctx: &Ctx,
    intent: &Intent,
    cart_id: CartId,
    customer_reference: String,
) -> Result<CartId, CommandError<CartError>> {
    let mut last = CommandError::Conflict("cart");
    for _ in 0..TRIES_MAX {
        let cart = settle(ctx, intent, cart_id).await?;
        if let Standing::MergedInto { into } = cart.state.standing {
            return went_up(ctx, intent, into, &customer_reference).await;
        }
        let (reference, at) = (customer_reference.clone(), intent.at);
        let identify = CartCommand::Identify { customer_reference: reference, at };
        match tell(ctx, intent, cart_id, identify).await {
            Ok(_) => return Ok(cart_id),
            Err(error @ CommandError::Taken { .. }) => last = error,
            Err(error) => return Err(error),
        }
        let Some(theirs) = of_customer(ctx, intent, &customer_reference).await? else { continue };
        match merge(ctx, intent, (cart_id, cart), theirs).await {
            Err(CommandError::Stale { .. }) => {}
            result => return result.map(|()| theirs),
        }
    }
    Err(last)
}

/// The cart that took another one in, if it is this customer's.
async fn went_up(
    ctx: &Ctx,
    intent: &Intent,
    into: CartId,
    customer_reference: &str,
) -> Result<CartId, CommandError<CartError>> {
    let theirs = load(ctx, intent.store_id, into).await.map_err(CommandError::Store)?;
    if theirs.state.customer_reference.as_deref() == Some(customer_reference) {
        Ok(into)
    } else {
        Err(CommandError::Rejected(CartError::OtherCustomer))
    }
}

/// `Stale` if the guest's cart has changed since it was read.
async fn merge(
    ctx: &Ctx,
    intent: &Intent,
    (cart_id, cart): (CartId, Loaded<Cart>),
    theirs: CartId,
) -> Result<(), CommandError<CartError>> {
    let Loaded { state: Cart { lines, coupons, .. }, version, .. } = cart;
    let at = intent.at;
    // Another version of the guest's cart is another merge.
    let taking = intent.step(&format!("merge {cart_id} {version}"));
    let merge = CartCommand::Merge { from: cart_id, lines, coupons, at };
    change(ctx, &taking, theirs, merge).await?;
    let step = intent.step(&format!("merged {version}"));
    let closing = Intent { expected: Some(version), ..step };
    tell(ctx, &closing, cart_id, CartCommand::MergeInto { into: theirs, at }).await?;
    Ok(())
}
