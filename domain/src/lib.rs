//! The rules: pure functions of state and command.
//!
//! **Invariant:** nothing here performs I/O, knows the time or makes an id; all of that arrives in
//! the command.

pub mod catalog;
pub mod checkout;
pub mod inventory;
pub mod order;
pub mod payment;
pub mod pricing;
