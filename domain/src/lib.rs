//! The rules: pure functions of state and command.
//!
//! **Invariant:** nothing here performs I/O, knows the time or makes an id; all of that arrives in
//! the command.

pub mod cart;
pub mod catalog;
pub mod checkout;
pub mod coupon;
pub mod inventory;
pub mod order;
pub mod payment;
pub mod place;
pub mod pricing;
pub mod shipping;
pub mod store;
#[cfg(test)]
mod stored;
pub mod tax;

/// Names this version of the rules and of the states they work on: a hash of the sources of this
/// crate and of the events, made by `build.rs`. A snapshot of a state is only good under the rules
/// that made it, and nobody has to remember to say that they changed.
pub const SCHEMA: &str = env!("DOMAIN_SCHEMA");
