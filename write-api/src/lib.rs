//! The command API: HTTP in, one use case, small answers out.
//!
//! **Invariant:** nothing here decides. A handler reads the request, names the command, and turns
//! what the use case says into an answer; every refusal of a context passes its one `problem`.

use api_kit::Api;
use commands::Ctx;
use sagas::{SagaCtx, inbox::Inbox};
use vault::Vault;

mod answer;
mod cart;
mod cart_problem;
mod catalog;
mod checkout;
mod coupon;
mod inventory;
mod order;
mod refusal;
mod sender;
mod shipping;
mod store;
mod tax;
mod webhooks;

pub use checkout::{Crowd, Driver};

/// What the handlers work with. Cheap to clone.
#[derive(Clone, Debug)]
pub struct WriteState {
    /// The log, the clock and the ids.
    pub ctx: Ctx,
    /// Carries on what requests begin.
    pub driver: Driver,
    /// Who waits to buy what.
    pub crowd: Crowd,
    /// Seals personal data before it becomes part of an event; credentials of stores.
    pub vault: Vault,
    /// Takes what payment providers send.
    pub inbox: Inbox,
}

impl WriteState {
    /// What the handlers of one process work with.
    pub fn new(ctx: Ctx, saga: SagaCtx, vault: Vault, inbox: Inbox) -> WriteState {
        WriteState { ctx, driver: Driver::new(saga), crowd: Crowd::default(), vault, inbox }
    }
}

/// Every command, and the checkout as the write side knows it, under `/api/v1`.
pub fn api() -> Api<WriteState> {
    Api::new()
        .merge(cart::api())
        .merge(catalog::api())
        .merge(inventory::api())
        .merge(checkout::api())
        .merge(order::api())
        .merge(coupon::api())
        .merge(shipping::api())
        .merge(tax::api())
        .merge(store::api())
        .merge(webhooks::api())
}

#[cfg(test)]
mod tests;
